"""Reports of listeners of another make lead to visits, decisions and pushes: same path, same rules."""

from dataclasses import replace

import pytest

from hub.core import foreign
from hub.core.foreign import BREAK_MS, Life, NodeStatus, Report, Source, accounted
from hub.core.foreign_records import ForeignTrack
from hub.core.model import Decision, EdgeBoot, Grant, Push, Quarantine, Visit
from hub.core.states import GrantState, VisitState
from hub.core.visits import GRACE_S, SILENCE_MS, UNKNOWN_MS
from hub.usecases import edges, presence
from hub.usecases.audit import Witness, audit
from hub.usecases.catalogue import EdgeSaid, put_edge
from hub.usecases.consent import ConsentChange, record_consents
from hub.usecases.foreign import Received, give_up, take
from hub.usecases.me import export
from hub.usecases.reports import report as reported
from tests.hub.build import NOON_MS, RULES, TENANT, batch, beacon, consents, event, offer
from tests.hub.foreign_hub import DOOR, FLOOR, SILENCE_MIN_MS, Hub
from wire.messages import Status


@pytest.fixture
def hub(store):
    return Hub(store)


def test_two_reports_become_a_visit_a_decision_a_grant_and_a_push(hub):
    hub.furnish(offer())
    done = hub.enter()
    visit, decision, grant, push = hub.one(Visit), hub.one(Decision), hub.one(Grant), hub.one(Push)
    assert (visit.state, visit.zone, visit.pushes) == (VisitState.PRESENT, "door", 1)
    assert (visit.entered_at_ms, visit.entered_error_ms) == (NOON_MS + 5_000, foreign.ERROR_MS)
    assert visit.opened_by == "e-door/espresense/2"
    assert (decision.chosen, decision.grant, push.grant) == ("o1", grant.grant, grant.grant)
    assert (done.events, done.strangers, done.effects.pushes) == (1, 0, 1)
    row = hub.account()
    assert (row.received, row.committed, row.at_source) == (2, 2, "hub")


def test_a_gateway_that_passes_on_single_frames_needs_three(hub):
    hub.furnish()
    hub.say((FLOOR, 1, -60.0))
    hub.say((FLOOR, 1, -60.0), after_s=5)
    assert not hub.all(Visit)
    hub.say((FLOOR, 1, -60.0), after_s=10)
    assert hub.one(Visit).zone == "floor"


def test_a_door_node_locks_what_was_promised(hub):
    hub.furnish(offer())
    hub.enter()
    hub.say((DOOR, 1, -60.0), after_s=20)
    grant = hub.one(Grant)
    # the report may be five seconds old: in the shopper's favour, but never before the issue
    assert (grant.state, grant.lock_at_ms) == (GrantState.LOCKED, NOON_MS + 20_000 - foreign.ERROR_MS)


def test_a_steady_visitor_stays_and_leaves_when_silent(hub):
    hub.furnish()
    hub.enter()
    for second in range(10, 300, 5):
        hub.say((DOOR, 1, -65.0), after_s=second)
        hub.sweep()
    assert hub.one(Visit).state == VisitState.PRESENT
    hub.pass_time(295 + SILENCE_MIN_MS / 1000 - 1, DOOR)
    assert hub.one(Visit).state == VisitState.PRESENT
    hub.pass_time(295 + SILENCE_MIN_MS / 1000 + 15, DOOR)
    assert hub.one(Visit).state == VisitState.GRACE
    assert not hub.all(ForeignTrack)
    hub.pass_time(295 + GRACE_S, DOOR)
    visit = hub.one(Visit)
    assert (visit.state, visit.left_at_ms) == (VisitState.CLOSED, NOON_MS + 295_000)


def test_a_hub_that_was_away_sends_nobody_away(hub):
    """Tracks outlive the hub; what it did not hear is no silence of theirs."""
    hub.furnish(offer())
    hub.enter()
    hub.lives.clear()
    hub.now_ms += 120_000
    again = Hub(hub.store)
    again.now_ms, again.ids = hub.now_ms, hub.ids
    again.pass_time(125 + 10, DOOR, every_s=5)
    assert again.one(Visit).state == VisitState.PRESENT
    again.say((DOOR, 1, -60.0))
    assert (again.one(Visit).state, len(again.all(Grant))) == (VisitState.PRESENT, 1)
    again.pass_time(135 + SILENCE_MIN_MS / 1000 + 16, DOOR)
    assert again.one(Visit).state == VisitState.GRACE, "from now on the silence was heard"


