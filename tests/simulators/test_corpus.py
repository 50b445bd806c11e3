"""The hard corpus: the same for the same seed, and its law holds whatever the parameters."""

import re
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.corpus import Law, make_corpus

SMALL = Law(people=5, visits=8, walkbys=13, visit_s=(60.0, 300.0), span_s=4_000.0)

laws = st.builds(
    Law,
    people=st.integers(1, 6),
    visits=st.integers(0, 10),
    walkbys=st.integers(0, 12),
    span_s=st.just(20_000.0),
    visit_s=st.tuples(st.floats(20, 200), st.floats(200, 600)),
    dropout_every_s=st.floats(30, 400),
    dropout_apart_s=st.floats(5, 40),
    advert_s=st.tuples(st.floats(0.2, 1), st.floats(1, 3)),
    fading_db=st.floats(0, 6),
    loss_good=st.floats(0, 0.5),
)


def by_person(stays):
    found = {}
    for stay in stays:
        found.setdefault(stay.who, []).append(stay)
    return found


def inside(stays, at_ms):
    return [stay for stay in stays if stay.from_ms <= at_ms <= stay.to_ms]


def test_the_same_seed_gives_the_same_corpus_and_another_one_another():
    assert make_corpus(7, SMALL) == make_corpus(7, SMALL)
    assert make_corpus(7, SMALL).adverts != make_corpus(8, SMALL).adverts


def test_by_default_it_is_232_visits_of_150_people_and_439_walkbys():
    corpus = make_corpus(3)
    assert (len(corpus.visits), len(corpus.walkbys)) == (232, 439)
    assert {visit.who for visit in corpus.visits} == set(range(150))
    seconds = sum(visit.to_ms - visit.from_ms for visit in corpus.visits) / 1000
    silent = sum(gap.to_ms - gap.from_ms for gap in corpus.dropouts) / 1000
    assert 0.6 < len(corpus.adverts) / (seconds - silent) < 1.1, "about one a second from everybody"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1_000_000), laws)
def test_stays_keep_to_their_lengths_and_apart(seed, law):
    corpus = make_corpus(seed, law)
    assert len(corpus.visits) == law.visits
    assert len(corpus.walkbys) == law.walkbys
    for stays, (least_s, most_s) in ((corpus.visits, law.visit_s), (corpus.walkbys, law.walkby_s)):
        assert list(stays) == sorted(stays, key=lambda stay: stay.from_ms)
        for stay in stays:
            assert 0 <= stay.from_ms <= stay.to_ms <= law.span_s * 1000 + 1
            assert least_s * 1000 - 1 <= stay.to_ms - stay.from_ms <= most_s * 1000 + 1
    for mine in by_person(sorted(corpus.visits + corpus.walkbys, key=lambda stay: stay.from_ms)).values():
        assert all(later.from_ms - earlier.to_ms >= law.apart_s * 1000 - 1 for earlier, later in pairwise(mine))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1_000_000), laws)
def test_dropouts_lie_within_visits_and_nothing_is_heard_in_them(seed, law):
    corpus = make_corpus(seed, law)
    visits, gaps = by_person(corpus.visits), by_person(corpus.dropouts)
    edge_ms = law.dropout_apart_s * 1000 - 1
    for gap in corpus.dropouts:
        (visit,) = inside(visits[gap.who], gap.from_ms)
        assert visit.from_ms + edge_ms <= gap.from_ms
        assert gap.to_ms <= visit.to_ms - edge_ms
        assert law.dropout_s[0] * 1000 - 1 <= gap.to_ms - gap.from_ms <= law.dropout_s[1] * 1000 + 1
    for mine in gaps.values():
        assert all(later.from_ms - earlier.to_ms >= edge_ms for earlier, later in pairwise(mine))
    for advert in corpus.adverts:
        assert not inside(gaps.get(advert.who, ()), advert.at_ms)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1_000_000), laws)
def test_people_are_heard_only_while_they_are_near_at_their_own_pace_in_order_of_time(seed, law):
    corpus = make_corpus(seed, law)
    stays, last_ms = by_person(corpus.visits + corpus.walkbys), {}
    assert list(corpus.adverts) == sorted(corpus.adverts)
    for advert in corpus.adverts:
        assert inside(stays[advert.who], advert.at_ms)
        assert law.floor_dbm <= advert.rssi_dbm <= -20
        if advert.who in last_ms:
            assert advert.at_ms - last_ms[advert.who] >= law.advert_s[0] * 1000 - 2
        last_ms[advert.who] = advert.at_ms


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1_000_000))
def test_but_for_fading_a_walkby_is_never_above_its_bound(seed):
    law = Law(people=5, visits=0, walkbys=30, fading_db=0.0)
    corpus = make_corpus(seed, law)
    assert corpus.adverts
    assert max(advert.rssi_dbm for advert in corpus.adverts) <= law.walkby_dbm


def test_levels_inside_vary_as_the_law_says():
    law = Law(people=40, visits=80, walkbys=0, floor_dbm=-200.0)
    levels = [advert.rssi_dbm for advert in make_corpus(1, law).adverts]
    mean = sum(levels) / len(levels)
    sd = (sum((level - mean) ** 2 for level in levels) / len(levels)) ** 0.5
    whole = (law.inside_sd_db**2 + law.slow_sd_db**2 + law.fading_db**2) ** 0.5
    assert mean == pytest.approx(law.inside_dbm, abs=2)
    assert sd == pytest.approx(whole, abs=1.5)


def test_without_dropouts_a_visit_too_short_for_them_stays_whole():
    corpus = make_corpus(1, Law(people=1, visits=1, walkbys=0, visit_s=(40.0, 40.0)))
    assert corpus.dropouts == ()
    assert corpus.adverts


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="widen span_s"):
        make_corpus(1, Law(people=1, visits=20, walkbys=0, span_s=3_600.0))


def test_the_law_is_documented_as_it_is():
    page = (Path(__file__).parents[2] / "docs" / "bench.md").read_text("utf-8")
    said = dict(re.findall(r"^\| `(\w+)` \| ([-–.0-9]+) \|", page, re.MULTILINE))
    law = {
        name: "–".join(f"{one:g}" for one in value) if isinstance(value, tuple) else f"{value:g}"
        for name, value in asdict(Law()).items()
    }
    assert said == law
