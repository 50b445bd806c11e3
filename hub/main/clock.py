"""The hub's only reading of time, and its ids."""

import mmap
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hub.ports import Clock
from wire.errors import BadConfig
from wire.pace import FILE_BYTES, read_pace, report_backlog

LONGEST_PAUSE_S = 0.1
"""Longest sleep in a rehearsal, s: its rate may rise meanwhile, and nobody tells us."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case: fits a topic level


class SystemClock:
    """Unix ms that never decrease. See `hub.ports.Clock`.

    When the machine's clock is set back, this one goes on at half speed until the other has caught up: deadlines are
    still met, later by at most the step, and nothing happens before what caused it.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,  # noqa: TID251 (the composition root)
        steady_ns: Callable[[], int] = time.monotonic_ns,  # noqa: TID251 (the composition root)
    ) -> None:
        self._wall_ns, self._steady_ns = wall_ns, steady_ns
        self._lock = threading.Lock()
        self._now_ns, self._steady_last_ns = wall_ns(), steady_ns()

    def now_ms(self) -> int:
        """Unix ms, never decreasing within this process."""
        with self._lock:
            steady_ns = self._steady_ns()
            passed_ns, self._steady_last_ns = steady_ns - self._steady_last_ns, steady_ns
            self._now_ns = max(self._wall_ns(), self._now_ns + passed_ns // 2)
            return self._now_ns // 1_000_000

    def pause_s(self, ms: int) -> float:
        """As long as it is."""
        return max(ms, 0) / 1000

    def most_ms(self, real_s: float) -> int:
        """As many as there are."""
        return int(real_s * 1000)

    def behind(self, ms: int) -> None:
        """Nobody waits for us."""


class PacedClock:
    """Time of a rehearsal: Unix ms from the file that all its programs share (`wire.pace`). See `hub.ports.Clock`.

    Raises:
        BadConfig: the file is missing or is no pace file.
    """

    def __init__(
        self,
        path: Path,
        slot: int,
        steady_ns: Callable[[], int] = time.monotonic_ns,  # noqa: TID251 (the composition root)
    ) -> None:
        try:
            with path.open("r+b") as file:
                self._buffer = mmap.mmap(file.fileno(), FILE_BYTES)
        except (OSError, ValueError) as exc:
            raise BadConfig(f"pace_file {path}: cannot be used: {exc}") from exc
        self._slot, self._steady_ns = slot, steady_ns
        self._lock = threading.Lock()
        self._last_ms = 0
        read_pace(self._buffer)

    def now_ms(self) -> int:
        """Unix ms of the rehearsal."""
        with self._lock:
            self._last_ms = max(self._last_ms, read_pace(self._buffer).at_ns(self._steady_ns()) // 1_000_000)
            return self._last_ms

    def pause_s(self, ms: int) -> float:
        """At the present rate, and at most LONGEST_PAUSE_S: the rate may rise meanwhile."""
        return min(max(ms, 0) / 1000 / read_pace(self._buffer).rate, LONGEST_PAUSE_S)

    def most_ms(self, real_s: float) -> int:
        """At the highest rate."""
        return int(real_s * 1000 * read_pace(self._buffer).ceiling)

    def behind(self, ms: int) -> None:
        """Tell the governor."""
        report_backlog(self._buffer, self._slot, ms)


class NewUlid:
    """Makes lower-case ULIDs, each greater than the one before. See `hub.ports.NewId`."""

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] = secrets.randbits) -> None:
        self._clock, self._random_bits = clock, random_bits
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> str:
        """A fresh id, 26 characters."""
        with self._lock:
            fresh = self._clock.now_ms() << 80 | self._random_bits(80)
            # Within one ms: count on from the last, as the ULID specification has it.
            self._last = fresh if fresh >> 80 > self._last >> 80 else self._last + 1
            value = self._last
        return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -5, -5))
