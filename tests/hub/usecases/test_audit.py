"""A clean run has no violation; each promise, broken on purpose, is found."""

from dataclasses import replace

import pytest

from hub.core.grants import code_hash, grant_code
from hub.core.model import Consent, ConsentEvent, Decision, EdgeBoot, Grant, Push, Redemption, Visit
from hub.core.states import GrantState, PushState
from hub.usecases import presence
from hub.usecases.arrivals import MANY
from hub.usecases.audit import INVARIANTS, Witness, audit
from hub.usecases.redeem import RedeemRequest, redeem, reverse
from tests.hub.build import KEY, NOON_MS, RULES, TENANT, Ids, batch, event, house, offer, person

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

    def put(self, *rows):
        with self.store.write() as tx:
            for row in rows:
                tx.put([row])

    def change(self, kind, **changes):
        self.put(replace(self.one(kind), **changes))

    def violations(self, **witness):
        with self.store.read() as tx:
            return audit(tx, TENANT, GRACE_MS, replace(self.witness, **witness))

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
