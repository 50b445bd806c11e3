"""Pushes are taken once, checked again when taken, and settled with the truth."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.core.delivery import DEFAULT
from hub.core.grants import Place, code_hash, issue
from hub.core.model import Consent, Device, Grant, Push
from hub.core.offers import OfferBody
from hub.core.states import GrantState, PushState
from hub.ports import Fate, Receipt
from hub.stores import open_store
from hub.usecases.deliver import next_due_ms, settle, take_due
from tests.channel_contract import a_push
from tests.hub.build import NOON_MS, TENANT, consents, offer, person

LIFE_MS = 600_000


def queued(tx, number=1, *, due_at_ms=NOON_MS, expires_at_ms=NOON_MS + LIFE_MS, **changes):
    """Somebody who agreed to everything, with a grant and its push waiting."""
    profile = person(tx, number)
    the_offer = offer()
    place = Place(tenant=TENANT, grant=f"grant-{number}", profile=profile, store="s1", visit="v", decision=f"x{number}")
    grant = issue(the_offer, OfferBody.model_validate(the_offer.body), place, code_hash(f"code{number}"), NOON_MS)
    tx.put([grant])
    push = replace(
        a_push(number, f"d{number}", expires_at_ms=expires_at_ms),
        tenant=TENANT, profile=profile, state=PushState.QUEUED.value, attempts=0, due_at_ms=due_at_ms, **changes,
    )  # fmt: skip
    tx.put([push])
    return push


def the_push(tx, number=1):
    return tx.get(Push, [(TENANT, f"push-{number}")])[0]


def the_grant(tx, number=1):
    return tx.get(Grant, [(TENANT, f"grant-{number}")])[0]


@pytest.fixture
def tx(store):
    with store.write() as tx:
        yield tx


def test_a_due_push_is_leased_once(tx):
    queued(tx)
    (taken,) = take_due(tx, TENANT, NOON_MS, 10)
    assert (taken.state, taken.attempts, taken.due_at_ms) == ("leased", 1, NOON_MS + DEFAULT.lease_ms)
    assert take_due(tx, TENANT, NOON_MS, 10) == []
    assert next_due_ms(tx) == NOON_MS + DEFAULT.lease_ms


def test_a_push_whose_sender_died_is_taken_again_when_its_lease_ends(tx):
    queued(tx)
    take_due(tx, TENANT, NOON_MS, 10)
    assert take_due(tx, TENANT, NOON_MS + DEFAULT.lease_ms - 1, 10) == []
    (again,) = take_due(tx, TENANT, NOON_MS + DEFAULT.lease_ms, 10)
    assert again.attempts == 2


def test_a_push_not_yet_due_waits(tx):
    queued(tx, due_at_ms=NOON_MS + 1)
    assert take_due(tx, TENANT, NOON_MS, 10) == []
    assert next_due_ms(tx) == NOON_MS + 1


def withdraw(tx):
    consents(tx, "p1", {"marketing_push": False}, NOON_MS)


def forget_consent(tx):
    tx.delete(Consent, [(TENANT, "p1", "marketing_push")])


def kill_device(tx):
    tx.swap(Device, (TENANT, "d1"), {}, {"dead_at_ms": NOON_MS})


def mute_device(tx):
    tx.swap(Device, (TENANT, "d1"), {}, {"os_permission": False})


def remove_device(tx):
    tx.delete(Device, [(TENANT, "d1")])


def redeem(tx):
    tx.swap(Grant, (TENANT, "grant-1"), {}, {"state": GrantState.REDEEMED.value})


@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        (withdraw, "no_consent"),
        (forget_consent, "no_consent"),
        (kill_device, "device_gone"),
        (remove_device, "device_gone"),
        (mute_device, "no_os_permission"),
        (redeem, "grant_closed"),
    ],
)
def test_what_changed_since_the_decision_suppresses_it(tx, meanwhile, reason):
    queued(tx)
    meanwhile(tx)
    assert take_due(tx, TENANT, NOON_MS, 10) == []
    push = the_push(tx)
    assert (push.state, push.reason, push.due_at_ms, push.settled_at_ms) == ("suppressed", reason, None, NOON_MS)
    assert push.body == {}


def test_the_device_of_somebody_else_gets_nothing(tx):
    queued(tx)
    tx.swap(Device, (TENANT, "d1"), {}, {"profile": "p2"})
    assert take_due(tx, TENANT, NOON_MS, 10) == []
    assert the_push(tx).reason == "device_gone"


def test_too_late_is_expired_never_sent(tx):
    queued(tx, expires_at_ms=NOON_MS + DEFAULT.min_ttl_ms - 1)
    assert take_due(tx, TENANT, NOON_MS, 10) == []
    assert (the_push(tx).state, the_push(tx).reason) == ("expired", "deadline")


def test_one_that_may_not_be_sent_does_not_hold_up_the_others(tx):
    for number in (1, 2, 3):
        queued(tx, number)
    withdraw(tx)
    assert {push.push for push in take_due(tx, TENANT, NOON_MS, 10)} == {"push-2", "push-3"}


def taken(tx):
    queued(tx)
    return take_due(tx, TENANT, NOON_MS, 10)[0]


def test_delivered_settles_push_and_grant(tx):
    push = taken(tx)
    assert settle(tx, push, Receipt(Fate.DELIVERED), NOON_MS + 5, 0.5) is PushState.SENT
    after = the_push(tx)
    assert (after.state, after.due_at_ms, after.settled_at_ms, after.body) == ("sent", None, NOON_MS + 5, {})
    assert the_grant(tx).state == "delivered"


def test_delivered_does_not_move_a_grant_back(tx):
    push = taken(tx)
    tx.swap(Grant, (TENANT, "grant-1"), {}, {"state": GrantState.LOCKED.value})
    settle(tx, push, Receipt(Fate.DELIVERED), NOON_MS, 0.5)
    assert the_grant(tx).state == "locked"


def test_a_dead_address_ends_push_and_device(tx):
    push = taken(tx)
    assert settle(tx, push, Receipt(Fate.ADDRESS_GONE), NOON_MS, 0.5) is PushState.FAILED
    assert the_push(tx).reason == "address_gone"
    assert tx.get(Device, [(TENANT, "d1")])[0].dead_at_ms == NOON_MS


def test_a_dead_address_does_not_kill_one_registered_since(tx):
    push = taken(tx)
    tx.swap(Device, (TENANT, "d1"), {}, {"address": "a newer one"})
    settle(tx, push, Receipt(Fate.ADDRESS_GONE), NOON_MS, 0.5)
    assert tx.get(Device, [(TENANT, "d1")])[0].dead_at_ms is None


def test_refused_is_final_and_says_why(tx):
    push = taken(tx)
    assert settle(tx, push, Receipt(Fate.REFUSED, "too large"), NOON_MS, 0.5) is PushState.FAILED
    assert (the_push(tx).reason, the_push(tx).body) == ("refused: too large", {})


def test_try_later_waits_its_turn_and_keeps_the_body(tx):
    push = taken(tx)
    receipt = Receipt(Fate.TRY_LATER, "busy", after_ms=20_000)
    assert settle(tx, push, receipt, NOON_MS, 0.5) is PushState.QUEUED
    after = the_push(tx)
    assert (after.state, after.reason, after.due_at_ms) == ("queued", "later: busy", NOON_MS + 20_500)
    assert after.body == push.body
    assert take_due(tx, TENANT, NOON_MS + 20_499, 10) == []
    assert take_due(tx, TENANT, NOON_MS + 20_500, 10)[0].attempts == 2


def test_try_later_beyond_the_deadline_is_expired(tx):
    push = taken(tx)
    assert settle(tx, push, Receipt(Fate.TRY_LATER, after_ms=LIFE_MS), NOON_MS, 0.5) is PushState.EXPIRED
    assert the_push(tx).body == {}


def test_attempts_end(tx):
    push = taken(tx)
    tx.swap(Push, (TENANT, "push-1"), {}, {"attempts": DEFAULT.max_attempts})
    push = replace(push, attempts=DEFAULT.max_attempts)
    assert settle(tx, push, Receipt(Fate.TRY_LATER, "no"), NOON_MS, 0.5) is PushState.FAILED
    assert the_push(tx).reason == "attempts: no"


def test_what_was_withdrawn_while_being_sent_stays_withdrawn(tx):
    push = taken(tx)
    tx.swap(Push, (TENANT, "push-1"), {}, {"state": "suppressed", "reason": "withdrawn", "due_at_ms": None, "body": {}})
    for fate in Fate:
        assert settle(tx, push, Receipt(fate), NOON_MS, 0.5) is None
    assert (the_push(tx).state, the_push(tx).reason) == ("suppressed", "withdrawn")


def test_a_late_answer_of_a_lost_lease_changes_nothing_unless_it_was_delivered(tx):
    first = taken(tx)
    (second,) = take_due(tx, TENANT, NOON_MS + DEFAULT.lease_ms, 10)
    assert settle(tx, first, Receipt(Fate.TRY_LATER), NOON_MS, 0.5) is None
    assert settle(tx, first, Receipt(Fate.REFUSED), NOON_MS, 0.5) is None
    assert settle(tx, first, Receipt(Fate.DELIVERED), NOON_MS, 0.5) is PushState.SENT
    assert settle(tx, second, Receipt(Fate.DELIVERED), NOON_MS, 0.5) is None


def test_an_erased_person_is_no_error(tx):
    push = taken(tx)
    tx.delete(Push, [(TENANT, "push-1")])
    assert settle(tx, push, Receipt(Fate.DELIVERED), NOON_MS, 0.5) is None


async def test_two_workers_never_send_the_same(store):
    with store.write() as tx:
        for number in range(40):
            queued(tx, number)

    def work():
        got = []
        while True:
            with store.write() as tx:
                found = take_due(tx, TENANT, NOON_MS, 3)
            if not found:
                return got
            got.extend(push.push for push in found)

    results = await asyncio.gather(*(asyncio.to_thread(work) for _ in range(4)))
    sent = [push for result in results for push in result]
    assert len(sent) == len(set(sent)) == 40


fates = st.builds(Receipt, st.sampled_from(list(Fate)), st.just(""), st.none() | st.integers(0, 100_000))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(fates, st.floats(0, 1, exclude_max=True), st.booleans()), max_size=30))
def test_whatever_the_answers_a_push_ends_once_and_is_never_sent_after_its_deadline(answers):
    store = open_store("memory:")
    store.migrate()
    with store.write() as tx:
        push = queued(tx)
        now_ms = NOON_MS
        for receipt, unit, died in answers:
            due_ms = the_push(tx).due_at_ms
            if due_ms is None:
                break
            now_ms = max(now_ms, due_ms)
            found = take_due(tx, TENANT, now_ms, 1)
            if found:
                assert now_ms < push.expires_at_ms
                if not died:
                    settle(tx, found[0], receipt, now_ms, unit)
        after = the_push(tx)
        waiting = after.state in ("queued", "leased")
        assert waiting == (after.due_at_ms is not None) == (after.settled_at_ms is None) == bool(after.body)
    store.close()
