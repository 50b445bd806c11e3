"""A plan follows from its seed and from nothing else."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from simulators.chaos.plan import KILL, PAUSE, RESIDENT, STUMBLE, make_plan

EDGES = ("edge-door", "edge-floor")


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_the_same_seed_makes_the_same_choices(seed, rounds):
    plan = make_plan(seed, rounds, EDGES)
    assert plan == make_plan(seed, rounds, EDGES)
    assert [one.number for one in plan] == list(range(1, rounds + 1))
    assert make_plan(seed, rounds + 10, EDGES)[:rounds] == plan, "more rounds change none of the first"


@given(st.integers(0, 2**32))
def test_guests_come_once_move_only_while_there_and_leave_once(seed):
    there, gone = set(), set()
    for one in make_plan(seed, 60, EDGES):
        for name in one.go:
            there.remove(name)
            gone.add(name)
        assert {name for name, _ in one.move} <= there
        for arrival in one.come:
            assert arrival.name not in there | gone
            if arrival.name != RESIDENT:
                there.add(arrival.name)
        assert len({blow.victim for blow in one.blows}) == len(one.blows) >= 1
    assert gone


def test_two_hundred_rounds_hit_everybody_in_every_way():
    plan = make_plan(1, 200, EDGES)
    hits = Counter((blow.what, blow.victim) for one in plan for blow in one.blows)
    assert set(hits) == {(what, victim) for what in (KILL, PAUSE, STUMBLE) for victim in ("hub", "broker", *EDGES)}
    assert any(len(one.blows) == 2 for one in plan)
    assert not all(one.rest for one in plan)
    assert {arrival.who for one in plan for arrival in one.come} == {"member", "refuser", "stranger"}


def test_other_seeds_choose_otherwise():
    assert make_plan(1, 20, EDGES) != make_plan(2, 20, EDGES)
