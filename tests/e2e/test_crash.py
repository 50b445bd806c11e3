"""kill -9 in the middle of traffic: every enter and exit committed once, each grant once, no visit split."""

import asyncio
import shutil
import sqlite3

import pytest

from tests.e2e.crowd import Crowd, grants, judge, present, settled
from tests.e2e.system import System, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


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
