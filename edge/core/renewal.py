"""When a certificate is renewed. Times in, answer out."""

LOOK_S = 3600.0
"""Pause between two looks at the certificate, s: with 30 days of it left there is time for 700 attempts."""


def is_due(not_before_ms: int, not_after_ms: int, now_ms: int) -> bool:
    """Whether less than a third of its life is left, as this machine's clock has it.

    A clock that stands before the certificate was made is wrong, and says nothing: then it is not due.
    """
    if now_ms < not_before_ms:
        return False
    return 3 * (not_after_ms - now_ms) < not_after_ms - not_before_ms


def pause_s(unit: float) -> float:
    """Until the next look, s; `unit` in [0, 1) spreads edges that started together."""
    return LOOK_S * (0.5 + unit)
