"""The corpus of advertisements, and who decodes it rightly."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.decoding import by_struct, judge, mixed, ours, peers, race
from wire.errors import LocalFault
from wire.ibeacon import APPLE_COMPANY_ID, FRAME_BYTES, decode_ad


@pytest.fixture(scope="module")
def corpus():
    return mixed(1, 20_000)


def test_the_corpus_is_the_same_for_the_same_seed():
    assert mixed(5, 300) == mixed(5, 300)
    assert mixed(5, 300) != mixed(6, 300)


def test_it_holds_what_it_says(corpus):
    share = Counter(one.truth is not None for one in corpus)[True] / len(corpus)
    assert 0.38 < share < 0.42
    apple = [one for one in corpus if APPLE_COMPANY_ID in one.manufacturer]
    assert 0.58 < len(apple) / len(corpus) < 0.64
    assert any(len(one.manufacturer[APPLE_COMPANY_ID]) == FRAME_BYTES and one.truth is None for one in apple), "bent"


def test_what_is_sent_is_what_is_reported(corpus):
    for one in corpus:
        if one.truth is not None:
            assert decode_ad(one.ad) == one.truth


def test_our_decoder_and_the_baseline_are_right_about_all_of_it(corpus):
    assert judge(ours, corpus) == (0, 0)
    assert judge(by_struct, corpus) == (0, 0)


def test_a_decoder_that_guesses_or_raises_is_caught(corpus):
    guesses = judge(lambda manufacturer: None, corpus)
    assert guesses.wrong == sum(one.truth is not None for one in corpus)
    raises = judge(lambda manufacturer: decode_ad(manufacturer[APPLE_COMPANY_ID]), corpus)
    assert raises.raised > 0


def test_both_are_measured_in_turns(corpus):
    rows = race(corpus[:500], 2)
    assert [set(row) for row in rows] == [{"ours", "struct"}] * 2
    assert all(rate > 0 for row in rows for rate in row.values())


def test_peers_that_are_not_installed_are_left_out(corpus):
    assert peers(corpus[:10], 1, Path("/nonexistent/python")) is None


def test_peers_that_do_not_run_are_a_fault_that_says_what_to_do(corpus):
    with pytest.raises(LocalFault, match="make oracles"):
        peers(corpus[:10], 1, Path(sys.executable))
