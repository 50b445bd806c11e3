"""The strongest smoothed edge, with a margin and a hold."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hub.core.zones import HOLD_MS, MARGIN_DB, NOWHERE, STALE_MS, Heard, Pace, Place, locate, smooth


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


SLOW = Pace(stale_ms=30_000, hold_ms=8_000, half_life_ms=0)


def test_each_edge_is_stale_at_its_own_pace():
    said = {"ours": Heard("door", -50.0, 0), "slow": Heard("floor", -70.0, 0, SLOW)}
    at_door = Place("door", 0, None, None)
    assert locate(at_door, said, STALE_MS).zone == "door"
    assert locate(at_door, said, STALE_MS + 1).zone == "floor", "ours is silent, the slow one is not"
    assert locate(Place("floor", 0, None, None), said, SLOW.stale_ms + 1).zone == "floor", "nobody says anything"


def test_a_slow_edge_must_lead_for_longer_and_ours_no_longer_than_before():
    for pace in (SLOW, Pace()):
        said = {"ours": Heard("door", -70.0, 0), "rival": Heard("floor", -60.0, 0, pace)}
        place = locate(Place("door", 0, None, None), said, 0)
        assert place.rival == "floor"
        assert locate(place, said, pace.hold_ms - 1).zone == "door"
        assert locate(place, said, pace.hold_ms).zone == "floor"


def test_what_is_smoothed_already_is_not_smoothed_again():
    assert smooth(-90.0, 0, -60.0, 100, SLOW) == -60.0
    assert smooth(-90.0, 0, -60.0, SLOW.stale_ms, Pace(half_life_ms=2_000, stale_ms=SLOW.stale_ms)) > -61.0
    assert smooth(-90.0, 0, -60.0, 100) < -80.0


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
