"""A fast run is as fast as its slowest program, and never faster than was asked for."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.adapters.clocks import clocks_of
from hub.main.clock import PacedClock
from simulators.tempo import LATE_MS, Tempo, next_rate
from wire.errors import BadConfig
from wire.pace import MIN_RATE, Pace


def pace(rate, ceiling=50.0):
    return Pace(0, 0, rate, ceiling)


def test_the_governor_slows_for_a_backlog_holds_near_it_and_hurries_without():
    assert next_rate(pace(10.0), LATE_MS + 1) < 10.0
    assert next_rate(pace(10.0), LATE_MS) == 10.0
    assert next_rate(pace(10.0), 0) > 10.0
    assert next_rate(pace(50.0), 0) == 50.0


@given(st.lists(st.integers(0, 5_000), max_size=300))
def test_the_rate_stays_within_bounds(backlogs):
    rate = 1.0
    for backlog_ms in backlogs:
        rate = next_rate(pace(rate), backlog_ms)
        assert MIN_RATE <= rate <= 50.0


def test_it_settles_where_the_slowest_keeps_up():
    """A program that needs 20 real ms for whatever comes is 20 · rate virtual ms late."""
    rate, seen = 1.0, []
    for _ in range(400):
        rate = next_rate(pace(rate), int(20 * rate))
        seen.append(rate)
    assert all(6.0 < one <= 15.0 for one in seen[200:])


@pytest.mark.parametrize("ceiling", [0, 0.5, -1, 10_000, float("nan"), float("inf")])
def test_a_speed_that_makes_no_sense_is_refused(tmp_path, ceiling):
    with pytest.raises(BadConfig, match="--speed"):
        Tempo(ceiling, tmp_path)


def test_real_time_needs_no_file(tmp_path):
    assert Tempo(1, tmp_path).file is None
    assert not list(tmp_path.iterdir())


async def test_every_program_reads_the_same_time(tmp_path):
    tempo = Tempo(20, tmp_path)
    hub, edge = PacedClock(tempo.file, 0), clocks_of(tempo.file, 1)
    tempo.hurry()
    start_s = tempo.steady_s()
    await tempo.until(start_s + 5)
    assert tempo.rate > 1, "nobody is late, so time runs faster"
    for read in (hub.now_ms, edge.boot_ms, edge.wall_ms):
        before = tempo.now_ms()
        assert before <= read() <= tempo.now_ms() + 1
    assert edge.stamp().synced
    assert edge.stamp().offset_ms == 0
    await tempo.calm()
    assert tempo.rate == 1.0
    tempo.close()


async def test_who_is_late_slows_everybody_down(tmp_path):
    tempo = Tempo(1000, tmp_path)
    edge = clocks_of(tempo.file, 1)
    tempo.hurry()
    await tempo.until(tempo.steady_s() + 5)
    fastest = tempo.rate
    slowed = asyncio.Event()

    async def be_late():
        while tempo.rate >= fastest / 2:
            edge.behind(10_000)
            await asyncio.sleep(0.005)  # reports come as often as turns of an edge
        slowed.set()

    task = asyncio.create_task(be_late())
    async with asyncio.timeout(30):
        await slowed.wait()
    await task
    await tempo.calm()
    tempo.close()


async def test_pauses_and_time_outs_follow_the_rate(tmp_path):
    tempo = Tempo(50, tmp_path)
    hub, edge = PacedClock(tempo.file, 0), clocks_of(tempo.file, 1)
    assert hub.most_ms(2.0) == 100_000, "a time-out is real: at the ceiling this much may pass in it"
    assert hub.pause_s(40) == pytest.approx(0.04)
    assert hub.pause_s(3_600_000) == edge.pause_s(3_600_000) < 1, "the rate may rise: look again soon"
    assert hub.pause_s(-5) == 0
    tempo.close()


@pytest.mark.parametrize("content", [None, b"", b"x" * 4096])
def test_what_is_no_pace_file_stops_a_program_with_a_clear_word(tmp_path, content):
    path = tmp_path / "pace"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadConfig, match="pace"):
        PacedClock(path, 0)
    with pytest.raises(BadConfig, match="pace"):
        clocks_of(path, 0)
