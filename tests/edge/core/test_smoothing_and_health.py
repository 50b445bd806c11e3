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


def test_with_a_beacon_of_the_store_silence_is_suspicious_long_before_it_is_certain():
    health = RadioHealth(90_000, 10_000)
    health.started(0)
    health.heard(1000)
    health.beacon_heard = True
    assert health.due_ms() == 11_000
    assert health.check(10_999) is Verdict.OK
    assert health.check(11_000) is Verdict.HOLD
    assert health.uneasy
    assert not health.degraded
    assert health.check(11_001) is Verdict.OK, "said once"
    assert health.due_ms() == 91_000
    health.heard(15_000)
    assert health.check(15_000) is Verdict.RECOVERED
    assert not health.uneasy
    assert health.check(25_000) is Verdict.HOLD
    assert health.check(105_000) is Verdict.SILENT
    health.heard(105_001)
    assert health.check(105_001) is Verdict.RECOVERED


def test_without_one_an_empty_shop_is_silent_too_and_nobody_is_held():
    health = RadioHealth(90_000, 10_000)
    health.started(0)
    assert health.due_ms() == 90_000
    assert health.check(50_000) is Verdict.OK
    assert health.check(90_000) is Verdict.SILENT


def test_a_radio_that_never_spoke_is_silent_too():
    health = RadioHealth(1000)
    health.started(50)
    assert health.check(1049) is Verdict.OK
    assert health.check(1050) is Verdict.SILENT
