"""Where an edge takes its time from: the machine, or in a rehearsal the file that all its programs share."""

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from edge.adapters import system
from wire.errors import BadConfig
from wire.messages import ClockStamp
from wire.pace import FILE_BYTES, Pace, read_pace, report_backlog

LONGEST_PAUSE_S = 0.1
"""Longest sleep, s: the rate may rise meanwhile, and nobody tells us."""


class Clocks(NamedTuple):
    """Where time comes from: the boot clock in ms, wall time in ms, and what is known of its quality.

    `steady_ms` is what networks live by. It is the boot clock, except in a rehearsal that runs faster than the world:
    there `pause_s` says how long `ms` of the boot clock last, and `behind` is told how late we are.
    """

    boot_ms: Callable[[], int]
    wall_ms: Callable[[], int]
    stamp: Callable[[], ClockStamp]
    steady_ms: Callable[[], int]
    pause_s: Callable[[int], float] = lambda ms: ms / 1000
    behind: Callable[[int], None] = lambda _: None


def clocks_of(pace_file: Path | None, pace_slot: int) -> Clocks:
    """The machine's clocks; with a pace file (see `wire.pace`) the time of that rehearsal.

    Raises:
        BadConfig: the file is missing or is no pace file.
    """
    if pace_file is None:
        return Clocks(system.boot_ms, system.wall_ms, system.clock_stamp, system.boot_ms)
    pace = PacedTime(pace_file, pace_slot)
    return Clocks(pace.now_ms, pace.now_ms, pace.stamp, system.boot_ms, pace.pause_s, pace.behind)


class PacedTime:
    """Boot clock and wall clock in one: virtual Unix ms. Never decreasing.

    Raises:
        BadConfig: the file is missing or is no pace file.
    """

    def __init__(self, path: Path, slot: int) -> None:
        try:
            with path.open("r+b") as file:
                self._buffer = mmap.mmap(file.fileno(), FILE_BYTES)
        except (OSError, ValueError) as exc:
            raise BadConfig(f"pace_file {path}: cannot be used: {exc}") from exc
        self._slot, self._last_ms = slot, 0
        self._read()

    def now_ms(self) -> int:
        """Virtual Unix ms."""
        self._last_ms = max(self._last_ms, self._read().at_ns(system.steady_ns()) // 1_000_000)
        return self._last_ms

    def stamp(self) -> ClockStamp:
        """Exact by construction: every program reads the same file."""
        return ClockStamp(source="pace", offset_ms=0, error_ms=1, synced=True)

    def pause_s(self, ms: int) -> float:
        """Real seconds that `ms` last at the present rate, at most LONGEST_PAUSE_S."""
        return min(ms / 1000 / self._read().rate, LONGEST_PAUSE_S)

    def behind(self, ms: int) -> None:
        """Tell the governor how late we are."""
        report_backlog(self._buffer, self._slot, ms)

    def _read(self) -> Pace:
        return read_pace(self._buffer)
