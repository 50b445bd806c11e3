"""When to try a push again, and when to give up. Channels never retry by themselves.

A push is leased to one sender at a time; a lease that runs out (the sender died) makes it due again. So a send may be
repeated, which the collapse key (the grant's id) makes harmless, and is never lost before its deadline.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient we are.

    Invariant: `lease_ms` is longer than a channel may take, so that nobody else takes a push while it is being sent;
    and not much longer, because a push whose sender died waits for the end of its lease. See `for_timeout`.
    """

    lease_ms: int = 15_000
    first_ms: int = 1_000  # upper end of the first pause: a broker restart takes about this long
    longest_ms: int = 60_000  # offers decay within minutes: rarer than once a minute is as good as never
    shortest_ms: int = 250  # lower end: full jitter alone could hammer
    max_attempts: int = 20  # about 15 minutes of refusals at the longest pause
    min_ttl_ms: int = 1_000  # providers take whole seconds; less cannot reach anybody


DEFAULT = Policy()

SETTLE_MS = 5_000
"""Time to commit what a channel answered: many times the slowest group commit measured."""


def for_timeout(timeout_s: float) -> Policy:
    """The default policy for channels that may take `timeout_s`."""
    return replace(DEFAULT, lease_ms=int(timeout_s * 1000) + SETTLE_MS)


def ttl_s(expires_at_ms: int, now_ms: int) -> int:
    """What is left of the offer, whole seconds rounded up, never negative. Computed when sending, never earlier."""
    return max(0, -((now_ms - expires_at_ms) // 1000))


def worth_sending(expires_at_ms: int, now_ms: int, policy: Policy = DEFAULT) -> bool:
    """Whether enough time is left for the message to be of use."""
    return expires_at_ms - now_ms >= policy.min_ttl_ms


def retry_at_ms(
    attempts: int,
    now_ms: int,
    expires_at_ms: int,
    unit: float,
    *,
    after_ms: int | None = None,
    policy: Policy = DEFAULT,
) -> int | None:
    """When to try again: exponential with full jitter, within the deadline; None = give up.

    Args:
        attempts: sends so far, >= 1.
        now_ms: Unix ms.
        expires_at_ms: the push's deadline, Unix ms.
        unit: a random number in [0, 1).
        after_ms: the provider's wish, ms from now: never earlier, and spread behind it by the first pause, since
            everybody who was sent away was given the same wish.
        policy: see there.
    """
    if attempts >= policy.max_attempts:
        return None
    latest_ms = expires_at_ms - policy.min_ttl_ms
    room_ms = latest_ms - now_ms
    if after_ms is not None:
        pause_ms = max(after_ms, 0) + int(unit * policy.first_ms)
    else:
        ceiling_ms = min(policy.longest_ms, policy.first_ms << min(attempts - 1, 30), max(room_ms, 0))
        pause_ms = int(unit * ceiling_ms)
    pause_ms = max(pause_ms, policy.shortest_ms)
    return now_ms + pause_ms if pause_ms <= room_ms else None
