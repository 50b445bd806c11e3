"""The wire between edge and broker: recorded as it is, and made worse on request, in correct MQTT at both ends."""

import asyncio
import json
import random
from collections import Counter, deque
from pathlib import Path

import pytest

from simulators.chaos.packets import PacketReader, Publish, read_publish, write_publish
from simulators.chaos.proxy import CALM, DOWN, HELD_MAX, OWN_IDS, REMEMBERED, UP, Faults, Mangler, Proxy, _Cut
from simulators.chaos.tap import Tap
from wire.messages import Ack, read_presence, write
from wire.topics import edge_topic

EXAMPLE = (Path(__file__).parents[3] / "wire/examples/v1-presence.json").read_bytes()
TELEMETRY = (Path(__file__).parents[3] / "wire/examples/v1-telemetry.json").read_bytes()
MESSAGE = read_presence(EXAMPLE).message
PRESENCE, ACK = edge_topic("vienna-1", "edge-door", "presence"), edge_topic("vienna-1", "edge-door", "ack")
PINGREQ = b"\xc0\x00"
WAIT_S = 30


def said(packet_id=1):
    return write_publish(Publish(PRESENCE, EXAMPLE, 1, packet_id))


def puback(packet_id):
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def mangler(faults, seed=1, leaf=UP, old=None):
    counts = Counter()
    return Mangler(leaf, lambda: faults, random.Random(seed), deque(maxlen=REMEMBERED) if old is None else old, counts)


