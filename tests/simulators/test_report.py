"""The verdict: what is in the report, and what makes a run fail."""

import pytest

from simulators import report

HUB = {
    "accounts": {"committed": 70, "lost": 5, "consent_refused": 20, "identity_refused": 3, "quarantined": 2,
                 "duplicates": 4, "upto": 100},
    "grants": {"issued": 1, "expired": 2, "redeemed": 3},
    "visits": 6, "redemptions": 3,
}  # fmt: skip
TELEMETRY = {
    "e1": {"adverts_heard": 10, "adverts_dropped_private": 4, "events_published": 60, "events_lost": 5},
    "e2": {"adverts_heard": 20, "adverts_dropped_private": 6, "events_published": 40},
}


def good(**changes):
    found = report.build(
        TELEMETRY, HUB, [10, 20, 30], {"invariant_violations": 0, "violations": []},
        {"pushes_delivered": 5, "speed_reached": 1.0},
    )  # fmt: skip
    return {**found, **changes}


def test_a_good_run_has_nothing_to_say():
    found = good()
    assert report.failures(found, True) == []
    assert found["adverts_heard"] == 30
    assert found["events_published"] == 100
    assert found["offers_issued"] == 6
    assert found["latency_ms"]["advert_to_push"] == {"p50": 20, "p95": 30, "p99": 30}


@pytest.mark.parametrize(
    "changes",
    [
        {"visits": 0},
        {"pushes_delivered": 0},
        {"redemptions": 0},
        {"adverts_dropped_private": 0},
        {"consent_refused": 0},
        {"grants_expired": 0},
        {"events_published": 101},
        {"events_lost": 4},
        {"invariant_violations": 1},
        {"identities_in_logs": 1},
    ],
)
def test_each_condition_fails_the_run_by_itself(changes):
    assert len(report.failures(good(**changes), True)) >= 1


def test_a_recording_of_one_person_need_not_expire_an_offer():
    assert report.failures(good(grants_expired=0), False) == []


def test_latency_counts_from_the_last_advertisement_before_the_decision():
    """Real time, however fast the demonstration's own time runs."""
    sent = [report.Sent(at_ms, at_ms // 10 * 1_000_000) for at_ms in (100, 200, 300)]
    offers = [(250, 28_000_000), (90, 9_000_000), (300, 31_000_000)]
    assert report.latencies_ms(sent, offers) == [8, 1]


def test_quantiles_are_values_that_occurred():
    assert report.quantile([], 0.5) is None
    assert report.quantile([5], 0.99) == 5
    assert report.quantile(list(range(1, 101)), 0.95) == 95
