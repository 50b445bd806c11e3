"""The MQTT link and listeners of another make, on a real broker."""

import json
import queue
from collections.abc import Callable, Iterator
from random import Random

import pytest

from hub.core.foreign import NodeStatus, Report, Source
from hub.intake.broker import EmbeddedBroker
from hub.intake.foreign import Listeners, Ours
from hub.intake.inbound import FOREIGN
from hub.intake.mqtt import LinkSettings, MqttLink
from tests.hub.intake.test_mqtt import PATIENCE_S, PRESENCE, Far, Sink

UUID = "d0c41e02-0000-4000-8000-000000000001"
DEVICE = f"espresense/devices/iBeacon:{UUID}-1-2/kitchen"
KITCHEN = Source("espresense", "kitchen")
BODY = json.dumps({"mac": "a1b2c3d4e5f6", "id": f"iBeacon:{UUID}-1-2", "rssi": -71.2, "int": 300}).encode()


@pytest.fixture
def far(broker: EmbeddedBroker) -> Iterator[Far]:
    far = Far(broker.port)
    yield far
    far.close()


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def listeners() -> Listeners:
    return Listeners(("espresense", "theengs"), Ours((bytes.fromhex("d0c41e02"),), {}))


@pytest.fixture
def link(broker: EmbeddedBroker, far: Far, sink: Sink, listeners: Listeners) -> Iterator[MqttLink]:
    settings = LinkSettings("127.0.0.1", broker.port, "hub-under-test", reconnect_max_s=0.2)
    link = MqttLink(settings, sink.offer, lambda: 1_000, Random(1).random, listeners)
    link.start()
    yield link
    link.stop(5)


def attempt(far: Far, sink: Sink, topic: str, payload: bytes) -> None:
    """Say it until it gets through: the broker tells nobody else when a subscription is in force."""
    for _ in range(1_000):
        far.say(topic, payload, qos=0)
        try:
            sink.messages.get(timeout=0.05)
        except queue.Empty:
            continue
        return
    pytest.fail("no subscription")


def drained(far: Far, sink: Sink, link: MqttLink) -> None:
    """Return when everything said so far has been taken."""
    far.say(PRESENCE, b"marker")
    while (message := sink.next()).payload != b"marker":
        pass
    link.release([message.token])


def until(ready: Callable[[], bool], far: Far, sink: Sink, link: MqttLink) -> None:
    for _ in range(1_000):
        if ready():
            return
        drained(far, sink, link)
    pytest.fail("never happened")


def test_a_report_comes_as_what_was_taken_out_of_it_and_no_more(
    far: Far, sink: Sink, link: MqttLink, listeners: Listeners
) -> None:
    attempt(far, sink, DEVICE, BODY)
    drained(far, sink, link)
    far.say(DEVICE, BODY, qos=0)
    message = sink.next()
    assert (message.leaf, message.payload, message.received_at_ms, message.token) == (FOREIGN, b"", 1_000, None)
    assert isinstance(message.said, Report)
    assert (message.said.source, message.said.rssi_dbm) == (KITCHEN, -71.2)
    assert "a1b2" not in str(message)
    until(lambda: listeners.lives.get(KITCHEN) == (1_000, 1_000), far, sink, link)


def test_what_is_not_ours_never_reaches_the_writer(far: Far, sink: Sink, link: MqttLink, listeners: Listeners) -> None:
    attempt(far, sink, DEVICE, BODY)
    drained(far, sink, link)
    reports = listeners.counts["reports"]
    for topic, payload in (
        ("espresense/devices/apple:1005:9-26/hall", b"{}"),
        ("espresense/rooms/hall/telemetry", b"{}"),
        ("home/gw/BTtoMQTT/AABBCCDDEEFF", b'{"uuid":"ffffffffffffffffffffffffffffffff"}'),
        (DEVICE, b'{"rssi": "loud"}'),
        (DEVICE, b"\xff"),
    ):
        far.say(topic, payload, qos=1)
    drained(far, sink, link)
    assert sink.messages.empty()
    assert (listeners.counts["not_ours"], listeners.counts["signs"]) == (2, 1)
    assert listeners.counts["unreadable"] == 2
    assert listeners.counts["reports"] == reports
    assert Source("theengs", "home/gw") in listeners.lives
    assert link.counts["bad_topics"] == 0


def test_a_last_will_is_kept_for_a_hub_that_comes_later_and_is_no_sign_of_life(
    broker: EmbeddedBroker, far: Far, sink: Sink, listeners: Listeners
) -> None:
    far.say("espresense/rooms/kitchen/status", b"online", retain=True)
    far.say("home/gw/LWT", b"offline", retain=True)
    far.say(DEVICE, BODY, retain=True)
    settings = LinkSettings("127.0.0.1", broker.port, "hub-under-test", reconnect_max_s=0.2)
    link = MqttLink(settings, sink.offer, lambda: 1_000, Random(1).random, listeners)
    link.start()
    try:
        said = {(message := sink.next()).said for _ in range(2)}
        link.release([message.token])
        assert said == {NodeStatus(KITCHEN, True), NodeStatus(Source("theengs", "home/gw"), False)}
        until(lambda: listeners.counts["retained_ignored"] == 1, far, sink, link)
        assert not listeners.lives
    finally:
        link.stop(5)


def test_a_busy_hub_drops_reports_first_and_trusts_no_silence(
    far: Far, sink: Sink, link: MqttLink, listeners: Listeners
) -> None:
    attempt(far, sink, DEVICE, BODY)
    drained(far, sink, link)
    until(lambda: KITCHEN in listeners.lives, far, sink, link)
    sink.open.clear()
    far.say(DEVICE, BODY, qos=0)
    far.say(PRESENCE, b"ours")
    far.say("espresense/rooms/kitchen/status", b"online")
    assert sink.refused.wait(PATIENCE_S)
    for _ in range(1_000):
        if listeners.counts["overrun"]:
            break
        far.say("espresense/rooms/hall/telemetry", b"{}")
    assert KITCHEN not in listeners.lives or listeners.lives[KITCHEN].since_ms > 1_000
    sink.open.set()
    assert [sink.next().payload, sink.next().said] == [b"ours", NodeStatus(KITCHEN, True)]
    assert listeners.counts["overrun"] == 1


def test_a_broken_line_means_that_nothing_is_known(
    broker: EmbeddedBroker, far: Far, sink: Sink, link: MqttLink, listeners: Listeners
) -> None:
    attempt(far, sink, DEVICE, BODY)
    drained(far, sink, link)
    until(lambda: KITCHEN in listeners.lives, far, sink, link)
    far.close()
    broker.stop()
    for _ in range(100_000):
        if not listeners.lives:
            break
        link.send("a", b"x").exception(PATIENCE_S)
    assert not listeners.lives