class Peer:
    """One end of a connection: what it hears, packet by packet."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.packets, self.heard = reader, writer, PacketReader(), deque()

    async def hear(self):
        async with asyncio.timeout(WAIT_S):
            while not self.heard:
                data = await self.reader.read(65_536)
                assert data, "the connection ended"
                self.heard += self.packets.feed(data)
        return self.heard.popleft()

    async def ended(self):
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


@pytest.fixture
async def wire(tmp_path):
    """An edge and a broker with the proxy between them: (edge, broker, proxy, tap)."""
    arrived = asyncio.Queue()
    broker = await asyncio.start_server(lambda r, w: arrived.put_nowait(Peer(r, w)), "127.0.0.1", 0)
    tap = Tap(tmp_path / "tap.jsonl")
    proxy = Proxy(tap, random.Random(1))
    await proxy.start()
    proxy.upstream_port = broker.sockets[0].getsockname()[1]
    edge = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    async with asyncio.timeout(WAIT_S):
        far = await arrived.get()
    yield edge, far, proxy, tap
    await proxy.stop()
    for peer in (edge, far):
        peer.writer.close()
    broker.close()
    tap.close()


async def test_a_calm_wire_changes_nothing_and_is_recorded(wire, tmp_path):
    edge, broker, _, tap = wire
    edge.writer.write(said() + PINGREQ)
    assert [await broker.hear(), await broker.hear()] == [said(), PINGREQ]
    told = write_publish(Publish(ACK, write(Ack(v=1, boot=MESSAGE.boot, upto=7)), 1, 3))
    broker.writer.write(told)
    assert await edge.hear() == told
    key = ("edge-door", MESSAGE.boot)
    assert tap.passed == 2
    assert tap.said == {key: MESSAGE.events[-1].seq}
    assert tap.told == {key: 7}
    assert tap.boots["edge-door"] == [MESSAGE.boot]
    tap.close()
    first, second = map(json.loads, (tmp_path / "tap.jsonl").read_text().splitlines())
    assert [one["seq"] for one in first["events"]] == [one.seq for one in MESSAGE.events]
    assert first["earlier"] is (MESSAGE.sent_mono_ms is None)
    assert second == {"edge": "edge-door", "boot": MESSAGE.boot, "upto": 7}


async def test_a_copy_has_an_id_of_its_own_and_its_puback_stays_here(wire):
    edge, broker, proxy, _ = wire
    proxy.faults = Faults(twice=1.0, held_s=0.0)
    edge.writer.write(said(5))
    first, second = read_publish(await broker.hear()), read_publish(await broker.hear())
    assert first.packet_id == 5
    assert second.packet_id in OWN_IDS
    assert first.payload == second.payload
    broker.writer.write(puback(second.packet_id) + puback(5))
    assert await edge.hear() == puback(5)


async def test_a_cut_ends_both_connections(wire):
    edge, broker, proxy, _ = wire
    proxy.faults = Faults(cut=1.0)
    edge.writer.write(said())
    assert await edge.ended()
    assert await broker.ended()


async def test_either_end_may_go_and_takes_the_other_with_it(wire):
    edge, broker, _, _ = wire
    broker.writer.close()
    assert await edge.ended()


async def test_what_is_no_mqtt_ends_the_connection(wire):
    edge, broker, _, _ = wire
    edge.writer.write(b"\x00\x00")
    assert await edge.ended()
    assert await broker.ended()


async def test_a_broker_that_is_down_is_down_for_the_edge(tmp_path):
    tap = Tap(tmp_path / "tap.jsonl")
    proxy = Proxy(tap, random.Random(1))
    await proxy.start()
    lonely = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    proxy.upstream_port = lonely.sockets[0].getsockname()[1]
    lonely.close()
    await lonely.wait_closed()
    edge = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    assert await edge.ended()
    assert proxy.counts["unreachable"] == 1
    edge.writer.close()
    await proxy.stop()
    tap.close()


async def test_the_tap_wakes_who_waits_and_says_when_nothing_came(tmp_path):
    tap = Tap(tmp_path / "tap.jsonl")
    waiting = asyncio.create_task(tap.until(lambda: tap.passed == 2, WAIT_S))
    for _ in range(2):
        await asyncio.sleep(0)
        tap.note(PRESENCE, EXAMPLE)
    assert await waiting
    assert not await tap.until(lambda: tap.passed == 3, 0.01)
    assert not tap.even, "nothing has been acknowledged"
    tap.note(ACK, write(Ack(v=1, boot=MESSAGE.boot, upto=MESSAGE.events[-1].seq)))
    assert tap.even
    tap.note(edge_topic("vienna-1", "edge-door", "telemetry"), TELEMETRY)
    assert tap.tracks == {"edge-door": json.loads(TELEMETRY)["gauges"]["tracks"]}
    tap.note(PRESENCE, b"{}")
    tap.close()
    assert "unreadable" in (tmp_path / "tap.jsonl").read_text().splitlines()[-1]


def test_a_held_message_is_overtaken_and_a_late_one_comes_after_the_edge_has_tried_again():
    assert [delay for delay, _ in mangler(CALM).step(said())] == [0.0]
    ((held_s, packet),) = mangler(Faults(held=1.0, held_s=0.5)).step(said())
    assert packet == said()
    assert 0 < held_s < 0.5
    ((late_s, _),) = mangler(Faults(late=1.0, late_s=5.5, held=1.0)).step(said())
    assert 5.5 <= late_s < 11


def test_the_past_comes_again_also_over_a_new_connection():
    old = deque(maxlen=REMEMBERED)
    list(mangler(CALM, old=old).step(said(9)))
    second = write_publish(Publish(PRESENCE, b"another", 1, 10))
    (_, first), (_, stale) = mangler(Faults(stale=1.0), old=old).step(second)
    assert first == second
    assert read_publish(stale).packet_id in OWN_IDS
    assert read_publish(stale).payload == EXAMPLE


def test_what_is_remembered_and_held_is_bounded():
    old = deque(maxlen=REMEMBERED)
    one = mangler(Faults(twice=1.0, stale=1.0), old=old)
    for number in range(1, 2 * REMEMBERED):
        for _, packet in one.step(said(number)):
            found = read_publish(packet).packet_id
            assert found == number or found in OWN_IDS
    assert len(old) == REMEMBERED
    assert len(OWN_IDS) > HELD_MAX


@pytest.mark.parametrize("leaf", ["status", "telemetry", "config/ack", "presence"])
def test_only_acks_are_touched_on_the_way_down_and_only_presence_on_the_way_up(leaf):
    every = Faults(twice=1.0, held=1.0, cut=1.0)
    packet = write_publish(Publish(edge_topic("vienna-1", "edge-door", leaf), b"{}", 1, 4))
    assert list(mangler(every, leaf=DOWN).step(packet)) == [(0.0, packet)]
    if leaf != "presence":
        assert list(mangler(every, leaf=UP).step(packet)) == [(0.0, packet)]
    else:
        with pytest.raises(_Cut):
            list(mangler(every, leaf=UP).step(packet))