def test_a_node_that_falls_silent_altogether_means_unknown_not_gone(hub):
    hub.furnish()
    hub.enter()
    hub.pass_time(5 + SILENCE_MS / 1000 + 1)
    assert hub.one(Visit).state == VisitState.UNKNOWN
    hub.pass_time(5 + SILENCE_MS / 1000 + UNKNOWN_MS / 1000 + 2)
    assert hub.one(Visit).left_at_ms == NOON_MS + 5_000
    assert not hub.all(ForeignTrack)


def test_a_break_of_the_node_begins_the_silence_anew(hub):
    hub.furnish()
    hub.enter()
    hub.pass_time(5 + BREAK_MS / 1000 + 2)
    hub.live(DOOR)
    hub.sweep()
    hub.pass_time(80, DOOR, every_s=5)
    assert hub.one(Visit).state == VisitState.PRESENT
    hub.pass_time(100, DOOR, every_s=5)
    assert hub.one(Visit).state == VisitState.GRACE


def test_a_message_still_in_the_queue_is_no_silence(hub):
    hub.furnish()
    hub.enter()
    hub.now_ms += 60_000
    hub.lives[DOOR] = Life(NOON_MS, hub.now_ms)
    hub.sweep(heard_up_to_ms=NOON_MS + 6_000)
    assert hub.one(Visit).state == VisitState.PRESENT
    hub.now_ms += foreign.LOOK_AGAIN_MS
    hub.sweep()
    assert hub.one(Visit).state == VisitState.GRACE


def test_a_last_will_means_unknown_and_the_next_report_present(hub):
    hub.furnish()
    hub.enter()
    done = hub.say(NodeStatus(DOOR, False), after_s=10)
    assert {"type": "edge", "edge": "e-door", "store": "s1", "state": "offline"} in done.effects.notes
    assert (hub.one(Visit).state, hub.edge().status) == (VisitState.UNKNOWN, "offline")
    assert hub.say(NodeStatus(DOOR, False)).effects.notes == []
    hub.say((DOOR, 1, -60.0), after_s=40)
    assert (hub.one(Visit).state, hub.edge().status) == (VisitState.PRESENT, "online")


def test_within_a_group_the_order_counts(hub):
    hub.furnish()
    hub.enter()
    hub.say((DOOR, 1, -60.0), NodeStatus(DOOR, False))
    assert (hub.one(Visit).state, hub.edge().status) == (VisitState.UNKNOWN, "offline")
    hub.say(NodeStatus(DOOR, False), (DOOR, 1, -60.0))
    assert (hub.one(Visit).state, hub.edge().status) == (VisitState.PRESENT, "online")


def test_without_consent_nothing_is_kept_but_a_count(hub):
    hub.furnish(offer(), purposes=("personalised_offers", "marketing_push"))
    hub.enter()
    assert not any(hub.all(kind) for kind in (Visit, Decision, Push, Quarantine, ForeignTrack))
    assert (hub.account().consent_refused, hub.account().committed) == (2, 0)


def test_a_beacon_nobody_enrolled_is_refused(hub):
    hub.furnish(offer())
    hub.enter(who=99)
    assert hub.account().identity_refused == 2
    assert not any(hub.all(kind) for kind in (Visit, ForeignTrack, Quarantine))


def test_a_withdrawal_forgets_the_track_and_a_new_consent_starts_over(hub):
    hub.furnish(offer())
    hub.enter()
    for given, after_s in ((False, 8), (True, 9)):
        change = ConsentChange(TENANT, "p1", {"presence_detection": given}, "n@1", "0" * 64, "app_screen", "p1")
        with hub.store.write() as tx:
            record_consents(tx, change, NOON_MS + after_s * 1000, hub.ids)
        assert not hub.all(ForeignTrack)
    assert hub.one(Visit).state == VisitState.CLOSED
    hub.say((DOOR, 1, -60.0), after_s=10)
    assert hub.one(ForeignTrack).present is False


