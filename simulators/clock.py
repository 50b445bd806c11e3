"""The simulators' only reading of time."""

import time


def now_ms() -> int:
    """Unix ms."""
    return time.time_ns() // 1_000_000  # noqa: TID251 (an entry point's clock)


def steady_s() -> float:
    """Seconds that never step, from an arbitrary start."""
    return time.monotonic()  # noqa: TID251 (an entry point's clock)
