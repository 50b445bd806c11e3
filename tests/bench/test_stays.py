"""The judge of visits: it is not fooled, and the whole path passes it."""

import pytest

from bench.naive_presence import NaivePresence
from bench.stays import Found, Verdict, delays, engine_visits, hub_visits, judge, key_of
from edge.core.presence import Fact, Gates, PresenceEngine
from simulators.corpus import Corpus, Law, Stay, make_corpus

LAW = Law(people=12, visits=18, walkbys=36, span_s=4_000.0, visit_s=(180.0, 400.0))


def corpus_of(*visits, walkbys=()):
    return Corpus(Law(), 0, tuple(visits), tuple(walkbys), (), ())


VISIT = Stay(1, 100_000, 400_000)
RIGHT = Found(1, 104_000, 399_000)


@pytest.mark.parametrize(
    ("found", "fate"),
    [
        ([RIGHT], "exact"),
        ([Found(1, 40_001, 459_999)], "exact"),
        ([], "missed"),
        ([Found(1, 104_000, 200_000), Found(1, 250_000, 399_000)], "split"),
        ([Found(1, 165_000, 399_000)], "frayed"),
        ([Found(1, 104_000, 335_000)], "frayed"),
        ([Found(1, 104_000, 465_000)], "frayed"),
    ],
)
def test_a_visit_is_exact_when_one_visit_covers_it(found, fate):
    verdict = judge(corpus_of(VISIT), found)
    assert verdict._asdict() == {**dict.fromkeys(Verdict._fields, 0), fate: 1}


def test_one_visit_found_for_two_is_none_of_them():
    verdict = judge(corpus_of(VISIT, Stay(1, 800_000, 900_000)), [Found(1, 100_000, 900_000)])
    assert (verdict.exact, verdict.merged) == (0, 2)


def test_somebody_elses_visit_is_not_mine():
    verdict = judge(corpus_of(VISIT), [RIGHT._replace(who=2)])
    assert (verdict.missed, verdict.walkbys_taken) == (1, 1)


def test_a_visit_opened_by_a_walkby_is_caught():
    walkby = Stay(1, 900_000, 912_000)
    verdict = judge(corpus_of(VISIT, walkbys=[walkby]), [RIGHT, Found(1, 903_000, 911_000)])
    assert (verdict.exact, verdict.walkbys_taken) == (1, 1)


class Flapping:
    """An engine that lets in with the first advertisement and out 5 s after the last."""

    def __init__(self, exit_ms=5_000):
        self.exit_ms, self.last_ms = exit_ms, {}

    def hear(self, key, rssi_dbm, at_ms):
        facts = [] if key in self.last_ms else [Fact("enter", key, at_ms, at_ms, at_ms, rssi_dbm, 0.0, 1, 0)]
        self.last_ms[key] = at_ms
        return facts

    def advance(self, now_ms):
        gone = [key for key, last_ms in self.last_ms.items() if last_ms + self.exit_ms <= now_ms]
        return [Fact("exit", key, at_ms, at_ms, at_ms, -70.0, 0.0, 0, 0) for key in gone
                for at_ms in [self.last_ms.pop(key)]]  # fmt: skip

    def due_ms(self):
        return min(self.last_ms.values(), default=None)


def _is_of(advert, stay):
    return advert.who == stay.who and stay.from_ms <= advert.at_ms <= stay.to_ms


def test_a_flapping_engine_scores_low_and_takes_walkbys_for_visits():
    corpus = make_corpus(1, LAW)
    alone = judge(corpus, engine_visits(corpus, Flapping()))
    assert alone.exact == 0
    assert alone.split == len(corpus.visits)
    heard = [stay for stay in corpus.walkbys if any(_is_of(advert, stay) for advert in corpus.adverts)]
    assert alone.walkbys_taken >= len(heard) > 30
    with_hub = judge(corpus, hub_visits(corpus, Flapping()))
    assert with_hub.walkbys_taken == len(heard), "the hub's grace mends the flapping, not the walk-bys"


def test_an_engine_deaf_to_everybody_misses_every_visit():
    corpus = make_corpus(1, LAW)
    deaf = PresenceEngine(Gates(enter_dbm=-20.0, strong_dbm=-20.0))
    assert judge(corpus, hub_visits(corpus, deaf)).missed == len(corpus.visits)


def test_the_whole_path_finds_the_visits_and_nobody_else():
    corpus = make_corpus(5, LAW)
    verdict = judge(corpus, hub_visits(corpus, PresenceEngine(Gates())))
    assert verdict.walkbys_taken == 0
    assert verdict.exact >= len(corpus.visits) - 1
    assert sum(verdict[:5]) == len(corpus.visits)


def test_the_news_of_an_exit_comes_after_the_silence_of_the_engine():
    corpus = make_corpus(5, LAW)
    ours, naive = delays(corpus, PresenceEngine(Gates())), delays(corpus, NaivePresence())
    assert all(0 <= delay_s <= 180 for delay_s in ours.enters_s)
    assert 25 <= sorted(ours.exits_s)[len(ours.exits_s) // 2] <= 35
    assert 55 <= sorted(naive.exits_s)[len(naive.exits_s) // 2] <= 65


def test_keys_are_of_one_fleet_and_tell_people_apart():
    keys = {key_of(who) for who in range(300)}
    assert len(keys) == 300
    assert {len(key) for key in keys} == {20}
    assert len({key[:4] for key in keys}) == 1
