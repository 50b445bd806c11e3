"""A clean run has no violation; each promise, broken on purpose, is found."""

from dataclasses import replace

import pytest

from hub.core.grants import code_hash, grant_code
from hub.core.model import Consent, ConsentEvent, Decision, EdgeBoot, Grant, Offer, Push, Redemption, Visit
from hub.core.states import GrantState, PushState, VisitState
from hub.stores.schema import DAY_MS, YEAR_MS
from hub.usecases import deadlines, presence
from hub.usecases.arrivals import MANY
from hub.usecases.audit import INVARIANTS, Witness, audit
from hub.usecases.me import erase
from hub.usecases.redeem import RedeemRequest, redeem, reverse
from tests.hub.build import (
    BOOTED_AT_MS,
    EVERY_PURPOSE,
    KEY,
    NOON_MS,
    RULES,
    TENANT,
    Ids,
    batch,
    consents,
    event,
    house,
    offer,
    person,
)

GRACE_MS = RULES.grace_ms


class Day:
    """One visit, one push received, one redemption: everything as promised."""

    def __init__(self, store):
        self.store, ids = store, Ids()
        with store.write() as tx:
            house(tx, offer())
            person(tx)
            presence.commit_presence(tx, [batch(event(1, "enter"))], RULES, NOON_MS, ids)
        self.grant, self.push = self.one(Grant), self.one(Push)
        with store.write() as tx:
            tx.put([replace(self.push, state=PushState.SENT, settled_at_ms=NOON_MS + 50, due_at_ms=None)])
            code = grant_code(KEY, self.grant.grant)
            request = RedeemRequest(TENANT, code_hash(code), "s1", "till-1", 10_000, "EUR")
            self.redemption = redeem(tx, request, NOON_MS + 60_000, ids)
        self.witness = Witness(
            phones=[{"device": "d1", "grant": self.grant.grant, "received_at_ms": NOON_MS, "curve": self.grant.curve}],
            tills=[
                {"grant": self.grant.grant, "redemption": self.redemption.redemption, "value_bp": 2750,
                 "discount_minor": 2750, "t_lock_ms": NOON_MS + 60_000}
            ],
            published={"e-door": 1},
            bystanders=frozenset({"feedfacefeedfacefeedfacefeedface"}),
            texts=[("hub.log", '{"event":"started"}')],
        )  # fmt: skip

    def one(self, kind):
        with self.store.read() as tx:
            (row,) = tx.find(kind, {"tenant": TENANT}, limit=MANY)
        return row

    def all(self, kind):
        with self.store.read() as tx:
            return tx.find(kind, {"tenant": TENANT}, limit=MANY)

    def put(self, *rows):
        with self.store.write() as tx:
            for row in rows:
                tx.put([row])

    def change(self, kind, **changes):
        self.put(replace(self.one(kind), **changes))

    def violations(self, at_ms=NOON_MS + 120_000, **witness):
        with self.store.read() as tx:
            return audit(tx, TENANT, GRACE_MS, at_ms, replace(self.witness, **witness))

    def broken(self, **witness):
        return {violation.invariant for violation in self.violations(**witness)}


@pytest.fixture
def day(store):
    return Day(store)


def test_a_day_as_promised_has_no_violation(day):
    assert day.redemption.value_bp == 2750
    assert day.violations() == []


def withdraw(day, purpose, at_ms):
    event_ = ConsentEvent(TENANT, "zz", "p1", purpose, "withdrawn", "n@1", "0" * 64, "app_screen", "p1", at_ms)
    day.put(event_, Consent(TENANT, "p1", purpose, False, "zz", at_ms))


def second_grant(day):
    day.put(replace(day.one(Grant), grant="g2", code_hash="other", state=GrantState.EXPIRED, lock_at_ms=None,
                    lock_bp=None, decision="x2"))  # fmt: skip


