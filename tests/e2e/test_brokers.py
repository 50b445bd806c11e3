"""What a broker may do to us: forget everything, and keep what nobody should have asked it to keep."""

import asyncio
import queue
import threading

import pytest
from paho.mqtt import client as paho

from edge.adapters.publisher import LineSettings, Listener, Publisher
from edge.adapters.system import boot_ms
from tests.e2e.brokers import BROKERS, use
from tests.e2e.crowd import Crowd, grants, judge, present, published, settled
from tests.e2e.system import System, accepts, until
from wire.messages import Presence, Status, write
from wire.topics import edge_topic

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PATIENCE_S = 60


class Stranger:
    """Somebody at the broker with the right to publish."""

    def __init__(self, port):
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def keep(self, leaf, payload):
        """Publish a message of the door that the broker keeps and gives to whoever subscribes."""
        self.client.publish(edge_topic("shop", "door", leaf), payload, 1, retain=True).wait_for_publish(PATIENCE_S)

    def say(self, leaf, payload):
        self.client.publish(edge_topic("shop", "door", leaf), payload, 1).wait_for_publish(PATIENCE_S)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.mark.mosquitto
async def test_a_broker_that_forgets_everything_loses_nothing(tmp_path):
    """The hub is away, so events and sessions are the broker's alone; then it comes back with an empty store."""
    people = 3
    async with use(System(tmp_path), "mosquitto") as system:
        phones = [await system.enrol() for _ in range(people)]
        async with Crowd(system, phones) as crowd:
            crowd.place(0, "door")
            await present(system, 1)
            system.hub.stop()
            crowd.place(1, "door")
            crowd.place(2, "floor")
            before = {edge: published(system, edge) for edge in ("door", "floor")}
            for edge, count in before.items():
                await until(lambda e=edge, n=count: published(system, e) > n + 4, f"{edge} has told the broker more")
            system.broker.kill()
            system.broker.forget()
            system.broker.start()
            system.hub.start()
            await system.hub_ready()
            await grants(system, people)
            for number in range(people):
                crowd.leave(number)
            await settled(system)
            await judge(system, people)


def a_visit(phone, boot):
    """A message of the door: this person comes in. Of a start never heard of, so that no watermark guards us."""
    event = {
        "seq": 1, "kind": "enter", "beacon": phone["beacon"], "observed_mono_ms": 1_000, "first_mono_ms": 1_000,
        "last_mono_ms": 1_000, "rssi_dbm": -50.0, "sd_db": 1.0, "n": 3, "span_ms": 0,
    }  # fmt: skip
    clock = {"source": "none", "offset_ms": 0, "error_ms": 86_400_000, "synced": False}
    message = Presence(
        v=1, edge="door", boot=boot, oldest_seq=1, sent_mono_ms=2_000, sent_at_ms=0, clock=clock, events=[event]
    )
    return write(message)


@pytest.mark.parametrize("broker", BROKERS)
async def test_no_retained_message_becomes_an_effect(tmp_path, broker):
    async with use(System(tmp_path, edges=("door",)), broker) as system:
        phone = await system.enrol()
        system.hub.stop()
        await forget_session(system)  # or it would get these as they are published, not as they are kept
        stranger = await asyncio.to_thread(Stranger, system.mqtt_port)
        await asyncio.to_thread(stranger.keep, "presence", a_visit(phone, "old-boot"))
        await asyncio.to_thread(stranger.keep, "config/ack", b'{"v":1,"version":9,"outcome":"applied"}')
        stranger.close()
        system.hub.start()
        await system.hub_ready()
        await metric(system, "doorchime_mqtt_retained_ignored_total", 2)
        (before,) = (await system.reports())["edges"]
        system.hub.stop()
        await forget_session(system)
        system.hub.start()  # subscribes anew: the broker gives it all that it keeps once more, status included
        await system.hub_ready()
        await metric(system, "doorchime_mqtt_retained_ignored_total", 2)
        await metric(system, "doorchime_writer_messages_total", 1)  # the status
        report = await system.reports()
        assert report["edges"] == [before], "a status that was kept is no news"
        assert (report["visits"], report["decisions"], report["accounts"]["upto"]) == (0, 0, 0)
        async with Crowd(system, [phone]) as crowd:
            crowd.place(0, "door")
            await grants(system, 1)
            crowd.leave(0)
            await settled(system)
            await judge(system, 1)


@pytest.mark.parametrize("kind", BROKERS)
async def test_an_edge_reads_no_ack_that_was_kept(tmp_path, kind):
    """It may speak of commits that a restored hub no longer has; the edge would delete what nobody else holds."""
    system = use(System(tmp_path, edges=()), kind)
    await system.http.aclose()
    system.broker.start()
    try:
        await until(lambda: accepts(system.mqtt_port), "the broker listens")
        stranger = await asyncio.to_thread(Stranger, system.mqtt_port)
        await asyncio.to_thread(stranger.keep, "ack", b"kept")
        await asyncio.to_thread(stranger.keep, "config", b"kept")
        heard = queue.SimpleQueue()
        line = LineSettings("127.0.0.1", system.mqtt_port, None, None, spread_s=0, reconnect_max_s=0.2)
        listener = Listener(lambda: None, lambda: None, lambda leaf, payload: heard.put((leaf, payload)))
        status = Status(v=1, edge="door", boot="b1", state="online", version="0")
        publisher = Publisher(line, "shop", "door", status, listener, lambda: 0.5, boot_ms)
        publisher.start()
        assert await asyncio.to_thread(heard.get, timeout=PATIENCE_S) == ("config", b"kept")
        await asyncio.to_thread(stranger.say, "ack", b"now")
        assert await asyncio.to_thread(heard.get, timeout=PATIENCE_S) == ("ack", b"now")
        assert publisher.counts["retained_ignored"] == 1
        publisher.stop()
        stranger.close()
    finally:
        system.broker.stop()


async def forget_session(system):
    """End the hub's session at a broker that goes on running."""
    gone = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="doorchime-hub", clean_session=True)
    client.on_connect = lambda *_: gone.set()
    client.connect("127.0.0.1", system.mqtt_port)
    client.loop_start()
    assert await asyncio.to_thread(gone.wait, PATIENCE_S)
    client.disconnect()
    client.loop_stop()


async def metric(system, name, least):
    """The value of a counter once it has reached `least`."""

    async def value():
        for line in (await system.http.get("/metrics")).text.splitlines():
            if line.startswith(f"{name} ") and float(line.split()[1]) >= least:
                return float(line.split()[1])
        return None

    return await until(value, f"{name} reaches {least}")
