"""The simulators' only reading of time."""

import time

LONGEST_SLEEP_S = 0.1
"""Longest sleep where time may begin to run faster meanwhile, s."""


def now_ms() -> int:
    """Unix ms."""
    return time.time_ns() // 1_000_000  # noqa: TID251 (an entry point's clock)


def steady_s() -> float:
    """Seconds that never step, from an arbitrary start."""
    return steady_ns() / 1e9


def steady_ns() -> int:
    """The same in ns: CLOCK_MONOTONIC, one for all processes of a machine."""
    return time.monotonic_ns()  # noqa: TID251 (an entry point's clock)