BREAKS = {
    "every sequence is accounted for": lambda day: day.change(EdgeBoot, committed=2),
    "no push without consent in force": lambda day: withdraw(day, "marketing_push", NOON_MS - 1000),
    "no visit without consent in force": lambda day: withdraw(day, "presence_detection", NOON_MS - 1000),
    "at most one push per visit": second_grant,
    "redeemed at the curve's value at t_lock": lambda day: day.change(Redemption, value_bp=2751),
    "locked at the curve's value": lambda day: day.change(Grant, lock_bp=2751),
    "nothing twice": lambda day: day.put(replace(day.one(Push), push="again", device="d2")),
    "no visit split": lambda day: day.put(
        replace(day.one(Visit), visit="v2", entered_at_ms=NOON_MS + GRACE_MS, seen_at_ms=NOON_MS + GRACE_MS)
    ),
    "every decision is whole": lambda day: day.change(Decision, grant=None),
    "phones and tills saw what the store says": lambda day: day.change(Grant, state=GrantState.LOCKED),
    "every live offer can be read": lambda day: day.change(Offer, body={"name": "of a version to come"}),
    "nothing about a bystander anywhere": lambda day: day.change(
        Visit, opened_by="e-door/FEEDFACE-FEED-FACE-FEED-FACEFEEDFACE"
    ),
}


def test_every_invariant_is_broken_here():
    assert set(BREAKS) == set(INVARIANTS)


@pytest.mark.parametrize("invariant", INVARIANTS)
def test_each_invariant_broken_on_purpose_is_found(day, invariant):
    BREAKS[invariant](day)
    assert invariant in day.broken()


@pytest.mark.parametrize(
    ("witness", "invariant"),
    [
        ({"published": {"e-door": 2}}, "every sequence is accounted for"),
        ({"published": {"e-door": 1, "e-floor": 3}}, "every sequence is accounted for"),
        ({"texts": [("broker", "uuid feedface-feed-face-feed-facefeedface")]}, "nothing about a bystander anywhere"),
    ],
)
def test_witnesses_are_heard(day, witness, invariant):
    assert invariant in day.broken(**witness)


def test_only_the_last_visit_of_a_person_in_a_store_may_be_open(day):
    later_ms = NOON_MS + GRACE_MS + 1
    day.put(replace(day.one(Visit), visit="v2", entered_at_ms=later_ms, seen_at_ms=later_ms))
    assert day.broken() == {"no visit split"}
    day.put(replace(day.all(Visit)[0], state=VisitState.CLOSED))
    assert day.violations() == []


def test_a_merged_visit_is_covered_by_another_and_had_one_offer_of_its_own(day):
    visit = day.one(Visit)
    part = replace(visit, visit="v2", state=VisitState.MERGED)
    day.put(part)
    assert day.violations() == []
    day.put(replace(part, seen_at_ms=visit.seen_at_ms + 1))
    assert day.broken() == {"no visit split"}
    day.put(part, replace(visit, state=VisitState.MERGED))
    assert day.broken() == {"no visit split"}
    day.put(visit)
    second_grant(day)
    assert "at most one push per visit" in day.broken(), "two offers of one visit stay two, merged or not"


def test_a_phone_that_saw_another_curve_is_heard(day):
    (seen,) = day.witness.phones
    name = "phones and tills saw what the store says"
    assert name in day.broken(phones=[{**seen, "curve": {**seen["curve"], "start_bp": 9000}}])
    assert name in day.broken(phones=[{**seen, "grant": "never-issued"}])


def test_a_till_that_was_told_other_terms_is_heard(day):
    (told,) = day.witness.tills
    assert "phones and tills saw what the store says" in day.broken(tills=[{**told, "value_bp": 9000}])
    assert "nothing twice" in day.broken(tills=[told, {**told, "redemption": "another"}])


def test_a_discount_that_is_not_the_promised_one_is_found(day):
    day.change(Redemption, discount_minor=1)
    assert "redeemed at the curve's value at t_lock" in day.broken()


