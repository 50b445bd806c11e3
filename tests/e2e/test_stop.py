"""SIGTERM in the middle of traffic ends a program in good order; a part that dies takes its program with it, loudly."""

import asyncio
import json
import os
import signal
import sqlite3
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.crowd import Crowd, asked, grants, judge, outbox, present, settled
from tests.e2e.system import AWAIT_S, Program, System, accepts, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

STOP_S = 10
"""What is promised to systemd, s: beyond it a program is killed."""

SOON = {"reconnect_max_s": 1.0}  # an edge that has lost its broker comes again within this


class OneMachine(System):
    """The broker is a child of the hub."""

    def __init__(self, home, **settings):
        super().__init__(home, **settings)
        self.hub = Program(home, "hub", "hub", "serve", "--config", str(self.hub_toml), "--embedded-broker")

    async def start_broker(self):
        """The hub does."""


def events(program):
    return [json.loads(line) for line in program.log.splitlines() if line]


async def stop(program):
    """SIGTERM: it must end by itself, in time, with nothing cut short."""
    assert await asyncio.to_thread(program.stop, STOP_S) == 0, program.log
    told = [line["event"] for line in events(program)]
    assert told[-1] == "stopped"
    assert not {"stopped_early", "writer_did_not_finish", "died"} & set(told)


async def died(program):
    """It must end by itself, exit code 1; the reason that it gives in its last words."""
    await until(lambda: program.process.poll() is not None, "the program ends")
    assert program.process.returncode == 1, program.log
    last = events(program)[-1]
    assert (last["event"], last["level"]) == ("died", "error")
    return last["reason"]


def children(pid):
    """Process ids of its children that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(path.parent.name))
    return found


@contextmanager
def somebody_writes(path):
    """Hold a SQLite file's write lock for as long as it takes: a disk that does not answer."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=AWAIT_S)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# -- in good order -------------------------------------------------------------------------------------------------


async def test_hub_and_edge_stop_in_traffic_and_nothing_is_lost(tmp_path):
    people = 4
    async with System(tmp_path) as system:
        phones = [await system.enrol() for _ in range(people)]
        async with Crowd(system, phones) as crowd:
            for number in range(people):
                crowd.place(number, "door")
            await present(system, people)
            await stop(system.hub)
            crowd.place(1, "floor")  # somebody moves while it is away
            system.hub.start()
            await system.hub_ready()
            await present(system, people)
            door = system.edges["door"]
            await stop(door)
            crowd.place(2, "floor")
            door.start()
            await system.radio.feed.wait_for({"door"})
            await present(system, people)
            for number in range(people):
                crowd.leave(number)
            await settled(system)
            await judge(system, people)


async def test_an_edge_without_a_broker_stops_in_time_and_keeps_what_the_hub_has_not(tmp_path):
    async with System(tmp_path, edges=("door",), edge=SOON) as system:
        phone = await system.enrol()
        async with Crowd(system, [phone]) as crowd:
            crowd.place(0, "door")
            await present(system, 1)
            system.broker.kill()
            door = system.edges["door"]
            await stop(door)
            held = [kind for (kind,) in asked(outbox(system, "door"), "SELECT kind FROM event ORDER BY boot_no, seq")]
            assert held[-1] == "unknown", "it cannot judge any more, and that waits too"
            await system.start_broker()
            door.start()
            await system.radio.feed.wait_for({"door"})
            crowd.leave(0)
            await settled(system)
            await judge(system, 1)


async def test_an_embedded_broker_comes_and_goes_with_its_hub(tmp_path):
    async with OneMachine(tmp_path, edges=("door",), edge=SOON) as system:
        phone = await system.enrol()
        async with Crowd(system, [phone]) as crowd:
            crowd.place(0, "door")
            await grants(system, 1)
            for _ in range(2):
                (child,) = children(system.hub.process.pid)
                assert accepts(system.mqtt_port)
                await stop(system.hub)
                assert gone(child)
                assert not accepts(system.mqtt_port)
                system.hub.start()
                await system.hub_ready()
            await present(system, 1)
            crowd.leave(0)
            await settled(system)
            await judge(system, 1)


async def test_an_embedded_broker_does_not_outlive_a_hub_that_is_killed(tmp_path):
    async with OneMachine(tmp_path, edges=()) as system:
        (child,) = children(system.hub.process.pid)
        system.hub.kill()
        await until(lambda: gone(child) and not accepts(system.mqtt_port), "the broker ends with its hub")


# -- a part dies ---------------------------------------------------------------------------------------------------


async def test_a_hub_whose_broker_dies_says_so_and_ends(tmp_path):
    async with OneMachine(tmp_path, edges=()) as system:
        (child,) = children(system.hub.process.pid)
        os.kill(child, signal.SIGKILL)
        assert (await died(system.hub)).startswith("broker ended")


async def test_a_broker_program_whose_broker_dies_says_so_and_ends(tmp_path):
    async with System(tmp_path, edges=()) as system:
        (child,) = children(system.broker.process.pid)
        os.kill(child, signal.SIGKILL)
        assert "exit code -9" in await died(system.broker)


async def test_a_hub_that_cannot_commit_says_so_and_goes_on_when_it_can(tmp_path):
    async with System(tmp_path, edges=()) as system:
        with somebody_writes(tmp_path / "hub.db"):

            async def told():
                reply = await system.http.get("/readyz")
                return reply.status_code == 503 and "locked" in reply.json().get("reason", "")

            await until(told, "the hub says that it cannot commit")
        await system.hub_ready()
        assert system.hub.process.poll() is None


async def test_an_edge_that_cannot_keep_events_says_so_and_ends(tmp_path):
    async with System(tmp_path, edges=("door",), edge=SOON) as system:
        phone = await system.enrol()
        door = system.edges["door"]
        async with Crowd(system, [phone]) as crowd:
            crowd.place(0, "door")
            await present(system, 1)
            with somebody_writes(outbox(system, "door")):
                assert str(outbox(system, "door")) in await died(door)
            door.start()
            await system.radio.feed.wait_for({"door"})
            crowd.leave(0)
            await settled(system)
            await judge(system, 1)
