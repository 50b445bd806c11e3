"""The edge's line, against a real broker."""

import threading

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.adapters.publisher import LineSettings, Listener, Publisher
from edge.adapters.system import boot_ms
from hub.intake.broker import EmbeddedBroker
from tests.e2e.system import free_port
from wire.messages import Status, read
from wire.topics import edge_topic

PATIENCE_S = 60
STATUS = Status(v=1, edge="e1", boot="b1", state="online", version="0")


class Inbox:
    """Messages as they come, awaited by count."""

    def __init__(self):
        self.items, self._changed = [], threading.Condition()

    def put(self, *item):
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def wait(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.items) >= count, PATIENCE_S), self.items
            return self.items


@pytest.fixture
def broker():
    found = EmbeddedBroker(free_port())
    found.start()
    yield found
    found.stop()


class Hub:
    """Listens to one edge, and speaks to it."""

    def __init__(self, port):
        self.inbox, self.ready = Inbox(), threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda c, *_: c.subscribe("doorchime/v1/+/s1/e1/+", 1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = lambda _c, _u, m: self.inbox.put(m.topic.rpartition("/")[2], bytes(m.payload))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(PATIENCE_S)

    def say(self, leaf, payload, retain=False):
        self.client.publish(edge_topic("s1", "e1", leaf), payload, 1, retain)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def hub(broker):
    found = Hub(broker.port)
    yield found
    found.close()


class Edge:
    """A publisher and what it told."""

    def __init__(self, port):
        self.connected, self.disconnected, self.heard = Inbox(), Inbox(), Inbox()
        listener = Listener(self.connected.put, self.disconnected.put, self.heard.put)
        line = LineSettings("127.0.0.1", port, None, None, spread_s=0, reconnect_max_s=0.2)
        self.publisher = Publisher(line, "s1", "e1", STATUS, listener, lambda: 0.5, boot_ms)


@pytest.fixture
def edge(broker):
    found = Edge(broker.port)
    found.publisher.start()
    found.connected.wait(1)
    yield found
    found.publisher.stop()


def test_birth_messages_and_a_goodbye(hub, edge):
    assert edge.publisher.send("presence", b"{}")
    assert edge.publisher.send("telemetry", b"t", 0)
    edge.publisher.stop()
    found = hub.inbox.wait(4)
    states = [read(Status, payload).state for leaf, payload in found if leaf == "status"]
    assert states == ["online", "offline"]
    assert [leaf for leaf, _ in found if leaf != "status"] == ["presence", "telemetry"]


def test_acks_and_configurations_are_heard_and_nothing_else(hub, edge):
    hub.say("status", b"not for me")
    hub.say("ack", b"a")
    hub.say("config", b"c")
    assert sorted(edge.heard.wait(2)) == [("ack", b"a"), ("config", b"c")]


def test_a_retained_configuration_is_read_and_a_retained_ack_never(broker, hub):
    hub.say("ack", b"old", retain=True)
    hub.say("config", b"kept", retain=True)
    hub.inbox.wait(2)  # both are at the broker
    edge = Edge(broker.port)
    edge.publisher.start()
    assert edge.heard.wait(1) == [("config", b"kept")]
    hub.say("ack", b"new")
    assert edge.heard.wait(2)[1] == ("ack", b"new")
    assert edge.publisher.counts["retained_ignored"] == 1
    edge.publisher.stop()


def test_a_broker_that_dies_is_found_again(broker, edge):
    broker.stop()
    edge.disconnected.wait(1)
    assert not edge.publisher.send("presence", b"lost in the air: the outbox keeps it")
    again = EmbeddedBroker(broker.port)
    again.start()
    edge.connected.wait(2)
    hub = Hub(broker.port)
    assert edge.publisher.send("presence", b"x")
    assert ("presence", b"x") in hub.inbox.wait(1 + 1)
    assert edge.publisher.counts["reconnects"] == 1
    hub.close()
    edge.publisher.stop()
    again.stop()


def test_without_a_broker_stopping_is_quick_and_sending_says_no():
    edge = Edge(free_port())
    assert not edge.publisher.send("presence", b"x")
    edge.publisher.start()
    edge.publisher.stop(PATIENCE_S)
    assert not edge.publisher._thread.is_alive()
