"""A promise keeps its terms; an arrival freezes it; a till gets exactly the curve."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core import grants
from hub.core.grants import Denied, Place, Terms
from hub.core.offers import read_body
from hub.core.states import GrantState
from tests.hub.build import NOON_MS, offer

HOLD_MS = 1_200_000
LIFE_MS = 600_000


def grant(**changes):
    row = offer(**changes)
    place = Place("default", "g1", "p1", "s1", "v1", "x1")
    return grants.issue(row, read_body(row.body), place, grants.code_hash("abc"), NOON_MS)


def till(held, after_ms, basket_minor=10_000, store="s1", currency="EUR"):
    return grants.terms(held, store, basket_minor, currency, NOON_MS + after_ms)


def locked(after_ms, error_ms=0, received_ms=None):
    at_ms = NOON_MS + after_ms
    return grants.lock(grant(), at_ms, error_ms, at_ms if received_ms is None else NOON_MS + received_ms, HOLD_MS)


def test_the_value_falls_until_the_till():
    assert till(grant(), 0) == Terms(3000, 3000, NOON_MS)
    assert till(grant(), LIFE_MS // 2) == Terms(1750, 1750, NOON_MS + LIFE_MS // 2)
    assert till(grant(), LIFE_MS) == Terms(500, 500, NOON_MS + LIFE_MS)
    assert till(grant(), LIFE_MS + 1).reason == "expired"


def test_an_arrival_freezes_the_value_for_the_hold():
    held = locked(60_000)
    assert (held.state, held.lock_bp) == (GrantState.LOCKED, 2750)
    assert till(held, 60_000 + HOLD_MS) == Terms(2750, 2750, NOON_MS + 60_000)
    assert till(held, 60_001 + HOLD_MS).reason == "expired"


def test_a_lapsed_lock_falls_back_to_the_curve():
    row = offer(curve={"kind": "linear", "start_bp": 3000, "floor_bp": 0, "life_ms": 7_200_000})
    place = Place("default", "g1", "p1", "s1", "v1", "x1")
    slow = grants.issue(row, read_body(row.body), place, "h", NOON_MS)
    held = grants.lock(slow, NOON_MS, 0, NOON_MS, HOLD_MS)
    assert till(held, 3_600_000).value_bp == 1500


def test_one_lock_per_grant():
    assert grants.lock(locked(0), NOON_MS + 1, 0, NOON_MS + 1, HOLD_MS) is None


def test_an_arrival_after_the_end_revives_nothing():
    assert locked(LIFE_MS + 10_000) is None


@pytest.mark.parametrize(
    ("at_ms", "error_ms", "received_ms", "t_lock_ms"),
    [
        (60_000, 0, 60_100, 60_000),
        (60_000, 3_000, 60_100, 57_000),  # the doubt is the shopper's
        (60_000, 90_000, 60_100, 55_000),  # but a bad clock decides about 5 s at most
        (-60_000, 0, 100, 0),  # a late door event: never before the issue
        (99_000, 0, 60_000, 60_000),  # never after its receipt
    ],
)
def test_the_instant_of_the_lock(at_ms, error_ms, received_ms, t_lock_ms):
    assert grants.lock_instant(0, at_ms, error_ms, received_ms) == t_lock_ms


@pytest.mark.parametrize(
    ("held", "asked", "reason"),
    [
        ({}, {"store": "s2"}, "wrong_store"),
        ({}, {"currency": "USD"}, "wrong_currency"),
        ({"min_basket_minor": 10_001}, {}, "basket_too_small"),
        ({"state": GrantState.REDEEMED}, {}, "already_redeemed"),
        ({"state": GrantState.REVERSED}, {}, "already_redeemed"),
        ({"state": GrantState.REVOKED}, {}, "revoked"),
        ({"state": GrantState.DECLINED}, {}, "revoked"),
    ],
)
def test_what_a_till_may_not(held, asked, reason):
    answer = till(replace(grant(), **held), 0, **asked)
    assert isinstance(answer, Denied)
    assert answer.reason == reason
    assert answer.detail


def test_the_discount_is_capped_and_never_more_than_the_basket():
    assert till(grant(max_discount_minor=100), 0).discount_minor == 100
    assert till(grant(curve={"kind": "cliff", "start_bp": 10_000, "floor_bp": 0, "life_ms": 10}), 0, 7) == Terms(
        10_000, 7, NOON_MS
    )


@given(st.integers(0, LIFE_MS), st.integers(0, 10**9))
def test_money_rounds_in_the_shoppers_favour(after_ms, basket_minor):
    answer = till(grant(), after_ms, basket_minor)
    assert answer.discount_minor * 10_000 >= basket_minor * answer.value_bp
    assert (answer.discount_minor - 1) * 10_000 < basket_minor * answer.value_bp


def test_a_code_needs_the_key_and_survives_a_keyboard():
    code = grants.grant_code(bytes(32), "g1")
    assert len(code) == 24
    assert code != grants.grant_code(bytes([1]) * 32, "g1")
    assert grants.code_hash(f" {code.upper()}\n") == grants.code_hash(code)
