"""From a batch of events to visits, decisions, grants and queued pushes, in one transaction."""

from dataclasses import replace

import pytest

from hub.core import watermark
from hub.core.model import Decision, EdgeBoot, Grant, Loss, Push, Quarantine, Visit, ZoneStay
from hub.core.states import GrantState, VisitState
from hub.usecases import deadlines, presence
from hub.usecases.arrivals import MANY
from hub.usecases.edges import record_status
from tests.hub.build import (
    BOOTED_AT_MS,
    EVERY_PURPOSE,
    NOON_MS,
    RULES,
    TENANT,
    Ids,
    batch,
    consents,
    event,
    house,
    lost,
    offer,
    person,
    sample,
    unread,
)
from wire.messages import Status


class Hub:
    """The use cases on a store, with a hand-turned clock that starts at noon."""

    def __init__(self, store):
        self.store, self.ids, self.now_ms, self.rules = store, Ids(), NOON_MS, RULES

    def send(self, *events, after_s=0.0, **more):
        """One message, received `after_s` after noon, its events observed at that very instant."""
        self.now_ms = NOON_MS + round(after_s * 1000)
        mono_ms = self.now_ms - BOOTED_AT_MS
        stamped = [one if one.kind in ("lost", "future") else _at(one, mono_ms) for one in events]
        built = batch(*stamped, received_at_ms=self.now_ms, sent_mono_ms=more.pop("sent_mono_ms", mono_ms), **more)
        return self.commit(built)

    def commit(self, *batches):
        with self.store.write() as tx:
            return presence.commit_presence(tx, batches, self.rules, self.now_ms, self.ids)

    def sweep(self, after_s):
        self.now_ms = NOON_MS + round(after_s * 1000)
        with self.store.write() as tx:
            return deadlines.sweep(tx, RULES, self.now_ms)

    def all(self, kind):
        with self.store.read() as tx:
            return tx.find(kind, {"tenant": TENANT}, limit=MANY)

    def one(self, kind):
        (row,) = self.all(kind)
        return row


def _at(one, mono_ms):
    return replace(one, observed_mono_ms=mono_ms, first_mono_ms=mono_ms, last_mono_ms=mono_ms)


@pytest.fixture
def hub(store):
    return Hub(store)


def furnish(hub, *offers, people=(1,), purposes=EVERY_PURPOSE):
    with hub.store.write() as tx:
        house(tx, *offers)
        for number in people:
            person(tx, number, purposes)


def test_an_enter_becomes_a_visit_a_decision_a_grant_and_a_push(hub):
    furnish(hub, offer())
    done = hub.send(event(1, "enter"))
    visit, decision, grant, push = hub.one(Visit), hub.one(Decision), hub.one(Grant), hub.one(Push)
    assert (visit.state, visit.zone, visit.pushes, visit.entered_at_ms) == (VisitState.PRESENT, "door", 1, NOON_MS)
    assert (decision.chosen, decision.grant, decision.propensity) == ("o1", grant.grant, 1.0)
    assert (grant.visit, grant.issued_at_ms, grant.expires_at_ms) == (visit.visit, NOON_MS, NOON_MS + 600_000)
    assert (push.device, push.grant, push.body["curve"]) == ("d1", grant.grant, grant.curve)
    assert done.effects.pushes == 1
    assert done.acks["e-door", "b1"].upto == 1
    row = hub.one(EdgeBoot)
    assert (row.committed, row.upto) == (1, 1)


def test_a_repeat_changes_nothing(hub):
    furnish(hub, offer())
    hub.send(event(1, "enter"))
    before = [hub.all(kind) for kind in (Visit, Decision, Grant, Push)]
    hub.send(event(1, "enter"))
    assert [hub.all(kind) for kind in (Visit, Decision, Grant, Push)] == before
    assert hub.one(EdgeBoot).duplicates == 1


def test_without_consent_nothing_is_kept_but_a_count(hub):
    furnish(hub, offer(), purposes=("personalised_offers", "marketing_push"))
    hub.send(event(1, "enter"), sample(2))
    assert not any(hub.all(kind) for kind in (Visit, Decision, Grant, Push, Quarantine))
    row = hub.one(EdgeBoot)
    assert (row.consent_refused, row.committed, row.upto) == (2, 0, 2)


