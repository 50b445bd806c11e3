"""Boot-clock stamps become hub time; a wall clock that steps changes nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core import clock
from hub.usecases.presence import new_boot
from wire.messages import ClockStamp

DAY_MS = 86_400_000
BOOTED_AT_MS = 1_800_000_000_000  # Unix ms at which the boot clock read 0: the truth


def stamp(offset_ms=BOOTED_AT_MS, synced=True, error_ms=20):
    return ClockStamp(source="kernel", offset_ms=offset_ms, error_ms=error_ms, synced=synced)


def row():
    return new_boot("default", "e1", "b1", BOOTED_AT_MS)


def learn(state, claim, mono_ms, delay_ms=5):
    return clock.learn_offset(state, claim, mono_ms, mono_ms, BOOTED_AT_MS + mono_ms + delay_ms)


def test_a_synced_edge_is_believed():
    at = clock.instant(learn(row(), stamp(), 1000), 900, BOOTED_AT_MS + 1005)
    assert at == (BOOTED_AT_MS + 900, 20, "synced")


def test_an_edge_without_a_clock_is_dated_by_its_fastest_message():
    state = learn(row(), stamp(0, synced=False), 1000, delay_ms=700)
    state = learn(state, stamp(0, synced=False), 2000, delay_ms=9)
    state = learn(state, stamp(0, synced=False), 3000, delay_ms=400)
    at = clock.instant(state, 2500, BOOTED_AT_MS + 3400)
    assert at == (BOOTED_AT_MS + 2509, clock.RECEIPT_ERROR_MS, "receipt")


@pytest.mark.parametrize("days", [14, -14, 1, -1, 0.1, -0.1])
def test_a_step_of_the_wall_clock_in_mid_boot_moves_no_event(days):
    state = learn(row(), stamp(), 1000)
    before = clock.instant(state, 5000, BOOTED_AT_MS + 6000)
    state = learn(state, stamp(BOOTED_AT_MS + int(days * DAY_MS)), 2000)
    assert clock.instant(state, 5000, BOOTED_AT_MS + 6000) == before


@pytest.mark.parametrize("days", [14, -14])
def test_a_clock_that_is_wrong_from_the_start_is_not_believed(days):
    state = learn(row(), stamp(BOOTED_AT_MS + days * DAY_MS), 1000)
    assert clock.instant(state, 1000, BOOTED_AT_MS + 1005).at_ms == BOOTED_AT_MS + 1005


def test_a_correction_forwards_is_taken():
    state = learn(row(), stamp(BOOTED_AT_MS - 3_600_000), 1000)
    state = learn(state, stamp(), 2000)
    assert state.offset_ms == BOOTED_AT_MS


def test_a_clock_found_later_replaces_receipt():
    state = learn(row(), stamp(0, synced=False), 1000, delay_ms=700)
    state = learn(state, stamp(), 2000)
    assert (state.offset_ms, state.offset_source) == (BOOTED_AT_MS, "synced")


def test_events_of_an_earlier_boot_use_the_clock_of_that_boot():
    state = clock.learn_offset(row(), stamp(), None, 1_000, BOOTED_AT_MS + DAY_MS)
    assert clock.instant(state, 60_000, BOOTED_AT_MS + DAY_MS).at_ms == BOOTED_AT_MS + 60_000


def test_nobody_knows_the_clock_of_a_lost_boot():
    state = clock.learn_offset(row(), stamp(0, synced=False), None, 1_000, BOOTED_AT_MS + DAY_MS)
    at = clock.instant(state, 60_000, BOOTED_AT_MS + DAY_MS)
    assert (at.at_ms, at.source) == (BOOTED_AT_MS + DAY_MS, "unknown")


@given(
    st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 5_000), st.booleans(), st.integers(-20, 20)), min_size=1)
)
def test_no_event_is_ever_dated_after_its_receipt(messages):
    state, mono_ms = row(), 0
    for step_ms, delay_ms, synced, days in messages:
        mono_ms += step_ms
        received_at_ms = BOOTED_AT_MS + mono_ms + delay_ms
        state = clock.learn_offset(state, stamp(BOOTED_AT_MS + days * DAY_MS, synced), mono_ms, mono_ms, received_at_ms)
        assert clock.instant(state, mono_ms, received_at_ms).at_ms <= received_at_ms


def test_an_earlier_boot_that_claims_the_future_is_not_believed():
    state = clock.learn_offset(row(), stamp(BOOTED_AT_MS + 14 * DAY_MS), None, 1_000, BOOTED_AT_MS + DAY_MS)
    assert state.offset_ms is None
    assert clock.instant(state, 500, BOOTED_AT_MS + DAY_MS).source == "unknown"
