"""An edge's backlog shows that two visits were one: nothing stays split, nothing promised is lost, nothing dangles."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.model import Decision, Grant, Push, Redemption, Visit, ZoneStay
from hub.core.states import WHOLE_VISIT, VisitState
from hub.stores import open_store
from hub.usecases.audit import Witness, audit
from hub.usecases.me import erase, export
from tests.hub.build import BOOTED_AT_MS, NOON_MS, RULES, TENANT, batch, event, offer, sample
from tests.hub.usecases.test_presence import Hub, furnish

GRACE_MS = RULES.grace_ms
AGAIN = {"cooldown_s": 0, "curve": {"kind": "cliff", "start_bp": 1000, "floor_bp": 1000, "life_ms": 60_000}}


def at(second, seq, kind="sample", rssi_dbm=-60.0):
    """An event observed `second` s after noon."""
    return event(seq, kind, mono_ms=NOON_MS + round(second * 1000) - BOOTED_AT_MS, rssi_dbm=rssi_dbm)


def backlog(hub, *seconds, received_s, edge="e-floor", first_seq=1, exits=False):
    """What an edge that was offline kept: an enter, then samples, then perhaps the exit."""
    kinds = ["enter" if first_seq == 1 else "sample", *["sample"] * (len(seconds) - 1)]
    if exits:
        kinds[-1] = "exit"
    hub.now_ms = NOON_MS + received_s * 1000
    events = [at(second, first_seq + n, kind) for n, (second, kind) in enumerate(zip(seconds, kinds, strict=True))]
    mono_ms = hub.now_ms - BOOTED_AT_MS
    return hub.commit(batch(*events, edge=edge, received_at_ms=hub.now_ms, sent_mono_ms=mono_ms))


def live(hub):
    return sorted((row for row in hub.all(Visit) if row.state in WHOLE_VISIT), key=lambda row: row.entered_at_ms)


def violations(hub):
    with hub.store.read() as tx:
        return audit(tx, TENANT, GRACE_MS, hub.now_ms, Witness())


@pytest.fixture
def hub(store):
    """The door saw somebody for a minute, and again ten minutes later; each time there was an offer."""
    hub = Hub(store)
    furnish(hub, offer(**AGAIN))
    hub.send(event(1, "enter"))
    hub.send(event(2, "exit"), after_s=60)
    hub.sweep(after_s=300)
    hub.send(event(3, "enter"), after_s=600)
    assert [row.state for row in live(hub)] == [VisitState.CLOSED, VisitState.PRESENT]
    assert [row.pushes for row in live(hub)] == [1, 1]
    return hub


def test_a_backlog_that_fills_the_gap_makes_one_visit_of_two(hub):
    first, second = live(hub)
    done = backlog(hub, *range(70, 600, 20), received_s=610)
    whole, part = sorted(hub.all(Visit), key=lambda row: row.visit)
    assert (whole.visit, part.visit) == (first.visit, second.visit)
    assert (whole.state, whole.entered_at_ms, whole.seen_at_ms) == ("present", NOON_MS, NOON_MS + 600_000)
    assert (whole.pushes, whole.fired, whole.opened_by) == (2, ["o1"], "e-door/b1/1")
    assert {edge: entry[0] for edge, entry in whole.edges.items()} == {"e-door": "in", "e-floor": "in"}
    assert (part.state, part.entered_at_ms, part.left_at_ms) == ("merged", NOON_MS + 600_000, NOON_MS + 600_000)
    assert (part.deadline_ms, part.edges, part.zone) == (None, {}, None)
    assert {"type": "visit", "visit": part.visit, "store": "s1", "state": "merged", "into": whole.visit} in (
        done.effects.notes
    )
    assert {"type": "visit", "visit": whole.visit, "store": "s1", "state": "present"} in done.effects.notes
    assert violations(hub) == []


def test_both_offers_stand_and_name_the_visit_they_were_made_in(hub):
    first, second = live(hub)
    backlog(hub, *range(70, 600, 20), received_s=610)
    assert sorted(row.visit for row in hub.all(Grant)) == sorted(row.visit for row in hub.all(Decision))
    assert {row.visit for row in hub.all(Grant)} == {first.visit, second.visit}
    assert len(hub.all(Push)) == 2


def test_the_merged_visit_gets_no_further_push(hub):
    with hub.store.write() as tx:
        tx.put([offer("shelf", trigger={"on": "enter", "zone_kind": "floor"})])
    backlog(hub, *range(70, 600, 20), received_s=610)
    for n in range(8):
        hub.send(sample(100 + n, rssi_dbm=-40.0), edge="e-floor", oldest_seq=100, after_s=620 + n)
    assert len(hub.all(Grant)) == 2
    assert [row.candidates[0][2] for row in hub.all(Decision) if row.candidates[0][0] == "shelf"] == ["cap:visit"]
    assert violations(hub) == []


def test_stays_in_zones_move_over_and_follow_one_another(hub):
    backlog(hub, *range(70, 600, 20), received_s=610)
    (whole,) = live(hub)
    stays = sorted(hub.all(ZoneStay), key=lambda row: row.entered_at_ms)
    assert {row.visit for row in stays} == {whole.visit}
    assert [(row.zone, row.entered_at_ms - NOON_MS, row.left_at_ms and row.left_at_ms - NOON_MS) for row in stays] == [
        ("door", 0, 90_000),
        ("floor", 90_000, 600_000),
        ("door", 600_000, None),
    ]
    assert (whole.zone, whole.zone_since_ms) == ("door", NOON_MS + 600_000)


def test_export_and_erasure_follow(hub):
    backlog(hub, *range(70, 600, 20), received_s=610)
    with hub.store.read() as tx:
        held = export(tx, TENANT, "p1")
    assert [len(held[name]) for name in ("visit", "zone_stay", "grant")] == [2, 3, 2]
    with hub.store.write() as tx:
        erase(tx, RULES, "p1", hub.now_ms, hub.ids)
    assert not any(hub.all(kind) for kind in (Visit, ZoneStay, Grant, Decision, Push, Redemption))
    assert violations(hub) == []


def test_while_the_gap_is_open_only_the_later_visit_is(hub):
    """The floor let the person in and says nothing more yet: nobody is in the shop twice."""
    backlog(hub, 70, 90, received_s=610)
    assert [row.state for row in live(hub)] == [VisitState.CLOSED, VisitState.PRESENT]
    backlog(hub, *range(110, 400, 20), received_s=611, first_seq=3)
    assert [row.seen_at_ms - NOON_MS for row in live(hub)] == [390_000, 600_000]
    assert [row.state for row in live(hub)] == [VisitState.CLOSED, VisitState.PRESENT]
    assert violations(hub) == []
    backlog(hub, *range(400, 600, 20), received_s=612, first_seq=18)
    assert [(row.seen_at_ms - NOON_MS, row.state) for row in live(hub)] == [(600_000, VisitState.PRESENT)]
    assert violations(hub) == []


def test_a_backlog_that_ends_before_the_gap_is_filled_leaves_two_visits(hub):
    backlog(hub, *range(70, 300, 20), received_s=610, exits=True)
    assert [(row.seen_at_ms - NOON_MS, row.state) for row in live(hub)] == [(290_000, "closed"), (600_000, "present")]
    assert violations(hub) == []


def test_a_merged_visit_ends_as_any_other(hub):
    backlog(hub, *range(70, 600, 20), received_s=610, exits=True)
    hub.send(event(4, "exit"), after_s=620)
    assert [row.state for row in live(hub)] == [VisitState.GRACE]
    done = hub.sweep(after_s=740)
    (whole,) = live(hub)
    assert (whole.state, whole.left_at_ms) == (VisitState.CLOSED, NOON_MS + 620_000)
    assert [note["visit"] for note in done.notes if note["type"] == "visit"] == [whole.visit]
    assert len([row for row in hub.all(Visit) if row.state == VisitState.MERGED]) == 1


def test_three_visits_become_one(hub):
    hub.send(event(4, "exit"), after_s=660)
    hub.sweep(after_s=900)
    hub.send(event(5, "enter"), after_s=1200)
    assert len(live(hub)) == 3
    backlog(hub, *range(70, 1200, 20), received_s=1210)
    assert [(row.entered_at_ms - NOON_MS, row.seen_at_ms - NOON_MS) for row in live(hub)] == [(0, 1_200_000)]
    assert sorted(row.pushes for row in hub.all(Visit)) == [1, 1, 3]
    assert len({row.visit for row in hub.all(ZoneStay)}) == 1
    assert violations(hub) == []


def test_a_visit_that_is_not_stored_yet_goes_into_the_one_that_is(store):
    """The backlog itself would have opened a visit before the one everybody knows already."""
    hub = Hub(store)
    furnish(hub, offer())
    hub.send(event(1, "enter"), after_s=600)
    (known,) = hub.all(Visit)
    done = backlog(hub, *range(300, 600, 20), received_s=610)
    (row,) = hub.all(Visit)
    assert (row.visit, row.entered_at_ms, row.opened_by) == (known.visit, NOON_MS + 300_000, "e-floor/b1/1")
    assert [note for note in done.effects.notes if note.get("state") == "merged"] == []
    assert {stay.visit for stay in hub.all(ZoneStay)} == {known.visit}
    assert violations(hub) == []


def test_whoever_comes_again_has_left_before_however_long_ago(store):
    """Late news opened an old visit again; its edge then fell silent for good."""
    hub = Hub(store)
    furnish(hub)
    backlog(hub, 0, received_s=7200)
    assert [row.state for row in hub.all(Visit)] == [VisitState.PRESENT]
    hub.send(event(1, "enter"), after_s=7205)
    assert [row.state for row in live(hub)] == [VisitState.CLOSED, VisitState.PRESENT]
    assert violations(hub) == []


def test_late_news_of_last_week_closes_what_it_opens_when_a_visit_followed(store):
    hub = Hub(store)
    furnish(hub)
    hub.send(event(1, "enter"), after_s=500_000)
    backlog(hub, 0, 20, received_s=500_001)
    assert [row.state for row in live(hub)] == [VisitState.CLOSED, VisitState.PRESENT]
    assert violations(hub) == []


def test_a_late_presence_at_the_door_locks_though_the_floor_has_been_heard_since(store):
    hub = Hub(store)
    furnish(hub, offer(trigger={"on": "enter", "zone_kind": "approach"}))
    hub.send(event(1, "enter"), edge="e-approach")
    hub.send(event(1, "enter"), edge="e-floor", after_s=60)
    assert hub.one(Visit).zone == "floor"
    assert hub.one(Grant).lock_at_ms is None
    backlog(hub, 40, received_s=80, edge="e-door")
    assert hub.one(Grant).lock_at_ms == NOON_MS + 40_000 - 10
    assert hub.one(Visit).zone == "floor"
    assert [(row.zone, row.entered_at_ms - NOON_MS) for row in hub.all(ZoneStay)] == [
        ("approach", 0),
        ("floor", 60_000),
    ]


stays = st.lists(st.tuples(st.integers(1, 400), st.integers(0, 300)), min_size=1, max_size=4)
"""One edge's: seconds away, then seconds there, in turn."""


