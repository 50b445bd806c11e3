"""What a drain must lead to, computed without the hub; and that a drain which led to something else fails."""

from copy import deepcopy

import pytest

from bench import plan
from bench.crowd import person
from bench.traffic import EVENTS_PER_VISIT, batches, last_seqs, reports
from wire.errors import BrokenInvariant
from wire.messages import read_presence

PEOPLE = [person(number) for number in range(10)]
START_MS = 1_790_942_400_000


def test_six_of_ten_agree_and_everybody_else_is_refused_in_full():
    found = plan.plan(PEOPLE, 1)
    assert {profile for profile, _, _ in found.decisions} == {one.profile for one in PEOPLE if one.consenting}
    assert len({profile for profile, _, _ in found.decisions}) == 6
    assert found.refused == 4 * EVENTS_PER_VISIT
    assert found.grants.total() == 6, "one push a visit"


def test_nobody_gets_the_same_offer_twice():
    grants = plan.plan(PEOPLE, 3).grants
    assert max(grants.values()) == 1
    assert grants.total() == 3 * 6


def test_there_is_a_decision_in_every_hundred_events_and_a_tenth_are_enters_and_exits():
    found = reports(PEOPLE, 2, START_MS)
    assert plan.plan(PEOPLE, 2).decisions.total() >= len(found) / 100
    moves = [one for one in found if one.kind in ("enter", "exit")]
    assert len(moves) == len(found) / 10


@pytest.mark.parametrize("per_message", [1, 50])
def test_messages_number_what_each_edge_reports_without_a_gap(per_message):
    found = reports(PEOPLE, 1, START_MS)
    last: dict[str, int] = {}
    for out in batches(found, "b", per_message, START_MS - 1000):
        message = read_presence(out.payload).message
        for event in message.events:
            assert event.seq == last.get(message.edge, 0) + 1
            last[message.edge] = event.seq
        assert len(message.events) <= per_message
    assert last == last_seqs(found)


@pytest.mark.parametrize("fault", ["a decision less", "another reason", "a grant more", "a refusal less"])
def test_what_was_not_planned_fails_the_run_and_is_named(fault):
    expected = plan.plan(PEOPLE, 1)
    found = deepcopy(expected)
    plan.check(expected, found, "the hub")
    profile, store, candidates = next(iter(found.decisions))
    match fault:
        case "a decision less":
            found.decisions[profile, store, candidates] -= 1
        case "another reason":
            del found.decisions[profile, store, candidates]
            found.decide(profile, store, [(offer, "rank") for offer, _ in candidates])
        case "a grant more":
            found.grants[profile, "welcome"] += 1
        case _:
            found.refused -= 1
    with pytest.raises(BrokenInvariant, match="the hub did not do what was planned"):
        plan.check(expected, found, "the hub")