def test_a_reversal_keeps_every_promise(day):
    with day.store.write() as tx:
        assert reverse(tx, TENANT, day.redemption.redemption, NOON_MS + 90_000).state == "reversed"
        assert reverse(tx, TENANT, day.redemption.redemption, NOON_MS + 90_000).reason == "already_reversed"
        assert reverse(tx, TENANT, "none", NOON_MS).reason == "unknown_redemption"
    assert day.violations() == []


def test_a_redemption_whose_grant_is_not_there_is_found(day):
    with day.store.write() as tx:
        tx.delete(Grant, [(TENANT, day.grant.grant)])
    assert "redeemed at the curve's value at t_lock" in day.broken()


def test_erasure_keeps_every_promise(day):
    with day.store.write() as tx:
        erase(tx, RULES, "p1", NOON_MS + 90_000, Ids())
        assert not tx.find(Grant, {"tenant": TENANT})
    assert day.one(Redemption).profile.startswith("erased-")
    assert day.violations() == []


def test_an_erased_persons_ledger_says_for_how_long_there_was_permission(day):
    erased_at_ms = NOON_MS + 7 * YEAR_MS
    with day.store.write() as tx:
        consents(tx, "p2", {"analytics": False}, 0)
        erase(tx, RULES, "p1", erased_at_ms, later_ids())
    rows = day.all(ConsentEvent)
    ended = [(row.purpose, row.action, row.at_ms, row.actor) for row in rows if row.method == "erasure"]
    assert ended == [(purpose, "withdrawn", erased_at_ms, "") for purpose in sorted(EVERY_PURPOSE)]
    clean_up(day, erased_at_ms + 6 * YEAR_MS - 1)
    assert len(day.all(ConsentEvent)) == 6 + 1, "what was given 13 years ago ended less than 6 years ago"
    clean_up(day, erased_at_ms + 6 * YEAR_MS)
    assert [row.profile for row in day.all(ConsentEvent)] == ["p2"]


def later_ids():
    ids = Ids()
    ids.count = 1000
    return ids


def clean_up(day, at_ms):
    with day.store.write() as tx:
        deadlines.clean(tx, RULES, at_ms)


AGES_DAYS = (0, 1, 8, 31, 91, 121, 130, 6 * 366 + 1, 10 * 366 + 1)


@pytest.mark.parametrize("days", AGES_DAYS)
def test_retention_keeps_every_promise(day, days):
    """At every age something has just gone; what is left still holds together, with what others recorded too."""
    at_ms = NOON_MS + 60_000 + days * DAY_MS
    with day.store.write() as tx:
        deadlines.sweep(tx, RULES, at_ms)
    clean_up(day, at_ms)
    assert (len(day.all(Visit)) == 1) == (days <= 90)
    assert (len(day.all(Grant)) == 1) == (days <= 120)
    assert (len(day.all(Redemption)) == 1) == (days <= 3660)
    witness = {
        "published": {},
        "phones": day.witness.phones if days <= 120 else [],
        "tills": day.witness.tills if days <= 3660 else [],
    }
    assert day.violations(at_ms, **witness) == []


def test_consent_given_long_ago_is_still_in_force_and_proven(day):
    later_ms = NOON_MS + 7 * YEAR_MS
    clean_up(day, later_ms)
    with day.store.write() as tx:
        built = batch(event(1, "enter", mono_ms=later_ms - BOOTED_AT_MS), boot="b2", received_at_ms=later_ms)
        presence.commit_presence(tx, [built], RULES, later_ms, later_ids())
    assert day.one(Visit).entered_at_ms == later_ms
    assert day.violations(later_ms + 1000, phones=[], published={}) == []
    withdraw(day, "presence_detection", later_ms + 2000)
    clean_up(day, later_ms + 3000)
    assert day.violations(later_ms + 3000, phones=[], published={}) == [], "the line that ended today proves the past"
