"""The drills of `doorchime sim chaos`: short ones one after the other, and with `make test-long` all in full length."""

import random

import pytest

from simulators.chaos import drills
from simulators.chaos.arena import Arena
from tests.e2e.chaos_run import chaos, check_kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


async def test_an_empty_broker_a_pause_and_an_ugly_wire_one_after_the_other(tmp_path):
    seed = random.randrange(1_000_000)
    options = drills.Options(seed, rounds=6, pause_s=6.0, say=lambda _: None)
    async with Arena(tmp_path, seed, None) as arena:
        for name in ("empty-broker", "pause", "proxy"):
            await drills.DRILLS[name].run(arena, options)
        verdict = await arena.finish()
    assert verdict.violations == [], f"seed {seed}"
    assert verdict.figures["events_sent_again"] > 0


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("broker", ["iotcore", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def test_two_hundred_rounds(tmp_path, broker):
    check_kept(*chaos(tmp_path, "--rounds", "200", "--broker", broker, within_s=1700))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("drill", ["empty-broker", "pause", "proxy"])
@pytest.mark.parametrize("broker", ["iotcore", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def test_every_drill_in_full_length(tmp_path, broker, drill):
    check_kept(*chaos(tmp_path, "--drill", drill, "--broker", broker, within_s=1700))
