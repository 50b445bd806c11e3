"""Time of a demonstration: the world's, or faster, as fast as the slowest program of it keeps up."""

import asyncio
import contextlib
import mmap
from pathlib import Path

from simulators import clock
from wire.errors import BadConfig
from wire.pace import FILE_BYTES, MAX_RATE, MIN_RATE, SLOTS, Pace, report_backlog, take_backlogs, write_pace

SCENE_SLOT = SLOTS - 1
"""Where the scene itself says how late it is."""

LATE_MS = 250
"""Backlog of anybody from which time must run slower, virtual ms: a quarter of an edge's sample interval, so that
what is decided in a fast run is what would be decided in a real one."""

LOOK_S = 0.02
"""How often the governor looks, s: ten times within the shortest stall that a loaded machine makes."""

SLOWER, FASTER = 0.7, 1.06
"""Factors per look. Down in a few looks, up tenfold within a second: a stall costs a second, not the run."""


def next_rate(pace: Pace, backlog_ms: int) -> float:
    """The rate after a look, real seconds into virtual ones."""
    if backlog_ms > LATE_MS:
        return max(pace.rate * SLOWER, MIN_RATE)
    if backlog_ms > LATE_MS // 2:
        return pace.rate
    return min(pace.rate * FASTER, pace.ceiling)


class Tempo:
    """Runs at most `ceiling` times as fast as the world. At 1 there is no file and programs use their own clocks.

    Raises:
        BadConfig: a ceiling that makes no sense.
    """

    def __init__(self, ceiling: float, folder: Path) -> None:
        if not 1 <= ceiling <= MAX_RATE:
            raise BadConfig(f"--speed {ceiling:g}: choose from 1 (real time) to {MAX_RATE:g}")
        self.ceiling = ceiling
        self.file: Path | None = None
        self._buffer: mmap.mmap | None = None
        self._task: asyncio.Task[None] | None = None
        self._origin_ns = clock.now_ms() * 1_000_000
        self._pace = Pace(clock.steady_ns(), self._origin_ns, 1.0, ceiling)
        if ceiling > 1:
            self.file = folder / "pace"
            self.file.write_bytes(bytes(FILE_BYTES))
            with self.file.open("r+b") as file:
                self._buffer = mmap.mmap(file.fileno(), FILE_BYTES)
            write_pace(self._buffer, self._pace)

    def now_ms(self) -> int:
        """Unix ms of the demonstration."""
        return self._pace.at_ns(clock.steady_ns()) // 1_000_000

    def steady_s(self) -> float:
        """Seconds of the demonstration that have passed."""
        return (self._pace.at_ns(clock.steady_ns()) - self._origin_ns) / 1e9

    @property
    def rate(self) -> float:
        """How fast time runs just now."""
        return self._pace.rate

    async def until(self, at_s: float) -> None:
        """Return when `steady_s` has reached `at_s`; who comes late says so."""
        while (left_s := at_s - self.steady_s()) > 0:  # noqa: ASYNC110 (nobody signals that time has passed)
            await asyncio.sleep(min(left_s / self._pace.rate, clock.LONGEST_SLEEP_S))
        if self._buffer is not None:
            self.behind(int(-left_s * 1000))
            await asyncio.sleep(0)  # a scene that is late must not keep the governor from its work

    def behind(self, ms: int) -> None:
        """Hear how late something of the scene is, virtual ms. From any thread."""
        if self._buffer is not None:
            report_backlog(self._buffer, SCENE_SLOT, ms)

    def hurry(self) -> None:
        """From here on as fast as all keep up. Needs a running loop."""
        if self._buffer is not None:
            take_backlogs(self._buffer)  # what was late before does not count
            self._task = asyncio.create_task(self._govern(self._buffer), name="governor")

    async def calm(self) -> None:
        """Back to the world's speed: what comes now is bounded by real time-outs."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._turn(1.0)

    def close(self) -> None:
        """Let go of the file."""
        if self._buffer is not None:
            self._buffer.close()
            self._buffer = None

    async def _govern(self, buffer: mmap.mmap) -> None:
        while True:
            await asyncio.sleep(LOOK_S)  # its own beat: nobody signals a backlog
            self._turn(next_rate(self._pace, take_backlogs(buffer)))

    def _turn(self, rate: float) -> None:
        self._pace = self._pace.turned(clock.steady_ns(), rate)
        if self._buffer is not None:
            write_pace(self._buffer, self._pace)
