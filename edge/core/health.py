"""Is the radio alive? Silence of everything, the store's own beacon included, means that it is not."""

from enum import StrEnum

HOLD_MS = 10_000
"""Silence of everything from which nobody is sent away where the store has a beacon of its own, ms: ten of its
advertisements. Must stay below an exit silence, or a dead radio would empty the shop before it is known to be dead."""

MAX_PAUSE_MS = 600_000
"""Longest pause between two restarts of a silent scanner, ms: a radio that is unplugged must not fill the log."""


class Verdict(StrEnum):
    """What `check` found; each transition is reported once."""

    OK = "ok"
    HOLD = "hold"  # suspiciously silent: nobody leaves until it is clear whether the radio lives
    SILENT = "silent"  # just fell silent: freeze exits, restart the scanner
    STILL_SILENT = "still_silent"  # another restart is due
    RECOVERED = "recovered"  # heard again: thaw


class RadioHealth:
    """Judges by the last advertisement of anybody.

    `silent_ms`: silence that is no longer an empty shop. `hold_ms`: silence that is suspicious once the store's own
    beacon was heard (`beacon_heard`); without one an empty shop is silent too, and nothing is held.
    """

    def __init__(self, silent_ms: int, hold_ms: int = HOLD_MS) -> None:
        self._silent_ms, self._hold_ms = silent_ms, min(hold_ms, silent_ms)
        self._holding = False
        self.beacon_heard = False
        self._heard_at_ms: int | None = None
        self._since_ms = 0
        self._pause_ms = silent_ms
        self._retry_at_ms = 0
        self.degraded = False

    def started(self, at_ms: int) -> None:
        """The scanner has just been started: silence counts from here."""
        self._since_ms = at_ms

    def heard(self, at_ms: int) -> None:
        """Something was heard, whosever it is."""
        if self._heard_at_ms is None or at_ms > self._heard_at_ms:
            self._heard_at_ms = at_ms

    def check(self, now_ms: int) -> Verdict:
        """Judge at `now_ms`."""
        last_ms = self._last_ms()
        if self.degraded:
            if self._heard_at_ms is not None and self._heard_at_ms > self._fell_at_ms:
                self.degraded, self._pause_ms = False, self._silent_ms
                return Verdict.RECOVERED
            if now_ms < self._retry_at_ms:
                return Verdict.OK
            self._pause_ms = min(2 * self._pause_ms, MAX_PAUSE_MS)
            self._retry_at_ms = now_ms + self._pause_ms
            return Verdict.STILL_SILENT
        if now_ms - last_ms < self._silent_ms:
            return self._suspect(now_ms - last_ms)
        self.degraded, self._holding, self._fell_at_ms = True, False, now_ms
        self._retry_at_ms = now_ms + self._pause_ms
        return Verdict.SILENT

    @property
    def uneasy(self) -> bool:
        """Whether nobody may leave: the next advertisement of anybody is news."""
        return self.degraded or self._holding

    def due_ms(self) -> int:
        """When `check` may say something new by time alone."""
        if self.degraded:
            return self._retry_at_ms
        waits = self.beacon_heard and not self._holding
        return self._last_ms() + (self._hold_ms if waits else self._silent_ms)

    def _suspect(self, silence_ms: int) -> Verdict:
        if self._holding and silence_ms < self._hold_ms:
            self._holding = False
            return Verdict.RECOVERED
        if self.beacon_heard and not self._holding and silence_ms >= self._hold_ms:
            self._holding = True
            return Verdict.HOLD
        return Verdict.OK

    _fell_at_ms = 0

    def _last_ms(self) -> int:
        return self._since_ms if self._heard_at_ms is None else max(self._since_ms, self._heard_at_ms)
