"""Levels from single signal strengths. Pure arithmetic on dBm."""

import math
from collections.abc import Sequence

FENCE = 1.5
"""Tukey's fences: values further than 1.5 interquartile ranges outside the quartiles are outliers (Tukey 1977)."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """The `share` quantile, in [0, 1], of ascending values, interpolated linearly. Needs at least one value."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def fenced_mean(values: Sequence[float]) -> float:
    """Mean of what lies inside Tukey's fences, dBm. Needs at least one value."""
    ordered = sorted(values)
    low, high = percentile(ordered, 0.25), percentile(ordered, 0.75)
    reach = FENCE * (high - low)
    # rounding may put the fences of equal values between them: the quartiles themselves are always inside
    inside = [value for value in ordered if low - reach <= value <= high + reach] or [low]
    return math.fsum(inside) / len(inside)


def mean_sd(count: int, total: float, total_of_squares: float) -> tuple[float, float]:
    """Plain mean and population standard deviation from running sums. `count` ≥ 1."""
    mean = total / count
    return mean, math.sqrt(max(0.0, total_of_squares / count - mean * mean))
