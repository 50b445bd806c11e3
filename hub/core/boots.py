"""Which start of an edge's agent is running? A later start ends the earlier one; an earlier one that lives on after it
means two devices under one id: a cloned SD card.

`Edge.boots` holds `[boot, since_ms, returns]` per start, newest last. `since_ms` is the hub's time of the first sign of
life; `returns` counts births of a start that a newer one had ended.

Two kinds of evidence, each safe against repeated, late and reordered delivery:

* an event *sent* after a newer start was first heard, by the sender's own boot clock;
* `RETURNS` births of ended starts (two devices take the MQTT session from each other), each after that of a newer one
  over the same connection: a broker that is killed before it saves brings old births back, each time, but in order.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from hub.core.model import Edge

KEPT = 16
"""Starts remembered per edge: two devices, and their restarts between two signs of life of each. 1 kB a row."""

MARGIN_MS = 2_000
"""Error allowed in "sent after", ms: that of dating by receipt (`hub.core.clock.RECEIPT_ERROR_MS`)."""

RETURNS = 3
"""Births of ended starts, each after that of a newer one over the same connection, that are no accident."""

TOLD_MS = 60_000
"""An alarm per edge this often at most, ms: two devices disturb each other every few seconds."""

ALARM_MS = 600_000
"""An edge counts as cloned for so long after the last evidence, ms: longer than two devices can stay quiet, since
each tries to connect at least every `reconnect_max_s` (≤ 600 s)."""


class Seen(NamedTuple):
    """The edge after a sign of life, the same object when nothing changed; `alarm`: tell somebody."""

    edge: Edge
    alarm: bool


def alive(edge: Edge, boot: str, sent_at_ms: int, at_ms: int) -> Seen:
    """A start sent an event of its own at `sent_at_ms`; it is `at_ms` now. Both Unix ms of the hub."""
    if edge.boots and edge.boots[-1][0] == boot:
        return Seen(edge, False)
    if _place(edge, boot) is None:
        return Seen(_inserted(edge, boot, sent_at_ms), False)
    if sent_at_ms <= edge.boots[-1][1] + MARGIN_MS:
        return Seen(edge, False)
    return _cloned(edge, at_ms)


def born(edge: Edge, boot: str, at_ms: int, known: bool, before: Collection[str] = ()) -> Seen:
    """A start said its birth, received at `at_ms` as it happened (not retained); `known`: it has an account.

    `before`: starts whose births came before it over the same connection. Only after a newer one it proves anything:
    a broker that brings the past again brings it in order.
    """
    place = _place(edge, boot)
    if place is None:
        if _forgotten(edge, boot, known):
            return Seen(edge, False)
        fresh = [[name, since_ms, 0] for name, since_ms, _ in edge.boots]  # the count begins anew
        return Seen(replace(edge, boots=[*fresh, [boot, at_ms, 0]][-KEPT:]), False)
    if not any(name in before for name, *_ in edge.boots[place + 1 :]):
        return Seen(edge, False)
    boots = [list(one) for one in edge.boots]
    boots[place][2] += 1
    edge = replace(edge, boots=boots)
    if sum(returns for _, _, returns in boots) < RETURNS:
        return Seen(edge, False)
    return _cloned(edge, at_ms)


def ended(edge: Edge, boot: str, known: bool) -> bool:
    """Whether a newer start than `boot` is the one that said last that it is online: what `boot` says is old.

    `known`: it has an account.
    """
    if edge.status != "online" or boot == edge.status_boot:
        return False
    if _forgotten(edge, boot, known):
        return True
    place, current = _place(edge, boot), _place(edge, edge.status_boot)
    return place is not None and (current is None or place < current)


def is_cloned(edge: Edge, now_ms: int) -> bool:
    """Whether two devices use this id, as far as is known."""
    return edge.cloned_at_ms is not None and now_ms - edge.cloned_at_ms < ALARM_MS


def _place(edge: Edge, boot: str) -> int | None:
    return next((place for place, one in enumerate(edge.boots) if one[0] == boot), None)


def _forgotten(edge: Edge, boot: str, known: bool) -> bool:
    """Whether it is a start of long ago, of which only its account is left."""
    return known and len(edge.boots) == KEPT and _place(edge, boot) is None


def _inserted(edge: Edge, boot: str, since_ms: int) -> Edge:
    """With a start whose birth was not heard, at its place in time; as the newest it begins the count anew."""
    boots: Sequence[Any] = edge.boots
    place = len(boots)
    while place and boots[place - 1][1] > since_ms:
        place -= 1
    if place == len(boots):
        boots = [[name, at_ms, 0] for name, at_ms, _ in boots]
    return replace(edge, boots=[*boots[:place], [boot, since_ms, 0], *boots[place:]][-KEPT:])


def _cloned(edge: Edge, at_ms: int) -> Seen:
    if edge.cloned_at_ms is not None and at_ms - edge.cloned_at_ms < TOLD_MS:
        return Seen(edge, False)
    return Seen(replace(edge, cloned_at_ms=at_ms), True)
