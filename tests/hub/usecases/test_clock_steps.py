"""A wall clock that steps on an edge changes no decision."""

from dataclasses import replace

import pytest

from hub.core.model import Decision, Grant, Visit
from hub.stores import open_store
from tests.hub.build import BOOTED_AT_MS, batch, event, offer, sample
from tests.hub.usecases.test_presence import Hub, furnish
from wire.messages import ClockStamp

DAYS_14_MS = 14 * 86_400_000


def story(hub, step_ms, synced):
    """Somebody enters, waits, goes through the door and leaves; the edge's clock steps after the first event."""
    furnish(hub, offer(), offer("stay", trigger={"on": "dwell", "zone_kind": "door", "dwell_s": 20}, cooldown_s=0))
    events = [(0, event(1, "enter"))] + [(n, sample(n + 1)) for n in range(1, 40)] + [(90, event(41, "exit"))]
    for after_s, one in events:
        mono_ms = 1_000_000 + after_s * 1000
        hub.now_ms = BOOTED_AT_MS + mono_ms + 40
        at = replace(one, observed_mono_ms=mono_ms, first_mono_ms=mono_ms, last_mono_ms=mono_ms)
        built = batch(at, received_at_ms=hub.now_ms, sent_mono_ms=mono_ms)
        offset_ms = BOOTED_AT_MS + (step_ms if after_s else 0)
        claim = ClockStamp(source="kernel", offset_ms=offset_ms, error_ms=10, synced=synced or not after_s)
        message = built.read.message.model_copy(update={"clock": claim})
        hub.commit(built._replace(read=built.read._replace(message=message)))
    return (
        [(row.state, row.entered_at_ms, row.seen_at_ms, row.zone) for row in hub.all(Visit)],
        [(row.chosen, row.at_ms, row.candidates) for row in hub.all(Decision)],
        [(row.state, row.issued_at_ms, row.lock_at_ms, row.lock_bp) for row in hub.all(Grant)],
    )


@pytest.mark.parametrize("synced", [True, False])
@pytest.mark.parametrize("step_ms", [DAYS_14_MS, -DAYS_14_MS])
def test_a_step_of_fourteen_days_changes_nothing(hub_twice, step_ms, synced):
    steady, stepped = hub_twice
    assert story(steady, 0, True) == story(stepped, step_ms, synced)
    assert len(steady.all(Decision)) == 2


@pytest.fixture
def hub_twice(store):
    return Hub(open_store("memory:")), Hub(store)
