"""The disk is full: nothing that was acknowledged is lost, everybody is told, and it mends by itself."""

import asyncio
import json
import queue

import pytest
from paho.mqtt import client as paho

from tests.e2e import disk
from tests.e2e.crowd import Crowd, grants, judge, present, published, settled
from tests.e2e.system import System, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(params=disk.kinds())
def kind(request):
    return request.param


def hub_on(small, home):
    """A system whose hub keeps its database on that disk."""
    (home / "hub.db").symlink_to(small.path / "hub.db")
    system = System(home, database=f"sqlite:{small.path / 'hub.db'}")
    system.hub = disk.Piped(system.hub)
    return system


class Watch:
    """Telemetry of an edge, the latest first thought of last."""

    def __init__(self, port, edge):
        self.heard = queue.SimpleQueue()
        self.last = {}
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe(f"doorchime/v1/+/shop/{edge}/telemetry")
        self.client.on_message = lambda _c, _u, message: self.heard.put(json.loads(message.payload))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    async def until(self, ready, what):
        def found():
            while not self.heard.empty():
                self.last = self.heard.get()
            return self.last and ready(self.last)

        await until(found, what)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


async def test_a_full_disk_of_the_hub_stops_nothing_for_good(tmp_path, kind):
    people = 3
    with kind(tmp_path / "small") as small:
        await fill_the_hub(small, tmp_path, people)


async def fill_the_hub(small, home, people):
    async with hub_on(small, home) as system:
        phones = [await system.enrol() for _ in range(people)]
        pid = system.hub.process.pid
        async with Crowd(system, phones) as crowd:
            crowd.place(0, "door")
            await grants(system, 1)
            small.fill(system.hub)
            crowd.place(1, "door")
            crowd.place(2, "floor")

            async def told():
                reply = await system.http.get("/readyz")
                return reply.status_code == 503 and "the store cannot commit" in reply.json().get("reason", "")

            await until(told, "the hub says that it cannot commit")
            before = {edge["edge"]: edge["upto"] for edge in (await system.reports())["edges"]}
            refused = await system.http.put(
                "/v1/stores/other", headers={"Authorization": f"Bearer {system.staff}"},
                json={"name": "Other", "tz": "UTC", "locale": "en", "currency": "EUR"},
            )  # fmt: skip
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            await until(lambda: published(system, "door") > before["door"] + 5, "the edge goes on")
            report = await system.reports()
            assert {edge["edge"]: edge["upto"] for edge in report["edges"]} == before, "nothing was committed"
            assert report["present"] == 1
            small.free(system.hub)
            await system.hub_ready()
            await grants(system, people)
            for number in range(people):
                crowd.leave(number)
            await settled(system)
            await judge(system, people)
        assert system.hub.process.pid == pid
        assert system.hub.process.poll() is None, "it never ended"
        assert "the store cannot commit" in system.hub.log
        assert "the store commits again" in system.hub.log
        metrics = (await system.http.get("/metrics")).text
        assert "doorchime_writer_store_faults_total" in metrics


async def test_a_full_disk_of_an_edge_silences_nobody_and_loses_nothing(tmp_path, kind):
    people = 3
    with kind(tmp_path / "door-state") as small:
        await fill_the_edge(small, tmp_path, people)


async def fill_the_edge(small, home, people):
    system = System(home)
    door = system.edges["door"] = disk.Piped(system.edges["door"])
    async with system:
        phones = [await system.enrol() for _ in range(people)]
        watch = Watch(system.mqtt_port, "door")
        async with Crowd(system, phones) as crowd:
            crowd.place(0, "door")
            await present(system, 1)
            small.fill(door)
            crowd.place(1, "door")
            await present(system, 2)  # noticed, decided and acknowledged, from memory alone
            reason = {"NoGrowth": "disk_failing", "SmallDisk": "disk_full"}[type(small).__name__]
            await watch.until(
                lambda seen: seen["health"] == "degraded" and seen.get("reasons") == [reason], "the edge says why"
            )
            system.hub.stop()
            crowd.place(2, "door")
            await watch.until(lambda seen: seen["gauges"]["outbox_in_memory"] > 5, "events wait in memory")
            system.hub.start()
            await system.hub_ready()
            await present(system, people)
            small.free(door)
            await watch.until(
                lambda seen: seen["health"] == "ok" and seen["gauges"]["outbox_in_memory"] == 0, "it mends by itself"
            )
            for number in range(people):
                crowd.leave(number)
            await settled(system)
            await judge(system, people)
        watch.close()
        assert watch.last["counters"]["disk_refusals"] == 1
        assert watch.last["counters"]["events_lost"] == 0
        assert door.process.poll() is None, "it never ended"


async def test_a_hub_that_starts_on_a_full_disk_says_so_and_can_start_again(tmp_path):
    """What systemd does every two seconds, done by hand."""
    with disk.NoGrowth(tmp_path / "small") as small:
        async with hub_on(small, tmp_path) as system:
            system.hub.stop()
            system.hub.start(limited=True)
            assert await asyncio.to_thread(system.hub.ended) == 1
            last = json.loads(system.hub.log.splitlines()[-1])
            assert last["event"] == "died"
            assert "disk I/O error" in last["reason"]
            system.hub.start()
            await system.hub_ready()


async def test_an_edge_that_starts_on_a_full_disk_works_and_keeps_what_earlier_starts_left(tmp_path):
    system = System(tmp_path)
    door = system.edges["door"] = disk.Piped(system.edges["door"])
    async with system:
        phones = [await system.enrol() for _ in range(2)]
        watch = Watch(system.mqtt_port, "door")
        async with Crowd(system, phones) as crowd:
            crowd.place(0, "door")
            await present(system, 1)
            system.hub.stop()
            before = published(system, "door")
            await until(lambda: published(system, "door") > before + 5, "events wait on the disk")
            door.kill()
            door.start(limited=True)
            await system.radio.feed.wait_for({"door"})
            system.hub.start()
            await system.hub_ready()
            crowd.place(1, "door")
            await present(system, 2)
            await watch.until(lambda seen: seen["health"] == "degraded", "it works from memory")
            disk.NoGrowth(tmp_path / "door-state").free(door)
            await watch.until(lambda seen: seen["health"] == "ok", "it mends by itself")
            crowd.leave(0)
            crowd.leave(1)
            await settled(system)
            await judge(system, 2)
        watch.close()