def test_who_comes_back_after_a_withdrawal_must_be_let_in_again(hub):
    """The next report reopens nothing: the visit ended with the withdrawal, and a new one begins with two reports."""
    hub.furnish()
    hub.enter()
    for given in (False, True):
        change = ConsentChange(TENANT, "p1", {"presence_detection": given}, "n@1", "0" * 64, "app_screen", "p1")
        with hub.store.write() as tx:
            record_consents(tx, change, NOON_MS + 6_000, hub.ids)
    hub.say((DOOR, 1, -60.0), after_s=8)
    assert hub.one(Visit).state == VisitState.CLOSED
    hub.enter(FLOOR, after_s=9)
    visit = hub.one(Visit)
    assert (visit.state, visit.edges["e-door"][0], visit.edges["e-floor"][0]) == (VisitState.PRESENT, "out", "in")


def test_a_silence_of_somebody_who_said_no_is_not_recorded(hub):
    hub.furnish()
    hub.enter()
    with hub.store.write() as tx:
        consents(tx, "p1", {"presence_detection": False}, NOON_MS + 6_000)
    before = hub.one(Visit)
    hub.pass_time(60, DOOR)
    assert hub.one(Visit) == before
    assert not hub.all(ForeignTrack)


def test_a_track_is_part_of_what_a_person_may_see_and_have_forgotten(hub):
    hub.furnish()
    hub.enter()
    with hub.store.write() as tx:
        assert export(tx, TENANT, "p1")["foreign_track"][0]["edge"] == "e-door"
        assert tx.erase(TENANT, "p1")["foreign_track"] == 1


def test_a_node_that_is_not_enrolled_is_counted_and_named_once(hub):
    hub.furnish(offer())
    stranger = Source("espresense", "cellar")
    for second in range(3):
        done = hub.say((stranger, 1, -50.0), NodeStatus(stranger, True), after_s=second)
        assert (done.events, done.strangers) == (0, 2)
    row = hub.one(Quarantine)
    assert (row.edge, row.fault, row.body) == ("espresense:cellar", "theirs", "")
    assert "PUT /v1/edges" in row.reason
    assert not hub.all(Visit)


def test_nodes_are_told_apart_by_kind(hub):
    hub.furnish()
    assert hub.say((Source("theengs", "door"), 1, -50.0)).strangers == 1
    assert hub.say((Source("espresense", "home/floor"), 1, -50.0)).strangers == 1


def test_an_edge_of_ours_and_a_node_make_one_visit(hub):
    hub.furnish(offer())
    with hub.store.write() as tx:
        put_edge(tx, TENANT, "e-till", EdgeSaid("s1", "till", False), NOON_MS)
        presence.commit_presence(tx, [batch(event(1, "enter"), edge="e-till")], RULES, NOON_MS, hub.ids)
    hub.enter(after_s=1)
    assert set(hub.one(Visit).edges) == {"e-till", "e-door"}
    assert len(hub.all(Grant)) == 1


def test_an_edge_enrolled_for_a_node_is_not_an_edge_of_ours(hub):
    hub.furnish()
    with hub.store.write() as tx:
        done = presence.commit_presence(tx, [batch(event(1, "enter"))], RULES, NOON_MS, hub.ids)
        status = Status(v=1, edge="e-door", boot="b1", state="online", version="1")
        assert edges.record_status(tx, "s1", "e-door", status, RULES, NOON_MS) is None
    assert not done.acks
    assert not hub.all(EdgeBoot)


def test_a_node_speaks_for_one_edge_and_an_edge_can_be_moved(hub):
    hub.furnish()
    hub.enter()
    with hub.store.write() as tx:
        denied = put_edge(tx, TENANT, "e-till", EdgeSaid("s1", "till", False, DOOR), NOON_MS)
        assert denied.reason == "source_taken"
        assert "e-door" in denied.detail
        same = put_edge(tx, TENANT, "e-door", EdgeSaid("s1", "floor", False, DOOR), NOON_MS)
        assert (same.status, same.zone, same.version) == ("online", "floor", 3)
        assert tx.count(ForeignTrack, {"tenant": TENANT}) == 1
        moved = put_edge(tx, TENANT, "e-door", EdgeSaid("s1", "floor", False), NOON_MS)
        assert (moved.status, moved.source_kind) == ("never", None)
        assert tx.count(ForeignTrack, {"tenant": TENANT}) == 0
        assert put_edge(tx, TENANT, "e-till", EdgeSaid("s1", "till", False, DOOR), NOON_MS).source_node == "door"


