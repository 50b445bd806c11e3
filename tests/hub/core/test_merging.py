"""Which visit an observation belongs to, and what two that become one know afterwards."""

from hub.core import merging, visits
from hub.core.states import VisitState
from tests.hub.core.test_visits import GRACE_MS, seen


def stored(name, *observations, closed=False):
    """A visit as it comes back from the store."""
    draft = visits.open_visit("default", name, observations[0])
    for one in observations:
        visits.advance(draft, one, GRACE_MS)
    if closed:
        visits.close(draft)
    return visits.load(visits.freeze(draft), {"e-door": "door", "e-floor": "floor"})


def words(draft):
    return {edge: entry[0] for edge, entry in draft.edges.items()}


def test_between_two_visits_the_word_of_an_edge_counts_where_it_let_the_person_in():
    early = stored("v1", seen("enter", 0, "e-floor"), closed=True)
    late = stored("v2", seen("enter", 200_000))
    both = [early, late]
    assert merging.belonging(both, seen("sample", 100_000, "e-floor"), GRACE_MS) is early
    assert merging.belonging(both, seen("sample", 100_000), GRACE_MS) is late
    assert merging.belonging(both, seen("sample", 121_000, "e-floor"), GRACE_MS) is late, "too long after the first"
    assert merging.belonging([early], seen("sample", 121_000, "e-floor"), GRACE_MS) is None


def test_visits_further_apart_than_the_grace_stay_apart_and_only_the_last_is_open():
    early, late = stored("v1", seen("enter", 0)), stored("v2", seen("enter", GRACE_MS + 1, "e-floor"))
    drafts = [late, early]
    assert merging.tidy(drafts, 500_000, GRACE_MS) == [early]
    assert drafts == [early, late]
    assert (early.state, late.state) == (VisitState.CLOSED, VisitState.PRESENT)
    assert merging.tidy(drafts, 500_000, GRACE_MS) == []


def test_of_two_within_the_grace_the_earlier_goes_on():
    early, late = stored("v1", seen("enter", 0), closed=True), stored("v2", seen("enter", GRACE_MS, "e-floor", -50.0))
    early.fired, early.pushes, late.fired, late.pushes = ["a", "b"], 1, ["b", "c"], 1
    drafts = [early, late]
    assert merging.tidy(drafts, 500_000, GRACE_MS) == [early, late]
    assert drafts == [early] == [merging.root(late)]
    assert (early.fired, early.pushes, early.seen_at_ms) == (["a", "b", "c"], 2, GRACE_MS)
    assert (early.state, early.deadline_ms) == (VisitState.PRESENT, 500_000 + visits.SILENCE_MS)
    assert (early.place.zone, early.place.since_ms, early.heard["e-floor"].level_dbm) == ("floor", GRACE_MS, -50.0)
    row = merging.part(late)
    assert (row.state, row.entered_at_ms, row.seen_at_ms, row.pushes) == (VisitState.MERGED, GRACE_MS, GRACE_MS, 1)


def test_two_that_are_over_make_one_that_is_over():
    early = stored("v1", seen("enter", 0), seen("exit", 10), closed=True)
    late = stored("v2", seen("enter", 1000), seen("exit", 2000), closed=True)
    merging.tidy(drafts := [early, late], 500_000, GRACE_MS)
    row = visits.freeze(drafts[0])
    assert (row.state, row.left_at_ms, row.deadline_ms) == (VisitState.CLOSED, 2000, None)


def test_each_edge_is_quoted_with_what_it_said_last():
    early = stored("v1", seen("enter", 0), seen("enter", 0, "e-floor"))
    late = stored("v2", seen("enter", 1000), seen("exit", 2000))
    merging.tidy(drafts := [early, late], 3000, GRACE_MS)
    assert words(drafts[0]) == {"e-door": "out", "e-floor": "in"}
    assert drafts[0].state == VisitState.PRESENT


def test_an_edge_that_let_the_person_in_before_holds_them_with_samples_after():
    early = stored("v1", seen("enter", 0, "e-floor"), closed=True)
    late = stored("v2", seen("enter", 1000), seen("exit", 2000), seen("sample", 60_000, "e-floor", -90.0))
    assert words(late)["e-floor"] == "heard"
    merging.tidy(drafts := [early, late], 61_000, GRACE_MS)
    assert (words(drafts[0])["e-floor"], drafts[0].seen_at_ms) == ("in", 60_000)
    left = stored("v1", seen("enter", 0, "e-floor"), seen("exit", 5, "e-floor"), closed=True)
    late = stored("v2", seen("enter", 1000), seen("sample", 60_000, "e-floor", -90.0))
    merging.tidy(drafts := [left, late], 61_000, GRACE_MS)
    assert (words(drafts[0])["e-floor"], drafts[0].seen_at_ms) == ("out", 1000)


def test_a_visit_nobody_has_stored_yet_takes_no_name_from_one_that_is():
    known = stored("v1", seen("enter", 1000))
    fresh = visits.open_visit("default", "v2", seen("enter", 0, "e-floor"))
    visits.advance(fresh, seen("enter", 0, "e-floor"), GRACE_MS)
    merging.tidy(drafts := [fresh, known], 2000, GRACE_MS)
    assert drafts == [known]
    assert (known.entered_at_ms, known.opened_by) == (0, "e-floor/b1/0")
    assert {stay.visit for stay in known.stays} == {"v1"}
