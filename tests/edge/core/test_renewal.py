"""When a certificate is due."""

from hypothesis import given
from hypothesis import strategies as st

from edge.core.renewal import LOOK_S, is_due, pause_s

DAY = 86_400_000


def test_it_is_due_in_its_last_third():
    assert not is_due(0, 90 * DAY, 60 * DAY)
    assert is_due(0, 90 * DAY, 60 * DAY + 1)
    assert is_due(0, 90 * DAY, 91 * DAY), "the hub decides whether it is too late"


def test_a_clock_before_its_making_says_nothing():
    assert not is_due(80 * DAY, 90 * DAY, 0)
    assert not is_due(80 * DAY, 90 * DAY, 80 * DAY - 1)


@given(st.integers(0, 10**15), st.integers(1, 10**12), st.integers(0, 10**15), st.integers(0, 10**12))
def test_once_due_it_stays_due(before, life, now, later):
    if is_due(before, before + life, now):
        assert is_due(before, before + life, now + later)


def test_edges_that_started_together_do_not_ask_together():
    assert LOOK_S / 2 == pause_s(0.0) < pause_s(0.5) < pause_s(0.99) < 1.5 * LOOK_S