def test_people_beyond_the_limit_are_not_followed_and_counted_as_lost(store):
    hub = Hub(store, replace(RULES, foreign_tracks_max=2))
    hub.furnish(people=(1, 2, 3))
    hub.say(*[(DOOR, who, -60.0) for who in (1, 2, 3)])
    hub.say(*[(DOOR, who, -60.0) for who in (3, 2, 1)], after_s=5)
    assert {visit.profile for visit in hub.all(Visit)} == {"p1", "p2"}
    row = hub.account()
    assert (row.received, row.committed, row.lost) == (6, 4, 2)
    assert accounted(row)


def test_old_reports_make_visits_but_never_push(hub):
    hub.furnish(offer())
    with hub.store.write() as tx:
        waited = [Received(Report(DOOR, beacon(1), -60.0), NOON_MS + ms) for ms in (0, 5_000)]
        take(tx, waited, RULES, NOON_MS + RULES.late_ms + 5_001, hub.ids)
    assert hub.one(Visit).entered_at_ms == NOON_MS + 5_000
    assert not hub.all(Decision)


def test_what_our_own_code_failed_on_is_accounted_for(hub):
    hub.furnish()
    with hub.store.write() as tx:
        assert give_up(tx, Received(Report(DOOR, beacon(1), -60.0), NOON_MS), RULES, NOON_MS).events == 1
        assert give_up(tx, Received(NodeStatus(DOOR, True), NOON_MS), RULES, NOON_MS).events == 0
        assert give_up(tx, Received(Report(Source("x", "y"), beacon(1), -60.0), NOON_MS), RULES, NOON_MS).events == 0
    assert (hub.account().lost, hub.account().received) == (1, 1)


def test_reports_and_audit_add_up(hub):
    hub.furnish(offer(), people=(1,))
    hub.enter()
    hub.say((DOOR, 1, -60.0), (DOOR, 99, -60.0), (FLOOR, 1, -80.0), after_s=8)
    with hub.store.read() as tx:
        found = reported(tx, TENANT)
        assert audit(tx, TENANT, RULES.grace_ms, NOON_MS, Witness(published={"e-door": 4, "e-floor": 1})) == []
        wrong = audit(tx, TENANT, RULES.grace_ms, NOON_MS, Witness(published={"e-door": 5}))
        assert [one.invariant for one in wrong] == ["every sequence is accounted for"]
    door = next(row for row in found["edges"] if row["edge"] == "e-door")
    assert (door["source"], door["upto"], door["committed"], door["identity_refused"]) == ("espresense", 4, 3, 1)
    assert (found["accounts"]["upto"], found["accounts"]["committed"]) == (5, 4)
    with hub.store.write() as tx:
        tx.put([replace(hub.account(), committed=99)])
        assert any("reports received" in one.detail for one in audit(tx, TENANT, RULES.grace_ms, NOON_MS, Witness()))


def test_a_walk_from_the_door_to_the_floor_changes_the_zone_once(hub):
    hub.furnish()
    hub.enter()
    zones = []
    for second in range(10, 130, 5):
        near_floor = second > 60
        reports = [(DOOR, 1, -78.0 if near_floor else -60.0), (FLOOR, 1, -60.0 if near_floor else -78.0)]
        hub.say(*reports, after_s=second)
        zones.append(hub.one(Visit).zone)
    assert zones == sorted(zones), "door, then floor"
    assert zones.index("floor") == 13, "two reports of the 5 s rhythm after it became stronger"


@pytest.mark.parametrize("source", [DOOR, FLOOR])
def test_a_pause_between_reports_is_no_absence_from_the_zone(hub, source):
    """Reports come every 15 s: the edge is fresh at its own pace, and the other does not win by default."""
    hub.furnish()
    hub.enter(source)
    here, there = hub.one(Visit).zone, FLOOR if source == DOOR else DOOR
    for second in range(30, 120, 15):
        hub.say((source, 1, -60.0), after_s=second)
        hub.say((there, 1, -75.0), after_s=second + 13)
        assert hub.one(Visit).zone == here
