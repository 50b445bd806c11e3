"""One winner, whatever the race."""

import threading

import pytest

from hub.core.grants import Denied, Place, code_hash, issue
from hub.core.model import Grant, Redemption
from hub.core.offers import read_body
from hub.core.states import GrantState
from hub.usecases.redeem import RedeemRequest, redeem
from tests.hub.build import NOON_MS, TENANT, Ids, offer

TILLS = 64


def request(pos="till-1", code="secret"):
    return RedeemRequest(TENANT, code_hash(code), "s1", pos, 10_000, "EUR")


@pytest.fixture
def granted(store):
    row = offer()
    place = Place(TENANT, "g1", "p1", "s1", "v1", "x1")
    with store.write() as tx:
        tx.put([issue(row, read_body(row.body), place, code_hash("secret"), NOON_MS)])
    return store


def test_a_till_redeems_once(granted):
    with granted.write() as tx:
        done = redeem(tx, request(), NOON_MS + 300_000, Ids())
    assert (done.value_bp, done.discount_minor, done.t_lock_ms) == (1750, 1750, NOON_MS + 300_000)
    with granted.write() as tx:
        assert redeem(tx, request("till-2"), NOON_MS + 300_001, Ids()).reason == "already_redeemed"
        (grant,) = tx.get(Grant, [(TENANT, "g1")])
    assert (grant.state, grant.lock_bp, grant.lock_at_ms) == (GrantState.REDEEMED, 1750, NOON_MS + 300_000)


def test_an_unknown_code_says_so(granted):
    with granted.write() as tx:
        assert redeem(tx, request(code="guess"), NOON_MS, Ids()).reason == "unknown_code"


def race(store):
    """64 tills at once; what each was told."""
    gate, answers, lock, ids = threading.Barrier(TILLS), [], threading.Lock(), Ids()

    def till(number):
        gate.wait()
        with store.write() as tx:
            with lock:
                mine = Ids()
                mine.count = ids.count = ids.count + 1000
            answer = redeem(tx, request(f"till-{number}"), NOON_MS + 1000, mine)
        with lock:
            answers.append(answer)

    threads = [threading.Thread(target=till, args=(number,)) for number in range(TILLS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def test_of_64_racing_tills_exactly_one_wins(granted):
    answers = race(granted)
    won = [answer for answer in answers if isinstance(answer, Redemption)]
    refused = [answer for answer in answers if isinstance(answer, Denied)]
    assert len(won) == 1
    assert [answer.reason for answer in refused] == ["already_redeemed"] * (TILLS - 1)
    with granted.read() as tx:
        assert tx.find(Redemption, {"tenant": TENANT}) == won
