"""One visit per stay, whatever the order, the edges and their deaths."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hub.core import visits
from hub.core.states import VisitState
from hub.core.visits import GRACE_S, SILENCE_MS, UNKNOWN_MS, Observation
from hub.core.zones import OURS, Pace

GRACE_MS = GRACE_S * 1000
ZONES = {"e-door": "door", "e-floor": "floor"}


def seen(kind="sample", at_ms=0, edge="e-door", level=-60.0, received_at_ms=None):
    return Observation(
        profile="p1", store="s1", source=edge, zone=ZONES[edge], kind=kind, at_ms=at_ms, error_ms=0,
        received_at_ms=at_ms if received_at_ms is None else received_at_ms, late=False, level_dbm=level,
        trigger=f"{edge}/b1/{at_ms}",
    )  # fmt: skip


def visit_after(*observations):
    draft = visits.open_visit("default", "v1", observations[0])
    for one in observations:
        visits.advance(draft, one, GRACE_MS)
    return draft


def test_an_enter_opens_and_places():
    draft = visits.open_visit("default", "v1", seen("enter"))
    step = visits.advance(draft, seen("enter"), GRACE_MS)
    assert (step.opened, step.zone_changed, step.zone) == (True, True, "door")
    assert (draft.state, draft.deadline_ms) == (VisitState.PRESENT, SILENCE_MS)
    assert not visits.advance(draft, seen("enter", 100, "e-floor"), GRACE_MS).opened


def test_a_visit_ends_when_the_person_was_last_heard():
    draft = visit_after(seen("enter"), seen(at_ms=50_000), seen("exit", 52_000, received_at_ms=82_000))
    assert (draft.state, draft.deadline_ms) == (VisitState.GRACE, 52_000 + GRACE_MS)
    visits.expire(draft, draft.deadline_ms)
    row = visits.freeze(draft)
    assert (row.state, row.left_at_ms, row.deadline_ms) == (VisitState.CLOSED, 52_000, None)


def test_one_edge_that_still_hears_keeps_the_visit():
    draft = visit_after(seen("enter"), seen("enter", 1000, "e-floor"), seen("exit", 2000))
    assert draft.state == VisitState.PRESENT


def test_a_return_within_the_grace_is_the_same_visit():
    draft = visit_after(seen("enter"), seen("exit", 10_000))
    assert visits.joins(draft, 10_000 + GRACE_MS, GRACE_MS)
    assert not visits.joins(draft, 10_001 + GRACE_MS, GRACE_MS)
    visits.advance(draft, seen("enter", 60_000), GRACE_MS)
    assert draft.state == VisitState.PRESENT


def test_late_news_reopens_what_was_closed_too_early():
    draft = visit_after(seen("enter"), seen("exit", 10_000))
    visits.close(draft)
    assert visits.joins(draft, 40_000, GRACE_MS)
    visits.advance(draft, seen("enter", 40_000), GRACE_MS)
    row = visits.freeze(draft)
    assert (row.state, row.left_at_ms) == (VisitState.PRESENT, None)


def test_a_dead_edge_means_unknown_not_gone():
    draft = visit_after(seen("enter"))
    assert visits.lose_edge(draft, "e-door", 5000, GRACE_MS)
    assert (draft.state, draft.deadline_ms) == (VisitState.UNKNOWN, 5000 + UNKNOWN_MS)
    visits.advance(draft, seen(at_ms=9000), GRACE_MS)
    assert draft.state == VisitState.PRESENT


def test_silence_becomes_unknown_and_then_an_end():
    draft = visit_after(seen("enter"), seen(at_ms=3000))
    visits.expire(draft, draft.deadline_ms)
    assert draft.state == VisitState.UNKNOWN
    visits.expire(draft, draft.deadline_ms)
    assert (draft.state, visits.freeze(draft).left_at_ms) == (VisitState.CLOSED, 3000)


def test_a_sample_from_an_edge_that_let_nobody_in_holds_nobody():
    draft = visit_after(seen("enter"), seen("exit", 1000), seen(at_ms=5000, edge="e-floor", level=-90.0))
    assert (draft.state, draft.seen_at_ms) == (VisitState.GRACE, 1000)


def test_whoever_only_hears_somebody_vouches_for_nothing():
    """An edge that let nobody in does not keep a visit open: its deadline stays that of the last one inside."""
    draft = visit_after(seen("enter"), *(seen(at_ms=t, edge="e-floor", level=-90.0) for t in range(0, 300_000, 1000)))
    assert (draft.state, draft.deadline_ms, draft.seen_at_ms) == (VisitState.PRESENT, SILENCE_MS, 0)
    assert visits.joins(draft, UNKNOWN_MS, GRACE_MS), "nobody has looked yet, but it is unknown, not over"


@pytest.mark.parametrize(
    ("before", "holds", "after", "state"),
    [
        ("enter", True, "in", VisitState.PRESENT),
        ("enter", False, "unknown", VisitState.UNKNOWN),
        ("unknown", True, "in", VisitState.PRESENT),
        ("unknown", False, "unknown", VisitState.UNKNOWN),
        ("exit", False, "out", VisitState.GRACE),
        ("exit", True, "in", VisitState.PRESENT),
    ],
)
def test_a_source_that_knows_whom_it_holds_needs_no_memory(before, holds, after, state):
    first = [seen("enter")] if before == "enter" else [seen("enter"), seen(before)]
    draft = visit_after(*first, seen(at_ms=1000)._replace(holds=holds))
    assert (draft.edges["e-door"][0], draft.state) == (after, state)


def test_a_source_that_holds_somebody_counts_in_a_visit_that_it_did_not_open():
    held = seen(at_ms=1000, edge="e-floor")._replace(holds=True)
    draft = visit_after(seen("enter"), held, seen("exit", 2000))
    assert draft.state == VisitState.PRESENT


def test_a_record_survives_being_stored():
    draft = visit_after(seen("enter"), seen(at_ms=1000), seen("enter", 2000, "e-floor", -50.0))
    row = visits.freeze(draft)
    assert visits.freeze(visits.load(row, ZONES)) == row


def test_a_slow_edge_keeps_its_pace_when_the_visit_is_stored():
    slow = Pace(stale_ms=30_000, hold_ms=8_000, half_life_ms=0)
    draft = visit_after(seen("enter"), seen("enter", 1000, "e-floor", -50.0)._replace(pace=slow))
    again = visits.load(visits.freeze(draft), ZONES, {"e-floor": slow})
    assert again.heard == draft.heard
    assert {edge: one.pace for edge, one in again.heard.items()} == {"e-door": OURS, "e-floor": slow}


def test_stays_in_zones_follow_one_another():
    draft = visit_after(seen("enter", 0, level=-80.0), *(seen("enter", t, "e-floor", -50.0) for t in (1000, 7000)))
    visits.close(draft)
    stays = sorted(draft.stays, key=lambda stay: stay.entered_at_ms)
    assert [(stay.zone, stay.entered_at_ms, stay.left_at_ms) for stay in stays] == [
        ("door", 0, 7000),
        ("floor", 7000, 7000),
    ]


class Stay(RuleBasedStateMachine):
    """Whatever edges say: the state follows from what they last said, and an open visit has a deadline."""

    def __init__(self):
        super().__init__()
        self.now = 0
        self.draft = visits.open_visit("default", "v1", seen("enter"))
        visits.advance(self.draft, seen("enter"), GRACE_MS)
        self.heard = 0

    @rule(kind=st.sampled_from(["enter", "sample", "exit", "unknown"]), edge=st.sampled_from(sorted(ZONES)),
          gap=st.integers(0, 100_000), level=st.floats(-100, -30))  # fmt: skip
    def say(self, kind, edge, gap, level):
        self.now += gap
        if not visits.joins(self.draft, self.now, GRACE_MS):
            return
        inside = self.draft.edges.get(edge, [None])[0]
        visits.advance(self.draft, seen(kind, self.now, edge, level), GRACE_MS)
        if kind in ("enter", "exit") or (kind == "sample" and inside in ("in", "unknown")):
            self.heard = self.now

    @rule(edge=st.sampled_from(sorted(ZONES)))
    def die(self, edge):
        visits.lose_edge(self.draft, edge, self.now, GRACE_MS)

    @rule()
    def wait(self):
        if self.draft.deadline_ms is not None:
            self.now = max(self.now, self.draft.deadline_ms)
            visits.expire(self.draft, self.now)

    @invariant()
    def holds(self):
        said = {entry[0] for entry in self.draft.edges.values()}
        state = self.draft.state
        assert (state == VisitState.PRESENT) == ("in" in said)
        assert (state == VisitState.CLOSED) == (self.draft.deadline_ms is None)
        assert self.draft.seen_at_ms == self.heard
        row = visits.freeze(self.draft)
        assert row.entered_at_ms <= row.seen_at_ms
        assert (row.left_at_ms is not None) == (state == VisitState.CLOSED)


TestStay = Stay.TestCase
TestStay.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
