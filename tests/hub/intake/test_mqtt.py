"""The MQTT link against a real broker: nothing acknowledged early, nothing lost, nothing old taken for new."""

import asyncio
import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from random import Random

import pytest
from paho.mqtt import client as paho

from hub.intake.broker import EmbeddedBroker
from hub.intake.inbound import Inbound
from hub.intake.mqtt import LinkSettings, MqttLink
from hub.usecases.presence import AckOf
from wire.messages import Ack, read
from wire.topics import ROOT, edge_topic

PATIENCE_S = 60
PRESENCE = edge_topic("vienna-1", "e-door", "presence")


class Sink:
    """Stands in for the writer: a queue that can be told to be full, or to fail."""

    def __init__(self) -> None:
        self.messages: queue.Queue[Inbound] = queue.Queue()
        self.open = threading.Event()
        self.open.set()
        self.refused = threading.Event()
        self.failure: Exception | None = None

    def offer(self, message: Inbound) -> bool:
        if self.failure is not None:
            raise self.failure
        if not self.open.is_set():
            self.refused.set()
            return False
        self.messages.put(message)
        return True

    def next(self) -> Inbound:
        return self.messages.get(timeout=PATIENCE_S)


class Cable:
    """A TCP relay to the broker that can be cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        for pair in self._pairs:
            for end in pair:
                _shut(end)

    def close(self) -> None:
        _shut(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for pair in self._pairs:
            for end in pair:
                end.close()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._pairs.append((near, far))
            for a, b in ((near, far), (far, near)):
                thread = threading.Thread(target=self._relay, args=(a, b), daemon=True)
                self._threads.append(thread)
                thread.start()

    @staticmethod
    def _relay(source: socket.socket, target: socket.socket) -> None:
        """One direction; its end closes only this direction, or last words of the other would be lost."""
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        _shut(target, socket.SHUT_WR)


def _shut(sock: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(how)


class Far:
    """Somebody else at the broker: an edge, or a phone."""

    def __init__(self, port: int) -> None:
        self.heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _c, _u, m: self.heard.put((m.topic, m.payload))
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def say(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE_S)

    def listen(self, topic: str) -> None:
        self._client.subscribe(topic, 1)
        assert self._subscribed.wait(PATIENCE_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def far(broker: EmbeddedBroker) -> Iterator[Far]:
    far = Far(broker.port)
    yield far
    far.close()


@pytest.fixture
def sink() -> Sink:
    return Sink()


MakeLink = Callable[..., MqttLink]


@pytest.fixture
def make_link(broker: EmbeddedBroker, sink: Sink) -> Iterator[MakeLink]:
    links: list[MqttLink] = []

    def make(port: int | None = None, to: Sink | None = None) -> MqttLink:
        settings = LinkSettings("127.0.0.1", port or broker.port, "hub-under-test", reconnect_max_s=0.2)
        link = MqttLink(settings, (to or sink).offer, lambda: 1_000, Random(1).random)
        links.append(link)
        link.start()
        return link

    yield make
    for link in links:
        link.stop(5)


def subscribed(far: Far, sink: Sink, link: MqttLink) -> None:
    """Return once a message gets through: the broker tells nobody else when a subscription is in force."""
    for attempt in range(1_000):
        if link.connected:
            far.say(edge_topic("vienna-1", "e-door", "telemetry"), b"%d" % attempt, qos=0)
        try:
            sink.messages.get(timeout=0.05)
        except queue.Empty:
            continue
        break
    else:
        pytest.fail("no subscription")
    far.say(edge_topic("vienna-1", "e-door", "telemetry"), b"marker", qos=0)  # a cut does not bring it again
    while sink.next().payload != b"marker":
        pass


def test_a_message_comes_with_its_place_and_time(far: Far, sink: Sink, make_link: MakeLink) -> None:
    link = make_link()
    subscribed(far, sink, link)
    far.say(PRESENCE, b"payload")
    message = sink.next()
    assert message[:5] == ("vienna-1", "e-door", "presence", b"payload", 1_000)
    assert message.token is not None


def test_without_release_it_comes_again_and_with_release_it_does_not(far: Far, sink: Sink, make_link: MakeLink) -> None:
    first = make_link()
    subscribed(far, sink, first)
    for n in range(4):
        far.say(PRESENCE, b"%d" % n)
    taken = [sink.next() for _ in range(4)]
    first.release([taken[0].token, taken[1].token])
    first.stop(5)
    make_link()
    assert [sink.next().payload for _ in range(2)] == [b"2", b"3"]


def test_a_cut_line_brings_everything_unreleased_again_and_old_tokens_lead_nowhere(
    broker: EmbeddedBroker, far: Far, sink: Sink, make_link: MakeLink
) -> None:
    cable = Cable(broker.port)
    link = make_link(cable.port)
    subscribed(far, sink, link)
    far.say(PRESENCE, b"x")
    before = sink.next()
    cable.cut()
    again = sink.next()
    assert again.payload == b"x"
    link.release([before.token])
    assert link.counts["pubacks_stale"] == 1
    cable.cut()
    assert sink.next().payload == b"x", "the stale token must not have acknowledged it"
    link.stop(5)
    cable.close()


def test_messages_sent_while_the_hub_is_away_arrive_in_order(far: Far, sink: Sink, make_link: MakeLink) -> None:
    link = make_link()
    subscribed(far, sink, link)
    link.stop(5)
    for n in range(300):
        far.say(PRESENCE, b"%d" % n)
    link = make_link()
    for n in range(300):
        message = sink.next()
        assert message.payload == b"%d" % n
        link.release([message.token])


def test_retained_presence_is_never_an_event(far: Far, sink: Sink, make_link: MakeLink) -> None:
    far.say(PRESENCE, b"old", retain=True)
    far.say(edge_topic("vienna-1", "e-door", "status"), b"birth", retain=True)
    link = make_link()
    assert sink.next()[2:4] == ("status", b"birth"), "a retained status is state, not an event"
    subscribed(far, sink, link)
    assert link.counts["retained_ignored"] == 1


def test_a_topic_outside_the_grammar_is_counted_and_dropped(far: Far, sink: Sink, make_link: MakeLink) -> None:
    link = make_link()
    subscribed(far, sink, link)
    far.say(f"{ROOT}/zz/vienna-1/e-door/presence", b"wrong partition")
    far.say(PRESENCE, b"right")
    assert sink.next().payload == b"right"
    assert link.counts["bad_topics"] == 1


def test_a_full_writer_stops_the_reading_and_loses_nothing(far: Far, sink: Sink, make_link: MakeLink) -> None:
    link = make_link()
    subscribed(far, sink, link)
    sink.open.clear()
    for n in range(500):
        far.say(PRESENCE, b"%d" % n)
    assert sink.refused.wait(PATIENCE_S)
    assert sink.messages.empty()
    sink.open.set()
    for n in range(500):
        message = sink.next()
        assert message.payload == b"%d" % n
        link.release([message.token])
    assert link.counts["stalls"] > 0


def test_after_a_broker_restart_it_connects_and_subscribes_again(
    broker: EmbeddedBroker, sink: Sink, make_link: MakeLink
) -> None:
    link = make_link()
    far = Far(broker.port)
    subscribed(far, sink, link)
    far.close()
    broker.stop()
    again = EmbeddedBroker(broker.port)
    again.start()
    far = Far(again.port)
    subscribed(far, sink, link)
    far.close()
    link.stop(5)
    again.stop()


def test_edges_hear_what_is_committed(far: Far, sink: Sink, make_link: MakeLink) -> None:
    link = make_link()
    subscribed(far, sink, link)
    far.listen(edge_topic("vienna-1", "e-door", "ack"))
    link.answer([AckOf("vienna-1", "e-door", "b1", 7)])
    topic, payload = far.heard.get(timeout=PATIENCE_S)
    assert topic == edge_topic("vienna-1", "e-door", "ack")
    assert read(Ack, payload) == Ack(v=1, boot="b1", upto=7)


async def test_publish_returns_when_the_broker_has_it(far: Far, sink: Sink, make_link: MakeLink) -> None:
    link = make_link()
    await asyncio.to_thread(subscribed, far, sink, link)
    await asyncio.to_thread(far.listen, "a/b")
    await asyncio.gather(*(link.publish("a/b", b"%d" % n, False) for n in range(200)))
    heard = [far.heard.get(timeout=PATIENCE_S)[1] for _ in range(200)]
    assert heard == [b"%d" % n for n in range(200)]


async def test_publish_without_a_connection_fails_at_once(free_port: int) -> None:
    link = MqttLink(LinkSettings("127.0.0.1", free_port, "nobody"), lambda _: True, lambda: 0, Random(1).random)
    with pytest.raises(ConnectionError):
        await link.publish("a", b"", False)
    link.start()
    with pytest.raises(ConnectionError):
        await link.publish("a", b"", False)
    link.answer([AckOf("s", "e", "b", 1)])
    assert link.counts["acks_dropped"] == 1
    await asyncio.to_thread(link.stop, 5)


def test_a_lost_connection_fails_what_waits(broker: EmbeddedBroker, far: Far, sink: Sink, make_link: MakeLink) -> None:
    link = make_link()
    subscribed(far, sink, link)
    far.close()
    broker.stop()
    outcomes: list[Future[None]] = []
    while not outcomes or link.connected:  # until the link has noticed
        outcomes.append(link.send("a", b"x"))
        if len(outcomes) > 100_000:
            pytest.fail("the link never noticed")
    assert isinstance(outcomes[-1].exception(PATIENCE_S), ConnectionError)
    assert all(outcome.done() or outcome.exception(PATIENCE_S) for outcome in outcomes)


async def test_a_caller_that_gives_up_does_no_harm(far: Far, sink: Sink, make_link: MakeLink) -> None:
    link = make_link()
    await asyncio.to_thread(subscribed, far, sink, link)
    for _ in range(50):
        task = asyncio.ensure_future(link.publish("a", b"x", False))
        await asyncio.sleep(0)
        task.cancel()
    await link.publish("a", b"last", False)
    assert not link.ended.done()


def test_after_stop_intake_nothing_is_taken_and_all_of_it_comes_to_the_next(
    far: Far, sink: Sink, make_link: MakeLink
) -> None:
    link = make_link()
    subscribed(far, sink, link)
    link.stop_intake()
    far.say(PRESENCE, b"late")
    link.send("a", b"sending still works").result(PATIENCE_S)
    link.stop(5)
    assert sink.messages.empty()
    make_link()
    assert sink.next().payload == b"late"


def test_a_fault_of_ours_ends_the_thread_and_is_told(far: Far, sink: Sink, make_link: MakeLink) -> None:
    link = make_link()
    subscribed(far, sink, link)
    sink.failure = RuntimeError("a bug")
    far.say(PRESENCE, b"x")
    assert isinstance(link.ended.exception(PATIENCE_S), RuntimeError)


def test_pubacks_queued_at_the_end_still_leave_before_the_goodbye(sink: Sink) -> None:
    """Read from the wire: a broker that drops what comes together with DISCONNECT must not blur the picture."""
    heard: Future[bytes] = Future()
    listener = socket.create_server(("127.0.0.1", 0))
    broker = threading.Thread(target=_scripted_broker, args=(listener, 80, heard))
    broker.start()
    link = MqttLink(
        LinkSettings("127.0.0.1", listener.getsockname()[1], "hub"), sink.offer, lambda: 0, Random(1).random
    )
    link.start()
    taken = [sink.next() for _ in range(80)]
    link.stop_intake()
    link.release([message.token for message in taken])
    link.stop(5)
    broker.join(PATIENCE_S)
    listener.close()
    pubacks = b"".join(b"\x40\x02" + mid.to_bytes(2, "big") for mid in range(1, 81))
    assert heard.result(PATIENCE_S) == pubacks + b"\xe0\x00"


def _scripted_broker(listener: socket.socket, count: int, heard: Future[bytes]) -> None:
    """Accepts, grants four subscriptions, publishes `count` events; `heard` is all that comes after that."""
    sock, _ = listener.accept()
    with sock, sock.makefile("rb") as far:

        def packet() -> bytes:
            head = far.read(2)
            length, shift = head[1] & 127, 7
            last = head[1]
            while last & 128:
                last = far.read(1)[0]
                length, shift = length | (last & 127) << shift, shift + 7
            return far.read(length)

        packet()
        sock.sendall(b"\x20\x02\x00\x00")
        sock.sendall(b"\x90\x06" + packet()[:2] + b"\x01\x01\x00\x01")
        topic = PRESENCE.encode()
        for mid in range(1, count + 1):
            body = len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + b"x"
            sock.sendall(bytes((0x32, len(body))) + body)
        heard.set_result(far.read())
