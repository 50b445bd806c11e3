"""Steps of the wall clock within one boot."""

import pytest

from edge.core.clock import keep
from wire.messages import ClockStamp

DAYS_14_MS = 14 * 86_400_000


def stamp(offset_ms, synced=True):
    return ClockStamp(source="kernel", offset_ms=offset_ms, error_ms=5, synced=synced)


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        (stamp(0, False), stamp(DAYS_14_MS), "new"),  # the first synchronisation
        (stamp(1000), stamp(1900), "new"),  # discipline
        (stamp(1900), stamp(1000), "new"),
        (stamp(DAYS_14_MS), stamp(0), "old"),  # a step backwards
        (stamp(DAYS_14_MS), stamp(5 * DAYS_14_MS, False), "old"),  # set by hand
        (stamp(0, False), stamp(DAYS_14_MS, False), "new"),
        (stamp(0), stamp(DAYS_14_MS), "new"),  # a correction forwards; the hub checks it against the present
    ],
)
def test_the_better_statement_is_kept(old, new, kept):
    assert keep(old, new) == (new if kept == "new" else old)
