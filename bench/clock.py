"""The benchmarks' only reading of time."""

import time


def now_ms() -> int:
    """Unix ms."""
    return time.time_ns() // 1_000_000  # noqa: TID251 (an entry point's clock)


def steady_s() -> float:
    """Seconds that never step, from an arbitrary start, to the nanosecond."""
    return time.perf_counter()


def boot_ms() -> float:
    """CLOCK_BOOTTIME, ms: what an edge stamps its events with."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) * 1000


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used so far, all its threads, user and system, without its children.

    The process's own CPU clock (`clock_getcpuclockid(3)`) counts nanoseconds; `/proc/PID/stat` counts ticks of 10 ms.

    Raises:
        OSError: there is no such process, or it is another user's.
    """
    scheduler_clock = 2  # CPUCLOCK_SCHED of the kernel's encoding of a process's clock
    return time.clock_gettime((~pid << 3) | scheduler_clock)
