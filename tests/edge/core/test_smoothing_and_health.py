"""Levels, and the life of the radio."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.health import MAX_PAUSE_MS, RadioHealth, Verdict
from edge.core.smoothing import fenced_mean, mean_sd, percentile

LEVELS = st.lists(st.integers(-110, -30).map(float), min_size=1, max_size=64)


def test_an_outlier_is_fenced_off():
    assert fenced_mean([-70, -71, -69, -70, -30]) == pytest.approx(-70)


@given(LEVELS)
def test_the_fenced_mean_lies_between_the_extremes_and_ignores_order(values):
    assert min(values) - 1e-9 <= fenced_mean(values) <= max(values) + 1e-9
    assert fenced_mean(values) == fenced_mean(sorted(values, reverse=True))


@given(LEVELS)
def test_running_sums_give_mean_and_deviation(values):
    mean, sd = mean_sd(len(values), sum(values), sum(value * value for value in values))
    assert mean == pytest.approx(statistics.fmean(values))
    assert sd == pytest.approx(statistics.pstdev(values), abs=1e-3)


@given(LEVELS, st.floats(0, 1))
def test_a_percentile_lies_between_the_extremes(values, share):
    ordered = sorted(values)
    assert ordered[0] <= percentile(ordered, share) <= ordered[-1] + 1e-9


def test_a_radio_that_falls_silent_is_restarted_ever_less_often_until_it_is_heard():
    health = RadioHealth(90_000)
    health.started(1000)
    health.heard(5000)
    assert health.due_ms() == 95_000
    assert health.check(94_999) is Verdict.OK
    assert health.check(95_000) is Verdict.SILENT
    assert health.degraded
    pauses, now_ms = [], 95_000
    for _ in range(6):
        due_ms = health.due_ms()
        pauses.append(due_ms - now_ms)
        assert health.check(due_ms - 1) is Verdict.OK
        assert health.check(due_ms) is Verdict.STILL_SILENT
        now_ms = due_ms
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_PAUSE_MS
    health.heard(now_ms + 5)
    assert health.check(now_ms + 5) is Verdict.RECOVERED
    assert not health.degraded
    assert health.check(now_ms + 6) is Verdict.OK
    assert health.due_ms() == now_ms + 5 + 90_000


def test_a_radio_that_never_spoke_is_silent_too():
    health = RadioHealth(1000)
    health.started(50)
    assert health.check(1049) is Verdict.OK
    assert health.check(1050) is Verdict.SILENT
