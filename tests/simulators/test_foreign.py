"""Simulated listeners of another make: the hub reads what they say, and they say it as the real ones do."""

import asyncio
import json
import queue
import socket
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from hub.core.foreign import NODE_PATTERNS, Kind, Report, Source
from hub.intake.broker import EmbeddedBroker
from hub.intake.foreign import Listeners, Ours
from simulators.foreign import KINDS, SKIP_MS, TELEMETRY_MS, Nodes, node_of, report, status_topic, telemetry
from simulators.scene import make_stranger
from simulators.tempo import Tempo
from wire.errors import LocalFault
from wire.ibeacon import Beacon, encode_ad, format_uuid
from wire.trace import Frame

PREFIX = "d0c41e02"
AWAIT_S = 60
HUB = Listeners(KINDS, Ours((bytes.fromhex(PREFIX),), {}))


def frame(beacon=None, adv=None, rssi_dbm=-70.5, scanner="hall"):
    adv = adv if adv is not None else encode_ad(beacon or Beacon(bytes.fromhex(PREFIX) + bytes(12), 1, 2, -59))
    return Frame(t_ms=0, scanner=scanner, address="c2:aa:bb:cc:dd:ee", rssi_dbm=rssi_dbm, adv=adv.hex())


def test_the_kinds_are_those_that_the_hub_knows():
    assert set(KINDS) == set(Kind) == set(NODE_PATTERNS)


@settings(deadline=None)
@given(st.sampled_from(KINDS), st.binary(min_size=12, max_size=12), st.integers(0, 65_535), st.integers(0, 65_535),
       st.floats(-126, -1))  # fmt: skip
def test_the_hub_reads_every_beacon_of_ours(kind, rest, major, minor, rssi_dbm):
    uuid = bytes.fromhex(PREFIX) + rest
    topic, payload = report(kind, "hall", frame(Beacon(uuid, major, minor, -59), rssi_dbm=rssi_dbm))
    said = HUB.read(topic, payload, False)
    assert isinstance(said.news, Report)
    assert said.source == Source(kind, node_of(kind, "hall"))
    found = said.news.beacon
    assert (found.uuid, found.major, found.minor) == (format_uuid(uuid), major, minor)
    assert said.news.rssi_dbm == pytest.approx(rssi_dbm, abs=0.01 if kind == "espresense" else 0.5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(3))
def test_strangers_are_told_of_with_their_address_and_the_hub_drops_them(kind, number):
    stranger = make_stranger(number, Random(1))
    topic, payload = report(kind, "hall", frame(adv=stranger.adv))
    assert "c2aabbccddee" in (topic + payload.decode()).lower().replace(":", "")
    said = HUB.read(topic, payload, False)
    assert (said.news, said.private) == (None, True)


def test_what_is_no_frame_at_all_can_still_be_told_of():
    for kind in KINDS:
        for adv in (b"", b"\x00", b"\x03\xff\x4c\x00", b"\x05\xff\x4c\x00\x02\x15", b"\xff\xff"):
            assert HUB.read(*report(kind, "hall", frame(adv=adv)), False).private


def test_telemetry_and_states_are_read():
    assert HUB.read(*telemetry("hall", 3), False).news is None
    for kind in KINDS:
        assert HUB.read(status_topic(kind, "hall"), b"offline", True).news.online is False


class Hand:
    """A tempo that is turned by hand."""

    file = None

    def __init__(self):
        self.at_ms = 1_000_000

    def now_ms(self):
        return self.at_ms


@pytest.fixture
def broker():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    broker = EmbeddedBroker(port)
    broker.start()
    yield broker
    broker.stop()


class Ear:
    """Hears everything that is said on the broker."""

    def __init__(self, port):
        self.heard, ready = queue.Queue(), queue.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("#", 0)
        self._client.on_subscribe = lambda *_: ready.put(None)
        self._client.on_message = lambda _c, _u, message: self.heard.put((message.topic, message.payload))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        ready.get(timeout=AWAIT_S)

    def next(self):
        return self.heard.get(timeout=AWAIT_S)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def ear(broker):
    ear = Ear(broker.port)
    yield ear
    ear.close()


async def test_nodes_come_speak_and_go(broker, ear):
    hand = Hand()
    nodes = Nodes("espresense", ["hall", "shelf"], ("127.0.0.1", broker.port), PREFIX, hand)
    await nodes.start()
    await nodes.wait_for({"hall", "shelf"})
    with pytest.raises(LocalFault, match="cellar"):
        await nodes.wait_for({"cellar"})
    assert {ear.next() for _ in range(2)} == {(f"espresense/rooms/{n}/status", b"online") for n in ("hall", "shelf")}
    assert nodes.send(frame())
    assert not nodes.send(frame(scanner="cellar"))
    assert ear.next()[0] == "espresense/rooms/hall/telemetry"
    topic, payload = ear.next()
    assert topic == f"espresense/devices/iBeacon:{PREFIX}-0000-0000-0000-000000000000-1-2/hall"
    assert json.loads(payload)["rssi"] == -70.5
    await nodes.stop()
    assert {ear.next() for _ in range(2)} == {(f"espresense/rooms/{n}/status", b"offline") for n in ("hall", "shelf")}
    assert (nodes.counts["sent"], nodes.counts["unheard"]) == (1, 1)


async def test_reports_of_ours_are_told_as_they_were_and_others_every_5_s(broker, ear):
    hand = Hand()
    nodes = Nodes("theengs", ["gw"], ("127.0.0.1", broker.port), PREFIX, hand)
    await nodes.start()
    stranger = make_stranger(0, Random(1)).adv
    for _ in range(4):
        assert nodes.send(frame(scanner="gw"))
        nodes.send(frame(adv=stranger, scanner="gw"))
        hand.at_ms += SKIP_MS // 2
    assert dict(nodes.telemetry()["gw"].counters) == {
        "adverts_heard": 6, "events_published": 4, "adverts_dropped_private": 2,
    }  # fmt: skip
    await nodes.stop()
    said = [ear.next()[0] for _ in range(8)]
    assert (said[0], said[-1]) == ("home/gw/LWT", "home/gw/LWT")
    assert said[1:-1] == ["home/gw/BTtoMQTT/C2AABBCCDDEE"] * 6


async def test_telemetry_comes_every_15_s_while_anything_is_heard(broker, ear):
    hand = Hand()
    nodes = Nodes("espresense", ["hall"], ("127.0.0.1", broker.port), PREFIX, hand)
    await nodes.start()
    for _ in range(9):
        nodes.send(frame())
        hand.at_ms += TELEMETRY_MS // 4
    await nodes.stop()
    said = [ear.next()[0] for _ in range(14)]
    assert [place for place, topic in enumerate(said) if topic.endswith("telemetry")] == [1, 6, 11]


async def test_a_fast_run_hears_its_own_messages_to_know_how_late_they_are(broker, tmp_path):
    tempo, late = Tempo(1000, tmp_path), queue.Queue()
    tempo.behind = late.put
    nodes = Nodes("espresense", ["hall"], ("127.0.0.1", broker.port), PREFIX, tempo)
    try:
        await nodes.start()
        assert nodes.send(frame())
        assert late.get(timeout=AWAIT_S) == 0, "when it was sent"
        assert await asyncio.to_thread(late.get, timeout=AWAIT_S) >= 0, "when it came back"
    finally:
        await nodes.stop()
        tempo.close()