def told_by(edge, spans, step_s):
    """All that an edge says, each event with its instant in seconds."""
    events, second = [], 0
    for away, there in spans:
        second += away
        events += [(second, "enter"), *((second + s, "sample") for s in range(step_s, there, step_s))]
        second += there
        events += [(second, "exit")]
    return [(edge, s, at(s, n, kind, rssi_dbm=-50.0 - n % 20)) for n, (s, kind) in enumerate(events, 1)]


@st.composite
def deliveries(draw):
    """Messages of two edges, each in order, each as late as it likes: (received second, edge, events)."""
    found = []
    for edge in ("e-door", "e-floor"):
        said = told_by(edge, draw(stays), draw(st.integers(7, 60)))
        received = 0
        while said:
            size = draw(st.integers(1, len(said)))
            part, said = said[:size], said[size:]
            received = max(received, part[-1][1]) + draw(st.sampled_from([0, 0, 1, 45, 200, 700, 2000]))
            found.append((received, edge, part))
    return sorted(found, key=lambda one: one[0])


@settings(max_examples=300, deadline=None)
@given(deliveries(), st.integers(0, 2000))
def test_however_late_and_interleaved_nobody_is_split_or_in_twice(messages, group_within_s):
    hub = Hub(open_store("memory:"))
    furnish(hub, offer(**AGAIN))
    instants = set()
    while messages:
        received = messages[0][0] + group_within_s
        group = [one for one in messages if one[0] <= received]
        messages = messages[len(group) :]
        hub.sweep(after_s=received)
        hub.commit(
            *(
                batch(
                    *(event_ for _, _, event_ in part),
                    edge=edge,
                    received_at_ms=NOON_MS + second * 1000,
                    sent_mono_ms=NOON_MS + second * 1000 - BOOTED_AT_MS,
                )
                for second, edge, part in group
            )
        )
        instants |= {NOON_MS + second * 1000 for _, _, part in group for _, second, _ in part}
        spans = [(row.entered_at_ms, row.seen_at_ms) for row in live(hub)]
        assert all(any(low <= one <= high for low, high in spans) for one in instants)
        assert violations(hub) == []
        check_stays(hub)


def check_stays(hub):
    """Stays are of visits that stand, one after the other, and only the last may be running."""
    per_visit = {row.visit: [] for row in live(hub)}
    for stay in sorted(hub.all(ZoneStay), key=lambda row: row.entered_at_ms):
        per_visit[stay.visit].append(stay)
    for found in per_visit.values():
        for before, after in pairwise(found):
            assert before.left_at_ms is not None
            assert before.entered_at_ms <= before.left_at_ms <= after.entered_at_ms, found
