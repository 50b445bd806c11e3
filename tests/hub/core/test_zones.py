"""The strongest smoothed edge, with a margin and a hold."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hub.core.zones import HOLD_MS, MARGIN_DB, NOWHERE, STALE_MS, Heard, Place, locate, smooth


def heard(at_ms=0, **levels):
    return {f"e-{zone}": Heard(zone, float(level), at_ms) for zone, level in levels.items()}


def test_the_first_word_places_at_once():
    assert locate(NOWHERE, heard(door=-70), 0) == Place("door", 0, None, None)


def test_a_rival_within_the_margin_is_ignored():
    at_door = Place("door", 0, None, None)
    assert locate(at_door, heard(door=-70, floor=-70 + MARGIN_DB - 0.1), 0) == at_door


def test_a_rival_beyond_the_margin_must_hold():
    place = Place("door", 0, None, None)
    place = locate(place, heard(100, door=-70, floor=-60), 100)
    assert (place.zone, place.rival) == ("door", "floor")
    place = locate(place, heard(100 + HOLD_MS - 1, door=-70, floor=-60), 100 + HOLD_MS - 1)
    assert place.zone == "door"
    at_ms = 100 + HOLD_MS
    assert locate(place, heard(at_ms, door=-70, floor=-60), at_ms) == Place("floor", at_ms, None, None)


def test_a_rival_that_weakens_starts_over():
    place = Place("door", 0, "floor", 100)
    place = locate(place, heard(2000, door=-70, floor=-69), 2000)
    assert place.rival is None


def test_a_silent_edge_is_missing_not_far():
    levels = heard(STALE_MS, floor=-90) | {"e-door": Heard("door", -50.0, -1)}
    assert locate(Place("door", -5, None, None), levels, STALE_MS).zone == "floor"


def test_when_nobody_says_anything_the_place_stays():
    place = Place("door", 0, None, None)
    assert locate(place, {}, 99_999) is place


def test_an_edge_without_a_zone_places_nobody():
    assert locate(NOWHERE, {"e": Heard(None, -40.0, 0)}, 0) == NOWHERE


levels = st.floats(-100, -30)


@given(levels, levels, st.integers(0, 60_000))
def test_smoothing_stays_between_old_and_new(old, new, age_ms):
    low, high = min(old, new), max(old, new)
    assert low - 1e-9 <= smooth(old, 0, new, age_ms) <= high + 1e-9


@given(st.lists(st.tuples(st.sampled_from(["door", "floor", "till"]), levels, st.integers(0, 3_000)), max_size=60))
def test_two_changes_of_zone_are_a_hold_apart_while_the_incumbent_is_heard(samples):
    place, said, at_ms, changes = NOWHERE, {}, 0, []
    for zone, level, step_ms in samples:
        at_ms += step_ms
        said[zone] = Heard(zone, level, at_ms)
        incumbent = said.get(place.zone)
        fresh = incumbent is not None and at_ms - incumbent.at_ms <= STALE_MS
        after = locate(place, said, at_ms)
        if after.zone != place.zone and place.zone is not None and fresh:
            changes.append(at_ms)
            assert place.rival == after.zone
            assert at_ms - place.rival_since_ms >= HOLD_MS
        place = after
    assert all(b - a >= HOLD_MS for a, b in pairwise(changes))
