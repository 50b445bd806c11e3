"""How a figure is made: rates per CPU-second, contenders measured in turns, medians and quartiles, ratios per turn.

A shared machine is never quiet. Two things make figures comparable all the same: work is divided by the CPU seconds
of the process under test, not by the clock on the wall; and contenders are measured in turns (A B, B A, A B, …), so
that a ratio is taken within one turn, between neighbours, and the median of at least `PAIRS` ratios is published.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from bench.clock import cpu_s, steady_s
from wire.errors import LocalFault

PAIRS = 5
"""Fewest turns behind a published figure: quartiles of fewer say nothing."""

QUICK_S = 50.0
"""A quick run ends within this, s; it is what a CI job grants."""

SHM = Path("/dev/shm")
"""Where Linux keeps files in memory: figures on it do not depend on the disk of the machine."""

Say = Callable[[str], None]
"""Takes one line of progress."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a benchmark found. Names are lower-case words with their unit; values are plain numbers.

    `figures` are ours, `ratios` compare within one run, `peers` are the figures of what we are held against.
    """

    figures: Mapping[str, float]
    ratios: Mapping[str, float] = field(default_factory=dict)
    peers: Mapping[str, float] = field(default_factory=dict)


Bench = Callable[[bool, Say], Outcome]
"""A benchmark: whether it must be quick (`QUICK_S`), and where progress goes."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles of `n` values."""

    median: float
    q1: float
    q3: float
    n: int

    def named(self, name: str) -> dict[str, float]:
        """As figures: `name`, `name_q1`, `name_q3`."""
        return {name: rounded(self.median), f"{name}_q1": rounded(self.q1), f"{name}_q3": rounded(self.q3)}


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles; of a single value, that value.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("no value to take a median of")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    q1, _, q3 = quantiles(values, n=4, method="inclusive")
    return Spread(median(values), q1, q3, len(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0…1) of all values do not exceed: the nearest rank, never invented between two.

    Raises:
        ValueError: there is no value, or `share` is outside 0…1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs values, and a share from 0 to 1")
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1_000_000) * len(ordered) // 1_000_000) - 1)]


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def in_turns(
    contenders: Mapping[str, Callable[[int], float]],
    turns: int = PAIRS,
    *,
    until_s: float = float("inf"),
    say: Say = lambda _: None,
) -> list[dict[str, float]]:
    """Measure every contender once per turn, in alternating order; one dict of rates per turn.

    A contender is called with the number of the turn. No turn begins that would likely end after `until_s` (as
    `steady_s` counts): then there are fewer turns, at least one.
    """
    rows: list[dict[str, float]] = []
    longest_s = 0.0
    for turn in range(turns):
        began_s = steady_s()
        if rows and began_s + longest_s > until_s:
            say(f"stopped after {turn} of {turns} turns: no time left")
            break
        order = list(contenders) if turn % 2 == 0 else list(contenders)[::-1]
        found = {name: contenders[name](turn) for name in order}
        rows.append({name: found[name] for name in contenders})
        longest_s = max(longest_s, steady_s() - began_s)
        say(f"turn {turn + 1} of {turns}: " + ", ".join(f"{name} {rate:,.0f}/s" for name, rate in rows[-1].items()))
    return rows


def rates(rows: Sequence[Mapping[str, float]], name: str) -> Spread:
    """The spread of one contender."""
    return spread([row[name] for row in rows])


def ratio(rows: Sequence[Mapping[str, float]], over: str, under: str) -> Spread:
    """The spread of `over` ÷ `under`, each within one turn."""
    return spread([row[over] / row[under] for row in rows])


def per_cpu_s(pid: int, work: Callable[[], int]) -> float:
    """Do `work`, which returns how much was done; how much that is per CPU-second of process `pid`.

    Raises:
        LocalFault: the process did nothing, so nothing was measured.
    """
    before_s = cpu_s(pid)
    done = work()
    used_s = cpu_s(pid) - before_s
    if used_s <= 0:
        raise LocalFault(f"process {pid} used no CPU time: nothing was measured")
    return done / used_s


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder on tmpfs, gone afterwards.

    Raises:
        LocalFault: this machine has none.
    """
    if not SHM.is_dir() or not os.access(SHM, os.W_OK):
        raise LocalFault(f"{SHM} is not there or not writable: the benchmarks need a tmpfs (Linux)")
    with tempfile.TemporaryDirectory(prefix="doorchime-bench-", dir=SHM) as folder:
        yield Path(folder)


@contextmanager
def on_disk() -> Iterator[Path]:
    """A folder on a disk, gone afterwards: in the folder for temporary files, `/var/tmp` where that one is a tmpfs.

    Raises:
        LocalFault: both are in memory.
    """
    for place in (Path(tempfile.gettempdir()), Path("/var/tmp")):
        if place.is_dir() and _file_system(place) not in ("tmpfs", "ramfs"):
            with tempfile.TemporaryDirectory(prefix="doorchime-bench-", dir=place) as folder:
                yield Path(folder)
            return
    raise LocalFault("no folder for temporary files is on a disk: set TMPDIR to one")


def _file_system(path: Path) -> str:
    """Type of the file system that holds `path`, as the kernel names it."""
    here, best, found = path.resolve(), -1, ""
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        _, where, kind = line.split(" ")[:3]
        mount = Path(where.replace("\\040", " "))
        if (here == mount or mount in here.parents) and len(mount.parts) >= best:
            best, found = len(mount.parts), kind
    return found
