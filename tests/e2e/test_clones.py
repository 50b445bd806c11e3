"""A cloned SD card: two real edges with one identity. An alarm, no merge, and each start's account exact."""

import asyncio
import json

import pytest

from tests.e2e.brokers import use
from tests.e2e.crowd import Crowd, asked, published
from tests.e2e.system import Program, System, to_toml, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def clone(system, name):
    """A second device with the settings of `name`, its own disk and its own place in the air."""
    state = system.home / "clone-state"
    state.mkdir()
    settings = (system.home / f"{name}.toml").read_text().replace(f"{name}-state", "clone-state")
    path = system.home / "clone.toml"
    path.write_text(settings + to_toml({"replay_scanner": "clone"}))
    return Program(system.home, "clone", "edge", "run", "--config", str(path))


async def first_alarm(system):
    headers = {"Authorization": f"Bearer {system.staff}"}
    async with system.http.stream("GET", "/v1/stream", headers=headers, timeout=None) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                note = json.loads(line.removeprefix("data: "))
                if note["type"] == "alarm":
                    return note
    raise AssertionError("the stream ended")


@pytest.mark.parametrize(
    "broker", ["embedded", pytest.param("mosquitto", marks=[pytest.mark.mosquitto, pytest.mark.long])]
)
async def test_two_devices_with_one_identity_are_told_and_counted_apart(tmp_path, broker):
    async with use(System(tmp_path, edges=("door",), edge={"reconnect_max_s": 1.0}), broker) as system:
        phones = [await system.enrol() for _ in range(2)]
        watching = asyncio.create_task(first_alarm(system))
        second = clone(system, "door")
        try:
            async with Crowd(system, phones) as crowd:
                crowd.place(0, "door")
                second.start()
                await system.radio.feed.wait_for({"door", "clone"})
                crowd.place(1, "clone")
                async with asyncio.timeout(90):
                    alarm = await watching
                assert alarm == {"type": "alarm", "edge": "door", "store": "shop", "reason": "cloned"}
                (shown,) = (await system.call("GET", "/v1/edges"))["items"]
                assert shown["alarms"] == ["cloned"]
                metrics = (await system.http.get("/metrics")).text
                assert "doorchime_writer_alarms_total 0.0" not in metrics
                crowd.leave(0)
                crowd.leave(1)
                await accounted(system)
        finally:
            second.stop(20)
        boots = asked(system.home / "hub.db", "SELECT upto, committed, lost, quarantined FROM edge_boot")
        assert len(boots) == 2, "one account each"
        assert all(upto == committed and not lost and not bad for upto, committed, lost, bad in boots)
        visits = asked(system.home / "hub.db", "SELECT count(*) FROM visit GROUP BY profile")
        assert visits == [(1,), (1,)], "one visit each: the fight of the devices splits none"
        code, found = system.audit()
        assert code == 0, found


async def accounted(system):
    """Everything that either device gave out has been taken, by its own account."""

    async def done():
        state = asked(system.home / "clone-state" / "outbox.db", "SELECT published, rows FROM state")[0]
        mine = asked(system.home / "door-state" / "outbox.db", "SELECT published, rows FROM state")[0]
        (edge,) = (await system.reports())["edges"]
        return edge["upto"] == state[0] + mine[0] and not state[1] and not mine[1] and published(system, "door")

    await until(done, "both devices are accounted for")
