"""What waits too long becomes a counted loss even when nothing new comes: an age bound that holds in an empty shop."""

from collections import Counter

import pytest

from edge.adapters.spool import AGE_SLACK_MS, Limits, Spool
from tests.edge.adapters.test_spool import CLOCK, begun, events, held

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LIMITS = Limits(max_bytes=10**9, max_age_ms=DAY_MS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.db"


def test_what_waits_too_long_is_given_up_though_nothing_is_appended(path):
    spool = begun(path, LIMITS)
    spool.append(events("enter", "sample", "exit", "unknown"), CLOCK, 0)
    assert not spool.expire(DAY_MS + AGE_SLACK_MS)
    assert len(held(spool, "b1")) == 4
    assert spool.expire(DAY_MS + 2 * AGE_SLACK_MS)
    (lost,) = held(spool, "b1")
    assert (lost["kind"], lost["first_seq"], lost["seq"], lost["reason"]) == ("lost", 1, 4, "age")
    assert Counter({name: lost[name] for name in ("samples", "enters", "exits")}) == Counter(
        samples=1, enters=1, exits=2
    )
    totals = spool.totals(DAY_MS + 2 * AGE_SLACK_MS)
    assert (totals.rows, totals.published, totals.lost, totals.samples_dropped) == (1, 4, 4, 1)
    assert not spool.expire(2 * DAY_MS), "a loss itself is never given up"
    assert held(spool, "b1") == [lost]
    spool.close()


def test_what_an_earlier_boot_left_grows_old_too(path):
    spool = begun(path, LIMITS)
    spool.append(events("enter"), CLOCK, 0)
    spool.begin("b2", CLOCK, 7)
    spool.append(events("enter"), CLOCK, 7 + HOUR_MS)
    assert spool.expire(7 + DAY_MS + 2 * AGE_SLACK_MS)
    assert [held(spool, boot)[0]["kind"] for boot in ("b1", "b2")] == ["lost", "enter"]
    spool.close()


def test_running_time_is_noted_while_nothing_happens(path):
    """A machine that is switched off every night, and hears nobody: its nights do not count, its days do."""
    spool = begun(path, LIMITS)
    spool.append(events("enter"), CLOCK, 0)
    for day in range(1, 4):
        for hour in range(1, 9):
            spool.expire(hour * HOUR_MS)
        spool.close()
        assert [one["kind"] for one in held_in(path)] == ["enter"], f"after {8 * day} h of running"
        spool = begun(path, LIMITS, boot=f"b{day + 1}")
    assert spool.expire(2 * AGE_SLACK_MS)
    assert [one["kind"] for one in held(spool, "b1")] == ["lost"]
    spool.close()


def held_in(path):
    spool = Spool(path, LIMITS)
    found = held(spool, "b1")
    spool.close()
    return found


def test_looking_often_writes_rarely(path):
    """Every write is an fdatasync on an SD card: none while nothing waits, at most one a minute otherwise."""
    spool = begun(path, LIMITS)
    writes = []
    spool._db.set_trace_callback(lambda sql: writes.append(sql) if sql.startswith("BEGIN") else None)
    for second in range(0, 1200, 5):
        spool.expire(second * 1000)
    assert writes == []
    spool.append(events("enter"), CLOCK, 1_200_000)
    writes.clear()
    for second in range(1200, 2401, 5):
        spool.expire(second * 1000)
    assert len(writes) == 1200 * 1000 // AGE_SLACK_MS
    spool.close()