def test_a_beacon_nobody_enrolled_is_refused(hub):
    furnish(hub, offer())
    hub.send(event(1, "enter", who=99))
    assert hub.one(EdgeBoot).identity_refused == 1
    assert not hub.all(Visit)


def test_consent_does_not_reach_back(hub):
    furnish(hub, offer(), purposes=())
    with hub.store.write() as tx:
        consents(tx, "p1", dict.fromkeys(EVERY_PURPOSE, True), NOON_MS + 1)
    hub.send(event(1, "enter"))
    assert not hub.all(Visit)
    hub.send(event(2, "enter"), after_s=5)
    assert hub.one(Visit).entered_at_ms == NOON_MS + 5000


@pytest.mark.parametrize("missing", ["personalised_offers", "marketing_push"])
def test_presence_without_permission_to_push_is_a_visit_and_a_reason(hub, missing):
    furnish(hub, offer(), purposes=[purpose for purpose in EVERY_PURPOSE if purpose != missing])
    hub.send(event(1, "enter"))
    assert hub.one(Visit).pushes == 0
    assert hub.one(Decision).candidates == [["o1", 1, f"consent:{missing}", pytest.approx(100, abs=1)]]
    assert not hub.all(Push)


def test_one_push_per_visit_however_many_triggers(hub):
    furnish(hub, offer("hello"), offer("shelf", trigger={"on": "enter", "zone_kind": "floor"}))
    hub.send(event(1, "enter"))
    for second in range(1, 9):
        hub.send(event(second, "enter" if second == 1 else "sample", rssi_dbm=-40.0), edge="e-floor", after_s=second)
    assert hub.one(Visit).zone == "floor"
    assert len(hub.all(Grant)) == 1
    reasons = [row.candidates[0][2] for row in hub.all(Decision)]
    assert sorted(reasons, key=str) == [None, "cap:visit"]


def test_a_dwell_fires_once_when_the_time_is_reached(hub):
    furnish(hub, offer(trigger={"on": "dwell", "zone_kind": "floor", "dwell_s": 10}))
    hub.send(event(1, "enter"), edge="e-floor")
    hub.send(sample(2), edge="e-floor", after_s=9)
    assert not hub.all(Decision)
    hub.send(sample(3), edge="e-floor", after_s=10)
    hub.send(sample(4), edge="e-floor", after_s=11)
    assert len(hub.all(Decision)) == len(hub.all(Grant)) == 1


def test_the_door_freezes_an_offer_won_before_it(hub):
    furnish(hub, offer(trigger={"on": "enter", "zone_kind": "approach"}))
    hub.send(event(1, "enter", rssi_dbm=-75.0), edge="e-approach")
    assert hub.one(Grant).lock_at_ms is None
    for second in range(30, 37):
        hub.send(event(second - 29, "enter" if second == 30 else "sample", rssi_dbm=-50.0), after_s=second)
    grant = hub.one(Grant)
    assert grant.state == GrantState.LOCKED
    # the rival zone is taken at once: the approach edge has been silent for more than 10 s; 10 ms is the clock's error
    assert grant.lock_at_ms == NOON_MS + 30_000 - 10
    assert grant.lock_bp == 2876


def test_the_event_that_wins_an_offer_does_not_lock_it_but_the_next_does(hub):
    furnish(hub, offer())
    hub.send(event(1, "enter"))
    assert hub.one(Grant).state == GrantState.ISSUED
    hub.send(sample(2), after_s=1)
    assert (hub.one(Grant).state, hub.one(Grant).lock_at_ms) == (GrantState.LOCKED, NOON_MS + 990)


def test_a_group_of_both_locks_the_fresh_grant_too(hub):
    furnish(hub, offer())
    hub.send(event(1, "enter"), sample(2))
    assert hub.one(Grant).lock_at_ms == NOON_MS


def test_late_events_make_visits_but_never_push(hub):
    furnish(hub, offer())
    mono_ms = NOON_MS - 60_000 - BOOTED_AT_MS
    hub.commit(batch(event(1, "enter", mono_ms=mono_ms)))
    assert hub.one(Visit).entered_at_ms == NOON_MS - 60_000
    assert not hub.all(Decision)


def test_events_of_an_earlier_boot_are_late_whatever_their_time(hub):
    furnish(hub, offer())
    hub.send(event(1, "enter"), sent_mono_ms=None)
    assert hub.one(Visit).entered_at_ms == NOON_MS
    assert not hub.all(Decision)


