"""One transaction of the writer: what it is to do, what came of it, and who hears of it."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from hub.intake.inbound import Inbound
from hub.ports import Tx
from hub.usecases import presence
from hub.usecases.arrivals import Effects

COUNTED = ("messages", "events", "commands", "groups", "unreadable", "poison", "strangers", "alarms", "store_faults")
"""Names of the writer's counters."""


class After(Protocol):
    """What happens after a commit, or for want of one. On the writer's thread; must not block and must not raise."""

    def committed(self, tokens: Sequence[Any], acks: Sequence[presence.AckOf], effects: Effects) -> None:
        """The messages of `tokens` are durable; tell their edges; publish the notes; pushes wait if any."""

    def troubled(self, reason: str) -> None:
        """From now on nothing can be committed, or, when `reason` is empty, it can again."""


@dataclass(slots=True)
class Command:
    """One call of the API, and who waits for it."""

    run: Callable[[Tx], Any]
    future: "Future[Any]"


@dataclass(slots=True)
class Round:
    """One transaction's work and its outcome."""

    commands: list[Command] = field(default_factory=list)
    messages: list[Inbound] = field(default_factory=list)
    batches: list[presence.Batch] = field(default_factory=list)
    unreadable: list[tuple[Inbound, str]] = field(default_factory=list)
    results: list[tuple[Command, Any, BaseException | None]] = field(default_factory=list)
    acks: dict[tuple[str, str], presence.AckOf] = field(default_factory=dict)
    effects: Effects = field(default_factory=Effects)
    counted: Counter[str] = field(default_factory=Counter)  # for the writer's counters, once it is committed
