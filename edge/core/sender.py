"""What to send the hub next, and when again: go-back-N over the outbox. Pure: says what to do, does nothing.

Nothing counts as delivered before the hub's own `ack`. Unanswered for 5 s: go back to the last ack and send again, once
at once, then with full jitter. Without progress after three times, one event at a time. An event that went unanswered
three times by itself is suspect: the hub is asked for a sign of life (it answers every birth), and if it gives one and
still does not take the event, the event is refused: the caller replaces it by a loss. A silent hub refuses nothing.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

WINDOW = 20
"""Messages unanswered at most: mosquitto's default of QoS 1 messages in flight."""

BATCH = 200
"""Most events in one message here; the caller's own limit is lower."""

UNANSWERED_MS = 5_000
"""Time without progress after which to go back, ms: a group commit takes 10 ms, a broker restart 1 s."""

MAX_REWINDS = 3
"""Rewinds without progress before sending singly, and sends of a single event before it is refused."""

FIRST_PAUSE_MS = 1_000
LONGEST_PAUSE_MS = 60_000
SHORTEST_PAUSE_MS = 250
"""Pause between rewinds, ms: full jitter up to 1 s · 2ᵏ, never beyond a minute, never quite nothing."""


class BootSpan(NamedTuple):
    """What the outbox holds of one boot: `oldest_seq` … `last_seq`; empty when oldest is beyond last."""

    boot: str
    oldest_seq: int
    last_seq: int


class Send(NamedTuple):
    """Send events of `boot` after `after_seq`, at most `limit`; `earlier`: it is not the current boot."""

    boot: str
    after_seq: int
    limit: int
    earlier: bool


class Progress(NamedTuple):
    """What an ack said, within what was ever sent. `went_back`: less than before, so the hub was restored."""

    boot: str
    upto: int
    went_back: bool


class Sender:
    """One per agent. `unit` gives random numbers in [0, 1). `rewinds` only grows."""

    def __init__(self, unit: Callable[[], float]) -> None:
        self.rewinds = 0
        self._unit = unit
        self._connected = False
        self._boot = ""
        self._acked: dict[str, int] = {}
        self._last_seq: dict[str, int] = {}  # of the boots held now
        self._oldest_seq = 0  # oldest sequence of the boot that is still held
        self._sent = 0  # last sequence of the boot that was sent
        self._waiting = 0  # messages sent since the last progress
        self._since_ms = 0  # when the oldest of them left, or progress was made
        self._fruitless = 0  # rewinds without progress
        self._hold_until_ms = 0
        self._knock = False  # whether the caller should ask for a sign of life
        self._knocked = False  # whether it was asked, since the last progress
        self._alive = False  # whether anything came after that
        self._single_tries = 0
        self._refused: tuple[str, int] | None = None

    def connected(self, now_ms: int) -> None:
        """A connection stands: everything unanswered goes out again."""
        self._connected = True
        self._forget_suspicion()
        self._go_back(now_ms)
        self._hold_until_ms = now_ms

    def disconnected(self) -> None:
        """Nothing can be sent."""
        self._connected = False

    def next(self, boots: Sequence[BootSpan], now_ms: int) -> Send | None:
        """What to send now, or None. `boots`: oldest first, the current one last."""
        self._last_seq = {one.boot: one.last_seq for one in boots}
        if not self._connected or self._refused is not None:
            return None
        if now_ms >= self._hold_until_ms:
            self._hold_until_ms = 0
        span = next((one for one in boots if one.oldest_seq <= one.last_seq), None)
        if span is None:
            self._waiting = 0
            return None
        if span.boot != self._boot:
            self._boot, self._sent, self._waiting = span.boot, self._acked.get(span.boot, 0), 0
            self._fruitless = 0
            self._forget_suspicion()
        self._oldest_seq = span.oldest_seq
        if self._waiting and now_ms >= self._since_ms + UNANSWERED_MS and not self._give_up_waiting(span, now_ms):
            return None
        if now_ms < self._hold_until_ms or self._waiting >= (1 if self._singly else WINDOW):
            return None
        after_seq = max(self._sent, span.oldest_seq - 1)
        if after_seq >= span.last_seq:
            return None
        return Send(span.boot, after_seq, 1 if self._singly else BATCH, span.boot != boots[-1].boot)

    def sent(self, boot: str, first_seq: int, last_seq: int, now_ms: int) -> None:
        """`first_seq … last_seq` was handed over."""
        if boot != self._boot:
            return
        if not self._waiting:
            self._since_ms = now_ms
        self._waiting += 1
        self._sent = max(self._sent, last_seq)
        # The front may lie beyond the last ack we heard: an earlier start of the agent heard the others.
        if self._singly and first_seq <= max(self._acked.get(boot, 0) + 1, self._oldest_seq):
            self._single_tries += 1

    def acked(self, boot: str, upto: int, now_ms: int) -> Progress:
        """The hub holds everything up to `upto` of `boot`."""
        self._alive = self._knocked
        before = self._acked.get(boot, 0)
        upto = min(upto, self._last_seq.get(boot, upto))  # no word about what was never given out
        self._acked[boot] = upto
        if len(self._acked) > 100:  # boots long forgotten by the outbox
            del self._acked[next(iter(self._acked))]
        if boot == self._boot and upto != before:
            self._fruitless = 0
            self._forget_suspicion()
            self._since_ms = now_ms
            if upto >= self._sent:
                self._waiting = 0
            elif upto < before:
                self._go_back(now_ms)
            else:
                self._waiting = max(1, self._waiting - 1)
        return Progress(boot, upto, upto < before)

    def due_ms(self) -> int | None:
        """When `next` may change its answer by time alone."""
        if not self._connected:
            return None
        due = [self._since_ms + UNANSWERED_MS] if self._waiting else []
        if self._hold_until_ms:
            due.append(self._hold_until_ms)
        return min(due, default=None)

    def refused(self) -> tuple[str, int] | None:
        """(boot, sequence) that the hub will not take; to be replaced by a loss. Said once."""
        found, self._refused = self._refused, None
        return found

    def knock(self) -> bool:
        """Whether to ask the hub for a sign of life now. Said once."""
        found, self._knock = self._knock, False
        return found

    @property
    def unanswered(self) -> bool:
        """Whether something was sent that no ack covers yet."""
        return self._waiting > 0

    @property
    def _singly(self) -> bool:
        return self._fruitless >= MAX_REWINDS

    def _give_up_waiting(self, span: BootSpan, now_ms: int) -> bool:
        """Unanswered for too long: go back. False when there is nothing to send right now."""
        self.rewinds += 1
        self._fruitless += 1
        if self._singly and self._single_tries >= MAX_REWINDS:
            self._single_tries = 0
            if self._alive:
                self._refused = span.boot, max(self._acked.get(span.boot, 0) + 1, span.oldest_seq)
                self._fruitless = 0
                self._forget_suspicion()
                self._go_back(now_ms)
                self._hold_until_ms = now_ms
                return False
            self._knock = self._knocked = True
        self._go_back(now_ms)
        if self._fruitless > 1:
            exponent = min(self._fruitless - 2, 16)
            pause_ms = int(self._unit() * min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << exponent))
            self._hold_until_ms = now_ms + max(SHORTEST_PAUSE_MS, pause_ms)
        else:
            self._hold_until_ms = now_ms
        return True

    def _forget_suspicion(self) -> None:
        self._single_tries = 0
        self._knock = self._knocked = self._alive = False

    def _go_back(self, now_ms: int) -> None:
        self._sent = self._acked.get(self._boot, 0)
        self._waiting = 0
        self._since_ms = now_ms