def test_a_late_door_event_locks_what_is_not_yet_redeemed(hub):
    furnish(hub, offer(trigger={"on": "enter", "zone_kind": "approach"}))
    hub.send(event(1, "enter"), edge="e-approach")
    hub.now_ms = NOON_MS + 120_000
    mono_ms = NOON_MS + 40_000 - BOOTED_AT_MS
    hub.commit(batch(event(1, "enter", mono_ms=mono_ms, rssi_dbm=-40.0), received_at_ms=hub.now_ms))
    grant = hub.one(Grant)
    assert (grant.state, grant.lock_at_ms) == (GrantState.LOCKED, NOON_MS + 40_000 - 10)
    assert len(hub.all(Grant)) == 1


def test_exit_grace_return_and_end(hub):
    furnish(hub)
    hub.send(event(1, "enter"))
    hub.send(event(2, "exit"), after_s=60)
    assert hub.one(Visit).state == VisitState.GRACE
    hub.send(event(3, "enter"), after_s=150)
    assert hub.one(Visit).state == VisitState.PRESENT
    hub.send(event(4, "exit"), after_s=200)
    hub.sweep(after_s=320)
    visit = hub.one(Visit)
    assert (visit.state, visit.left_at_ms) == (VisitState.CLOSED, NOON_MS + 200_000)
    assert [stay.left_at_ms for stay in hub.all(ZoneStay)] == [NOON_MS + 200_000]
    hub.send(event(5, "enter"), after_s=400)
    assert len(hub.all(Visit)) == 2


def test_two_edges_and_a_phone_make_one_visit(hub):
    furnish(hub)
    hub.send(event(1, "enter"))
    hub.send(event(1, "enter"), edge="e-floor", after_s=5)
    report = presence.SightingReport(TENANT, "p1", "d1", "s1", True, NOON_MS + 6000, "n1")
    with hub.store.write() as tx:
        assert presence.record_sighting(tx, report, RULES, NOON_MS + 6000, hub.ids) is not None
    assert set(hub.one(Visit).edges) == {"e-door", "e-floor", "app-d1"}


def test_a_phone_without_consent_is_not_heard(hub):
    furnish(hub, purposes=())
    report = presence.SightingReport(TENANT, "p1", "d1", "s1", True, NOON_MS, "n1")
    with hub.store.write() as tx:
        assert presence.record_sighting(tx, report, RULES, NOON_MS, hub.ids) is None
    assert not hub.all(Visit)


def status(state, boot="b1"):
    return Status(v=1, edge="e-door", boot=boot, state=state, version="1")


def test_an_edge_that_dies_leaves_people_unknown(hub):
    furnish(hub)
    hub.send(event(1, "enter"))
    with hub.store.write() as tx:
        record_status(tx, "s1", "e-door", status("online"), RULES, hub.now_ms)
        record_status(tx, "s1", "e-door", status("offline"), RULES, hub.now_ms)
    assert hub.one(Visit).state == VisitState.UNKNOWN
    hub.send(sample(2), after_s=30)
    assert hub.one(Visit).state == VisitState.PRESENT


def test_an_edge_that_starts_anew_splits_no_visit(hub):
    furnish(hub, offer())
    with hub.store.write() as tx:
        record_status(tx, "s1", "e-door", status("online"), RULES, hub.now_ms)
    hub.send(event(1, "enter"))
    with hub.store.write() as tx:
        record_status(tx, "s1", "e-door", status("online", "b2"), RULES, hub.now_ms)
    assert hub.one(Visit).state == VisitState.UNKNOWN
    hub.send(event(1, "enter"), boot="b2", after_s=20)
    assert hub.one(Visit).state == VisitState.PRESENT
    assert len(hub.all(Grant)) == 1


def test_an_edge_that_is_not_enrolled_is_set_aside_and_not_answered(hub):
    furnish(hub)
    for _ in range(3):
        done = hub.send(event(1, "enter"), edge="e-stranger")
        assert not done.acks
    assert not hub.send(event(1, "enter"), store="s2").acks
    assert len(hub.all(Quarantine)) == 2
    assert not hub.all(EdgeBoot)


def test_bad_events_go_aside_and_the_rest_counts(hub):
    furnish(hub)
    hub.send(event(1, "enter"), event(3), bad=[(2, {"seq": 2, "n": "x"}, "n: not an integer")])
    row = hub.one(EdgeBoot)
    assert (row.committed, row.quarantined, row.upto) == (2, 1, 3)
    assert hub.one(Quarantine).seq == 2


