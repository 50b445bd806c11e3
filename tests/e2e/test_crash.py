"""kill -9 in the middle of traffic: every enter and exit committed once, each grant once, no visit split."""

import asyncio
import json
import shutil
import sqlite3

import pytest

from tests.e2e.system import System, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


class Crowd:
    """Advertises people to the edges until told to stop; each is near one edge at a time."""

    def __init__(self, system, phones):
        self.system, self.phones, self.near = system, phones, {}
        self.task = None

    def place(self, number, edge):
        self.near[number] = edge

    def leave(self, number):
        self.near.pop(number, None)

    async def talk(self):
        while True:
            for number, edge in list(self.near.items()):
                self.system.radio.say(edge, self.phones[number]["beacon"])
            await asyncio.sleep(0.1)  # the advertising interval, not a wait

    async def __aenter__(self):
        self.task = asyncio.create_task(self.talk())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def present(system, count):
    async def there():
        return (await system.reports())["present"] == count

    await until(there, f"{count} people are present")


async def grants(system, count):
    async def there():
        return sum((await system.reports())["grants"].values()) >= count

    await until(there, f"{count} grants")


async def settled(system):
    """Everybody has left and every edge's outbox is empty: what was published is accounted for."""

    async def done():
        report = await system.reports()
        if report["present"] or any(edge["status"] != "online" for edge in report["edges"]):
            return False
        return all(published(system, edge["edge"]) == edge["upto"] for edge in report["edges"])

    await until(done, "every event is accounted for")


def published(system, edge):
    """Sequences an edge has ever given out, from its outbox file."""
    with sqlite3.connect(f"file:{system.home / f'{edge}-state' / 'outbox.db'}?mode=ro", uri=True) as db:
        found = db.execute("SELECT published FROM state").fetchone()[0]
    db.close()
    return found


def kinds(system):
    """What became of visits, from the hub's own file."""
    with sqlite3.connect(f"file:{system.home / 'hub.db'}?mode=ro", uri=True) as db:
        visits = db.execute(
            "SELECT profile, store, count(*) FROM visit WHERE state <> 'merged' GROUP BY 1, 2"
        ).fetchall()
    db.close()
    return visits


async def judge(system, people):
    report = await system.reports()
    accounts = report["accounts"]
    parts = ("committed", "consent_refused", "identity_refused", "quarantined", "lost")
    assert accounts["upto"] == sum(accounts[part] for part in parts), accounts
    assert accounts["lost"] == accounts["quarantined"] == 0, accounts
    assert sorted(count for _, _, count in kinds(system)) == [1] * people, "one visit each, none split"
    assert sum(report["grants"].values()) == people
    assert report["decisions"] == people
    code, found = system.audit()
    assert code == 0, found


@pytest.mark.parametrize("victim", ["hub", "broker", "door"])
async def test_kill_9_in_the_middle_of_traffic(tmp_path, victim):
    people = 4
    async with System(tmp_path) as system:
        phones = [await system.enrol() for _ in range(people)]
        async with Crowd(system, phones) as crowd:
            for number in range(people):
                crowd.place(number, "door")
            await present(system, people)
            crowd.place(0, "floor")
            program = {"hub": system.hub, "broker": system.broker}.get(victim) or system.edges[victim]
            for _ in range(2):
                program.kill()
                crowd.place(1, "floor")  # somebody moves while it is down
                await asyncio.sleep(1.0)  # time for traffic to pile up; what is tested is what comes after
                program.start()
                if victim == "hub":
                    await system.hub_ready()
                if victim == "door":
                    await system.radio.feed.wait_for({"door"})
                await grants(system, people)
            await present(system, people)
            for number in range(people):
                crowd.leave(number)
            await settled(system)
            await judge(system, people)


async def test_a_hub_restored_from_an_older_backup_runs_on_and_counts_what_is_gone(tmp_path):
    async with System(tmp_path) as system:
        phones = [await system.enrol() for _ in range(2)]
        backup = tmp_path / "backup.db"
        async with Crowd(system, phones) as crowd:
            crowd.place(0, "door")
            await present(system, 1)
            system.cli("hub", "backup", str(backup), "--config", str(system.hub_toml))
            with sqlite3.connect(backup) as db:
                old = dict(db.execute("SELECT edge, sum(upto) FROM edge_boot GROUP BY 1").fetchall())
            db.close()

            async def further():
                rows = {edge["edge"]: edge["upto"] for edge in (await system.reports())["edges"]}
                return rows["door"] > old["door"] + 3

            await until(further, "events after the backup")
            system.hub.stop()
            for path in tmp_path.glob("hub.db*"):
                path.unlink()
            shutil.copy(backup, tmp_path / "hub.db")
            (tmp_path / "hub.db").chmod(0o600)
            system.hub.start()
            await system.hub_ready()
            crowd.place(1, "floor")
            await present(system, 2)
            crowd.leave(0)
            crowd.leave(1)
            await settled(system)
        report = await system.reports()
        door = next(edge for edge in report["edges"] if edge["edge"] == "door")
        assert door["lost"] > 0, "what the edge had deleted on the newer hub's word is counted"
        accounts = report["accounts"]
        parts = ("committed", "consent_refused", "identity_refused", "quarantined", "lost")
        assert accounts["upto"] == sum(accounts[part] for part in parts)
        code, found = system.audit()
        assert code == 0, found


async def test_no_program_logs_an_identity(tmp_path):
    async with System(tmp_path) as system:
        phone = await system.enrol()
        async with Crowd(system, [phone]) as crowd:
            crowd.place(0, "door")
            await grants(system, 1)
        await system.call("GET", "/v1/me", key=phone["key"])
        await system.http.get("/v1/me", headers={"Authorization": "Bearer dc_wrong_key"})
        system.hub.stop()
        with sqlite3.connect(tmp_path / "hub.db") as db:
            codes = [row[0] for row in db.execute("SELECT code_hash FROM offer_grant")]
        db.close()
        needles = [phone["device"], phone["profile"], phone["key"], phone["beacon"]["uuid"], system.staff, *codes]
        for program in (system.hub, system.broker, *system.edges.values()):
            for line in filter(None, program.log.splitlines()):
                assert json.loads(line)["event"]
                assert not [needle for needle in needles if needle in line or needle.replace("-", "") in line]
