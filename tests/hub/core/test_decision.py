"""One trace, a fixed order, the first failing reason for every candidate, at most one winner."""

from dataclasses import replace

import pytest

from hub.core import decision
from hub.core.decision import Moment, Person
from hub.core.grants import Place, issue
from hub.core.model import Device
from hub.core.offers import current, read_body
from hub.core.states import GrantState
from tests.hub.build import EVERY_PURPOSE, NOON_MS, offer, shop

PHONE = Device("default", "d1", "p1", "mqtt", "", True, 0, None)
WILLING = Person("p1", EVERY_PURPOSE, [PHONE], [], 0)


def granted(name="o1", after_ms=0, **changes):
    row = offer(name)
    place = Place("default", "g1", "p1", "s1", "v0", "x0")
    return replace(issue(row, read_body(row.body), place, "h", NOON_MS + after_ms), **changes)


def judge(person=WILLING, *offers, now_ms=NOON_MS):
    return decision.decide(current(list(offers) or [offer()]), person, shop(), {"s1"}, now_ms)


def reason(person=WILLING, *offers, **more):
    return judge(person, *offers, **more)[0].reason


def test_somebody_willing_gets_it():
    assert reason() is None


@pytest.mark.parametrize("missing", EVERY_PURPOSE)
def test_each_purpose_is_needed(missing):
    person = replace(WILLING, purposes=set(EVERY_PURPOSE) - {missing})
    assert reason(person) == f"consent:{missing}"


@pytest.mark.parametrize(
    ("change", "offers", "expected"),
    [
        ({"devices": []}, (), "address:none"),
        ({"devices": [replace(PHONE, os_permission=False)]}, (), "address:os_permission"),
        ({"pushes_this_visit": 1}, (), "cap:visit"),
        ({"grants": [granted(after_ms=-1000)]}, (), "cooldown"),
        ({"grants": [granted(after_ms=-1000)]}, (offer(cooldown_s=0),), "cap:open_grant"),
        ({"grants": [granted(state=GrantState.REVOKED)]}, (), None),
        ({"grants": [granted("other")]}, (), None),
        ({"grants": [granted(after_ms=-8 * 86_400_000, state=GrantState.EXPIRED)]}, (), None),
        ({}, (offer(schedule={"from_local": "13:00", "to_local": "14:00"}),), "validity:schedule"),
        ({}, (offer(redeem_store="gone"),), "validity:redeem_store"),
    ],
)
def test_first_failing_reason(change, offers, expected):
    assert reason(replace(WILLING, **change), *offers) == expected


def test_consent_comes_before_everything_else():
    nobody = Person("p1", set(), [], [granted()], 9)
    assert reason(nobody, offer(schedule={"weekdays": [1]})) == "consent:presence_detection"


def test_the_highest_priority_wins_and_the_rest_say_rank():
    judged = judge(WILLING, offer("low", priority=1), offer("high", priority=900), offer("mid", priority=500))
    assert [(one.offer.offer, one.reason) for one in judged] == [("high", None), ("mid", "rank"), ("low", "rank")]


def test_ties_are_stable_per_person():
    offers = [offer(name) for name in "abcdef"]
    first = [one.offer.offer for one in judge(WILLING, *offers)]
    assert first == [one.offer.offer for one in judge(WILLING, *reversed(offers))]


def test_the_newest_reachable_device_gets_the_push():
    older, newest = replace(PHONE, device="d0"), replace(PHONE, device="d2", created_at_ms=9, os_permission=False)
    assert decision.address([older, replace(PHONE, created_at_ms=5), newest]).device == "d1"


def test_an_offer_that_cannot_be_read_does_not_stop_the_others():
    good = offer("good")
    bad = replace(good, offer="bad", body={**good.body, "curve": {"kind": "of a version to come"}})
    assert [one.offer for one, _ in current([bad, good])] == ["good"]


DWELL = {"on": "dwell", "dwell_s": 30, "zone_kind": "floor"}


@pytest.mark.parametrize(
    ("trigger", "moment", "hit"),
    [
        ({"on": "enter"}, Moment("s1", 0, (None,), ()), True),
        ({"on": "enter"}, Moment("s1", 0, ("door",), ()), False),
        ({"on": "enter", "zone_kind": "door"}, Moment("s1", 0, (None, "door"), ()), True),
        ({"on": "enter", "stores": ["s2"]}, Moment("s1", 0, (None,), ()), False),
        (DWELL, Moment("s1", 0, (), ((None, 90_000), ("floor", 29_999))), False),
        (DWELL, Moment("s1", 0, (), ((None, 90_000), ("floor", 30_000))), True),
        ({"on": "dwell", "dwell_s": 60}, Moment("s1", 0, (), ((None, 60_000),)), True),
    ],
)
def test_triggers(trigger, moment, hit):
    offers = current([offer(trigger=trigger)])
    assert bool(decision.triggered(offers, moment, [])) is hit
    assert not decision.triggered(offers, moment, ["o1"])
