"""One winner, whatever the race."""

import threading

import pytest

from hub.core.grants import Denied, Place, code_hash, issue
from hub.core.model import Grant, Redemption
from hub.core.offers import read_body
from hub.core.states import GrantState
from hub.stores import open_store
from hub.usecases.redeem import RedeemRequest, redeem
from tests.hub.build import NOON_MS, TENANT, Ids, offer

TILLS = 64
ROUNDS = 8  # a race has many ways to end: one round may miss the bad one


def request(pos="till-1", code="secret"):
    return RedeemRequest(TENANT, code_hash(code), "s1", pos, 10_000, "EUR")


def grant(store, name="g1", code="secret"):
    row = offer()
    place = Place(TENANT, name, f"p-{name}", "s1", f"v-{name}", f"x-{name}")
    with store.write() as tx:
        tx.put([issue(row, read_body(row.body), place, code_hash(code), NOON_MS)])


@pytest.fixture
def granted(store):
    grant(store)
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


def race(stores, code="secret", ids=None):
    """64 tills at once, spread over these openings of one store; what each was told."""
    gate, answers, lock, ids = threading.Barrier(TILLS), [], threading.Lock(), ids or Ids()

    def till(number):
        gate.wait()
        with stores[number % len(stores)].write() as tx:
            with lock:
                mine = Ids()
                mine.count = ids.count = ids.count + 1000
            answer = redeem(tx, request(f"till-{number}", code), NOON_MS + 1000, mine)
        with lock:
            answers.append(answer)

    threads = [threading.Thread(target=till, args=(number,)) for number in range(TILLS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def check_one_winner(store, answers):
    won = [answer for answer in answers if isinstance(answer, Redemption)]
    refused = [answer for answer in answers if isinstance(answer, Denied)]
    assert len(won) == 1
    assert [answer.reason for answer in refused] == ["already_redeemed"] * (TILLS - 1)
    with store.read() as tx:
        assert tx.find(Redemption, {"tenant": TENANT, "grant": won[0].grant}) == won


def test_of_64_racing_tills_exactly_one_wins(granted):
    check_one_winner(granted, race([granted]))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def openings(request, tmp_path):
    """Two openings of one store, as two programs have them: nothing but the database stands between them."""
    url = f"sqlite:{tmp_path / 'hub.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_server").database()
    found = [open_store(url), open_store(url)]
    found[0].migrate()
    yield found
    for one in found:
        one.close()


def test_of_64_tills_at_two_hubs_on_one_database_exactly_one_wins(openings):
    ids = Ids()
    for number in range(ROUNDS):
        name, code = f"g{number}", f"secret{number}"
        grant(openings[number % 2], name, code)
        answers = race(openings, code, ids)
        for store in openings:
            check_one_winner(store, answers)
