"""A broker restarts, and all its edges come back at once: not in one blow."""

import asyncio
import subprocess
import sys
import threading
from bisect import bisect_left

import pytest

from edge.adapters.publisher import FIRST_PAUSE_S, STEADY_MS
from tests.e2e.system import Program, accepts, free_port, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WINDOW_MS = 100
RESTARTS = 3
"""The quietest of so many counts: a machine that stalls drives knocks together, and nothing drives them apart."""

PER_PROCESS = 150
"""Three files each (two for paho to wake itself), and paho's `select` takes no file beyond 1,023."""


def cap(edges):
    """Most CONNECTs in any 100 ms.

    Full jitter spreads N edges evenly over `FIRST_PAUSE_S` = 1 s: 30 of 300 in a window, a Poisson count. The fullest
    of some hundred overlapping windows has about 30 + 4·√30 = 52. Those that knock in vain come again within 2 s,
    which adds 15 per window at most. The rest up to a third of N is for a machine that stalls for 100 ms. Without
    jitter all N come in one window, with jitter over a fifth of a second half of them: both break the cap every time.
    """
    return edges // 3


class Group:
    """Processes of the drill; `lines` counts what they printed."""

    def __init__(self, *args):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.herd", *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.lines = []
        self.reading = threading.Thread(target=self._read)
        self.reading.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    async def end(self):
        self.process.stdin.close()
        try:
            await asyncio.to_thread(self.process.wait, 20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        await asyncio.to_thread(self.reading.join, 20)
        self.process.stdout.close()


def fullest(times_ms):
    """Most instants in any window."""
    times_ms = sorted(times_ms)
    return max(bisect_left(times_ms, at_ms + WINDOW_MS) - place for place, at_ms in enumerate(times_ms))


@pytest.mark.parametrize("edges", [300, pytest.param(900, marks=pytest.mark.long)])
async def test_edges_that_lost_their_broker_come_back_spread_out(tmp_path, edges):
    port, door = free_port(), free_port()
    broker = Program(tmp_path, "broker", "hub", "broker", "--port", str(port)).start()
    await until(lambda: accepts(port), "the broker listens")
    gate = Group("gate", door, port)
    await until(lambda: accepts(door), "the gate is open")
    herd = [Group("edges", door, first, min(PER_PROCESS, edges - first)) for first in range(0, edges, PER_PROCESS)]
    try:

        def connected():
            return sum(len(group.lines) for group in herd)

        fewest = edges
        for restart in range(1, RESTARTS + 1):
            await until(lambda n=restart: connected() >= n * edges, "every edge is connected")
            if fewest <= cap(edges):
                break
            await asyncio.sleep(STEADY_MS / 1000)  # from here a connection counts as steady: the worst case for a herd
            before = len(gate.lines)
            broker.kill()
            broker.start()
            await until(lambda n=restart: connected() >= (n + 1) * edges, "every edge is connected again")
            knocks = [int(line) for line in gate.lines[before:]]
            assert len(knocks) >= edges
            fewest = min(fewest, fullest(knocks))
            print(f"{edges} edges: {len(knocks)} CONNECTs, at most {fullest(knocks)} within {WINDOW_MS} ms")
        assert fewest <= cap(edges), f"{fewest} CONNECTs within {WINDOW_MS} ms at the best of {RESTARTS} restarts"
    finally:
        for group in (*herd, gate):
            await group.end()
        broker.stop(20)


def test_a_herd_would_be_noticed():
    assert fullest([0] * 300) > cap(300)
    assert fullest([n / 300 * 200 for n in range(300)]) > cap(300)
    assert fullest([n / 300 * FIRST_PAUSE_S * 1_000 for n in range(300)]) < cap(300)