def test_losses_are_counted_and_unknown_kinds_pass(hub):
    furnish(hub)
    hub.send(event(1, "enter"), lost(2, 11, samples=9, exits=1), unread(12))
    row, loss = hub.one(EdgeBoot), hub.one(Loss)
    assert (row.committed, row.lost, row.upto) == (2, 10, 12)
    assert (loss.first_seq, loss.seq, loss.samples, loss.exits) == (2, 11, 9, 1)
    assert watermark.accounted(row)


def test_a_message_that_failed_is_set_aside_and_can_be_replayed(hub):
    furnish(hub, offer())
    built = batch(event(1, "enter", mono_ms=1_000_000), sample(2, mono_ms=1_000_000))
    with hub.store.write() as tx:
        done = presence.set_aside(tx, built, "KeyError in the hub", RULES, NOON_MS)
        assert done.acks["e-door", "b1"].upto == 2
    row = hub.one(EdgeBoot)
    assert (row.quarantined, row.upto) == (2, 2)
    with hub.store.write() as tx:
        assert presence.replay(tx, hub.one(Quarantine), RULES, NOON_MS + 1000, hub.ids) == 2
    row = hub.one(EdgeBoot)
    assert (row.quarantined, row.committed) == (0, 2)
    assert watermark.accounted(row)
    assert len(hub.all(Visit)) == 1
    assert not hub.all(Push)
    assert not hub.all(Quarantine)


def test_grants_run_out(hub):
    furnish(hub, offer(trigger={"on": "enter", "zone_kind": "floor"}))
    hub.send(event(1, "enter"), edge="e-floor")
    hub.sweep(after_s=600)
    assert hub.one(Grant).state == GrantState.ISSUED
    hub.sweep(after_s=600.001)
    assert hub.one(Grant).state == GrantState.EXPIRED


def test_the_quarantine_is_capped(hub):
    rows = [Quarantine(TENANT, f"q{i:03}", "e", "b", i, "theirs", "r", "", NOON_MS + i) for i in range(20)]
    with hub.store.write() as tx:
        tx.put(rows)
        removed = deadlines.clean(tx, replace(RULES, quarantine_max=5), NOON_MS + 100)
    assert removed["quarantine_over_cap"] == 15
    assert [row.seq for row in hub.all(Quarantine)] == [15, 16, 17, 18, 19]


def test_an_edge_that_was_quiet_for_a_month_has_lost_nothing(hub):
    furnish(hub)
    with hub.store.write() as tx:
        record_status(tx, "s1", "e-door", status("online"), RULES, hub.now_ms)
    hub.send(event(1, "enter"), event(2, "exit"))
    month_s = 40 * 86_400
    with hub.store.write() as tx:
        deadlines.clean(tx, RULES, NOON_MS + month_s * 1000)
    hub.send(event(3, "enter"), after_s=month_s, oldest_seq=3)
    assert not hub.all(Loss)
    assert (hub.one(EdgeBoot).committed, hub.one(EdgeBoot).upto) == (3, 3)


def test_a_jump_is_the_edges_only_when_this_process_has_had_the_boot_from_the_start(hub):
    furnish(hub)
    hub.send(event(1, "enter"))
    hub.rules = replace(RULES, started_at_ms=NOON_MS + 5000)  # and who knows what happened to the database meanwhile
    hub.send(sample(8), oldest_seq=8, after_s=10)
    hub.send(sample(12), oldest_seq=12, after_s=20)
    for _ in range(2):  # a boot since the backup; a message from before the last acknowledgement comes first
        hub.send(sample(7), oldest_seq=5, boot="since", after_s=20)
        hub.send(sample(7), oldest_seq=7, boot="since", after_s=20)
    hub.send(event(1, "enter"), boot="today", after_s=30)
    hub.send(sample(3), oldest_seq=3, boot="today", after_s=30)
    found = [(row.boot, row.first_seq, row.seq, row.reason) for row in hub.all(Loss)]
    assert found == [
        ("b1", 2, 7, "hub_restored"), ("b1", 9, 11, "hub_restored"),
        ("since", 1, 4, "hub_restored"), ("since", 5, 6, "hub_restored"),
        ("today", 2, 2, "edge_forgot"),
    ]  # fmt: skip
