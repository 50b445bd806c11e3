"""Two devices with one identity: an alarm, each start's account exact, and no flapping of visits."""

import pytest

from hub.core.boots import RETURNS
from hub.core.model import Edge, EdgeBoot, Visit
from hub.core.states import VisitState
from hub.core.watermark import accounted
from hub.usecases.edges import Heard, record_status
from tests.hub.build import NOON_MS, RULES, TENANT, event, house, person, sample
from tests.hub.usecases.test_presence import Hub
from wire.messages import Status

ALARM = {"type": "alarm", "edge": "e-door", "store": "s1", "reason": "cloned"}


@pytest.fixture
def hub(store):
    with store.write() as tx:
        house(tx)
        person(tx)
    return Hub(store)


def door(hub):
    with hub.store.read() as tx:
        return tx.get(Edge, [(TENANT, "e-door")])[0]


def say(hub, boot, state, after_s, retained=False, born=("a", "b")):
    status = Status(v=1, edge="e-door", boot=boot, state=state, version="1")
    with hub.store.write() as tx:
        heard = Heard(retained, born)
        return record_status(tx, "s1", "e-door", status, RULES, NOON_MS + round(after_s * 1000), heard).notes


def test_two_devices_that_talk_raise_an_alarm_and_keep_their_own_accounts(hub):
    assert not hub.send(event(1, "enter"), boot="a", after_s=0).effects.notes.count(ALARM)
    assert not hub.send(event(1, "enter"), boot="b", after_s=10).effects.notes.count(ALARM)
    assert hub.send(sample(2), boot="a", after_s=20).effects.notes.count(ALARM) == 1
    assert not hub.send(sample(2), boot="b", after_s=30).effects.notes.count(ALARM)
    assert not hub.send(sample(3), boot="a", after_s=40).effects.notes.count(ALARM), "told a moment ago"
    assert door(hub).cloned_at_ms == NOON_MS + 20_000
    accounts = {row.boot: (row.upto, row.committed) for row in hub.all(EdgeBoot)}
    assert accounts == {"a": (3, 3), "b": (2, 2)}
    assert all(accounted(row) for row in hub.all(EdgeBoot))
    assert len(hub.all(Visit)) == 1


def test_a_restart_with_a_backlog_is_no_clone(hub):
    hub.send(event(1, "enter"), sample(2), boot="a", after_s=0)
    hub.send(sample(3), boot="a", after_s=60, sent_mono_ms=None)  # left in the outbox, sent by the next start
    hub.send(sample(1), boot="b", after_s=60)
    hub.send(sample(4), boot="a", after_s=61, sent_mono_ms=None)
    hub.send(sample(2), boot="b", after_s=62)
    assert door(hub).cloned_at_ms is None


def test_births_in_turn_raise_an_alarm_without_an_event_and_nobody_flaps(hub):
    say(hub, "a", "online", 0)
    say(hub, "b", "online", 1)
    hub.send(event(1, "enter"), boot="b", after_s=2)
    notes = []
    for n in range(RETURNS + 2):
        notes += say(hub, "a", "online", 3 + n) + say(hub, "b", "online", 3.5 + n)
    assert notes == [ALARM]
    assert (door(hub).status, door(hub).status_boot) == ("online", "b")
    assert hub.one(Visit).state == VisitState.PRESENT
    say(hub, "a", "offline", 20)
    assert door(hub).status == "online", "the will of the other device says nothing of this one"
    say(hub, "b", "offline", 21)
    assert door(hub).status == "offline"
    assert hub.one(Visit).state == VisitState.UNKNOWN
    say(hub, "a", "online", 22)
    assert (door(hub).status, door(hub).status_boot) == ("online", "a"), "it is the only one left"


def test_a_retained_status_is_state_and_never_a_birth(hub):
    say(hub, "a", "online", 0)
    say(hub, "b", "online", 1)
    for n in range(2 * RETURNS):
        assert not say(hub, "b", "online", 2 + n, retained=True)
        assert not say(hub, "a", "online", 2 + n, retained=True)
    assert door(hub).cloned_at_ms is None
    assert door(hub).status_boot == "b"
    say(hub, "c", "online", 30, retained=True)
    assert (door(hub).status, door(hub).status_boot) == ("online", "c"), "what happened while the hub was away"


def test_a_broker_killed_before_it_saves_brings_an_old_birth_back_and_that_is_no_clone(hub):
    """mosquitto saves every 10 s: a birth that was queued when it saved comes anew over every connection until then."""
    say(hub, "a", "online", 0, born=())
    say(hub, "b", "online", 2, born=("a",))
    for n in range(2 * RETURNS):
        assert not say(hub, "a", "online", 3 + n, born=())
        assert not say(hub, "a", "online", 3.1 + n, born=("a",))
        assert not say(hub, "b", "online", 3.5 + n, born=("a",))
    assert door(hub).cloned_at_ms is None
    assert (door(hub).status, door(hub).status_boot) == ("online", "b")
