"""What one connection knows of births; and that a link begins anew with each connection."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from random import Random

from hub.intake.births import EDGES_MAX, STARTS_MAX, Births
from hub.intake.broker import EmbeddedBroker
from hub.intake.mqtt import LinkSettings, MqttLink
from tests.hub.intake.test_mqtt import Far, Sink, subscribed
from wire.messages import Status, write
from wire.topics import edge_topic


def status(boot: str, state: str = "online") -> bytes:
    return write(Status.model_validate({"v": 1, "edge": "e-door", "boot": boot, "state": state, "version": "1"}))


def test_births_are_known_to_what_comes_after_them_of_the_same_edge() -> None:
    births = Births()
    assert births.note("e-door", status("a")) == ()
    assert births.note("e-door", status("a")) == ("a",)
    assert births.note("e-door", status("b", "offline")) == ("a",), "a will is no birth"
    assert births.note("e-door", status("b")) == ("a",)
    assert births.note("e-door", b"nonsense") == ("a", "b")
    assert births.note("e-till", status("c")) == ()
    assert births.note("e-door", status("a")) == ("a", "b")


def test_what_is_remembered_is_bounded_and_the_latest_of_each() -> None:
    births = Births()
    for number in range(2 * STARTS_MAX):
        births.note("e-door", status(f"b{number}"))
    found = births.note("e-door", status("last"))
    assert found == tuple(f"b{number}" for number in range(STARTS_MAX, 2 * STARTS_MAX))
    for number in range(EDGES_MAX):
        births.note(f"e-{number}", status("a"))
    assert births.note("e-0", status("b")) == ("a",)
    assert births.note(f"e-{EDGES_MAX - 1}", status("b")) == ()
    assert births.note(f"e-{EDGES_MAX - 1}", status("c")) == (), (
        "beyond the limit nothing is kept, so nothing is proven"
    )


@contextmanager
def a_link(broker: EmbeddedBroker, sink: Sink) -> Iterator[MqttLink]:
    settings = LinkSettings("127.0.0.1", broker.port, "hub-under-test", reconnect_max_s=0.2)
    link = MqttLink(settings, sink.offer, lambda: 1_000, Random(1).random)
    link.start()
    yield link
    link.stop(5)


def test_a_link_tells_which_births_came_before_over_the_same_connection(broker: EmbeddedBroker) -> None:
    sink = Sink()
    with closing(Far(broker.port)) as far, a_link(broker, sink) as link:
        subscribed(far, sink, link)
        for boot in ("a", "b", "a"):
            far.say(edge_topic("vienna-1", "e-door", "status"), status(boot))
        assert [sink.next().born for _ in range(3)] == [(), ("a",), ("a", "b")]
    with a_link(broker, sink):  # nothing was acknowledged: the broker brings it again, in order
        assert [sink.next().born for _ in range(3)] == [(), ("a",), ("a", "b")]
