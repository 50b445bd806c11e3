"""The synthetic shop: plans, ways, signals."""

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators import floorplan
from simulators.radio import Air
from simulators.scene import ShopScene, make_stranger
from simulators.walk import populate
from wire.errors import BadConfig
from wire.ibeacon import decode_ad


@pytest.fixture(scope="module")
def plan():
    return floorplan.load("corner-shop")


def test_every_scenario_that_comes_with_the_package_loads_and_has_everybody_in_it():
    for name in floorplan.names():
        plan = floorplan.load(name)
        assert {crowd.who for crowd in plan.crowd} == {"member", "refuser", "bystander"}
        assert len(plan.edge) >= 3
        assert {"approach", "door", "floor", "till"} <= {zone.kind for zone in plan.zone}


def test_a_scenario_that_does_not_exist_names_those_that_do():
    with pytest.raises(BadConfig, match="corner-shop"):
        floorplan.load("nowhere")


@pytest.mark.parametrize("change", ['habit = "buys"', 'zone = "door"\nat'])
def test_a_scenario_that_points_nowhere_is_refused(tmp_path, change):
    text = (floorplan.files("simulators") / "scenarios/corner-shop.toml").read_text("utf-8")
    assert change in text
    path = tmp_path / "bad.toml"
    path.write_text(text.replace(change, change.replace('"', '"no', 1)))
    with pytest.raises(BadConfig, match="nothing is called"):
        floorplan.load(str(path))


def test_the_same_seed_brings_the_same_people_on_the_same_ways(plan):
    assert populate(plan, 7) == populate(plan, 7)
    assert populate(plan, 7) != populate(plan, 8)


@given(st.integers(0, 10_000))
def test_nobody_jumps_and_nobody_runs(seed):
    plan = floorplan.load("corner-shop")
    for person in populate(plan, seed)[:4]:
        walk = person.walk
        assert list(walk.times_s) == sorted(walk.times_s)
        steps = range(int(walk.times_s[0] * 10) + 1, int(walk.end_s * 10))
        places = [walk.at(step / 10) for step in steps]
        assert None not in places
        assert all(math.dist(a, b) <= 0.16 for a, b in itertools.pairwise(places))
        assert walk.at(walk.end_s) is None
        assert walk.at(walk.times_s[0] - 0.001) is None


def test_who_buys_is_at_the_till_when_they_redeem(plan):
    zones = [plan.zone_at(p.walk.at(t)) for p in populate(plan, 1) for t in p.walk.redeem_s]
    assert zones
    assert set(zones) == {"tills"}


def test_signals_fall_with_distance_and_walls_dampen_them(plan):
    def mean(at, edge_at):
        found = []
        for seed in range(60):
            air = Air(plan, random.Random(seed))
            found += [air.receive("p", at, "e", edge_at) for _ in range(20)]
        return statistics.mean(one for one in found if one is not None)

    near, far = mean((5, 5), (6, 5)), mean((5, 5), (13, 5))
    assert near - far == pytest.approx(10 * plan.radio.exponent * math.log10(8), abs=2.5)
    through = mean((5, -2), (5, 2))
    free = mean((12.5, -2), (12.5, 2))
    assert free - through == pytest.approx(10.0, abs=2.5)


def test_loss_comes_in_bursts_and_in_the_expected_share(plan):
    air = Air(plan, random.Random(3))
    heard = [air.receive("p", (5, 5), "e", (6, 5)) is not None for _ in range(40_000)]
    radio = plan.radio
    bad = radio.good_to_bad / (radio.good_to_bad + radio.bad_to_good)
    expected = (1 - bad) * radio.loss_good + bad * radio.loss_bad
    assert heard.count(False) / len(heard) == pytest.approx(expected, abs=0.01)
    after_loss = [b for a, b in itertools.pairwise(heard) if not a]
    assert after_loss.count(False) / len(after_loss) > 2 * expected


def test_strangers_are_not_ours_and_leave_identifiers_to_look_for():
    dice = random.Random(1)
    for number in range(9):
        stranger = make_stranger(number, dice)
        traces = stranger.traces()
        assert all(len(trace) >= 12 for trace in traces)
        beacon = decode_ad(stranger.adv)
        assert beacon is None or beacon.uuid[0] == 0xF0


def test_the_scene_sets_the_place_up_whole(plan):
    scene = ShopScene(plan, 1)
    assert [edge.edge for edge in scene.place.edges] == [edge.id for edge in plan.edge]
    assert len(scene.place.cast) == sum(crowd.count for crowd in plan.crowd)
