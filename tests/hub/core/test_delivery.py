"""Retry policy: bounded, jittered, obedient to the provider, never past the deadline."""

from hypothesis import given
from hypothesis import strategies as st

from hub.core.delivery import DEFAULT, for_timeout, retry_at_ms, ttl_s, worth_sending

units = st.floats(0, 1, exclude_max=True)
instants = st.integers(0, 2**41)


def test_the_first_pause_is_at_most_a_second_and_doubles() -> None:
    far_ms = 10**9
    assert [retry_at_ms(n, 0, far_ms, 0.999999) for n in (1, 2, 3, 7, 19)] == [999, 1999, 3999, 59_999, 59_999]


def test_a_provider_that_names_a_time_is_not_asked_earlier() -> None:
    assert retry_at_ms(1, 1_000, 10**9, 0.0, after_ms=30_000) == 31_000
    assert retry_at_ms(1, 1_000, 10**9, 0.5, after_ms=30_000) == 31_500


def test_a_provider_that_wants_us_after_the_deadline_ends_it() -> None:
    assert retry_at_ms(1, 0, 30_000, 0.0, after_ms=30_000) is None


def test_the_last_try_is_drawn_within_what_is_left() -> None:
    assert retry_at_ms(10, 0, 3_000, 0.999) == 1998


def test_attempts_end() -> None:
    assert retry_at_ms(DEFAULT.max_attempts, 0, 10**9, 0.0) is None


def test_ttl_is_what_is_left_in_whole_seconds_rounded_up() -> None:
    assert [ttl_s(10_000, now) for now in (0, 9_000, 9_001, 9_999, 10_000, 20_000)] == [10, 1, 1, 1, 0, 0]


def test_a_lease_outlasts_the_channel() -> None:
    assert for_timeout(60).lease_ms > 60_000


@given(st.integers(1, 40), instants, st.integers(-(10**6), 10**9), units, st.none() | st.integers(-5, 10**7))
def test_a_retry_is_in_the_future_and_of_use(
    attempts: int, now_ms: int, left_ms: int, unit: float, after_ms: int | None
) -> None:
    expires_at_ms = now_ms + left_ms
    at_ms = retry_at_ms(attempts, now_ms, expires_at_ms, unit, after_ms=after_ms)
    if at_ms is None:
        return
    assert at_ms >= now_ms + DEFAULT.shortest_ms
    assert at_ms >= now_ms + (after_ms or 0)
    assert worth_sending(expires_at_ms, at_ms)
    assert ttl_s(expires_at_ms, at_ms) >= 1


@given(instants, st.integers(0, 10**9), st.integers(0, 10**6))
def test_ttl_never_grows_from_try_to_try(now_ms: int, left_ms: int, later_ms: int) -> None:
    assert 0 <= ttl_s(now_ms + left_ms, now_ms + later_ms) <= ttl_s(now_ms + left_ms, now_ms)
