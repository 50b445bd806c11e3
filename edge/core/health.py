"""Is the radio alive? Silence of everything, the store's own beacon included, means that it is not."""

from enum import StrEnum

MAX_PAUSE_MS = 600_000
"""Longest pause between two restarts of a silent scanner, ms: a radio that is unplugged must not fill the log."""


class Verdict(StrEnum):
    """What `check` found; each transition is reported once."""

    OK = "ok"
    SILENT = "silent"  # just fell silent: freeze exits, restart the scanner
    STILL_SILENT = "still_silent"  # another restart is due
    RECOVERED = "recovered"  # heard again: thaw


class RadioHealth:
    """Judges by the last advertisement of anybody. `silent_ms`: silence that is no longer an empty shop."""

    def __init__(self, silent_ms: int) -> None:
        self._silent_ms = silent_ms
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
            return Verdict.OK
        self.degraded, self._fell_at_ms = True, now_ms
        self._retry_at_ms = now_ms + self._pause_ms
        return Verdict.SILENT

    def due_ms(self) -> int:
        """When `check` may say something new by time alone."""
        return self._retry_at_ms if self.degraded else self._last_ms() + self._silent_ms

    _fell_at_ms = 0

    def _last_ms(self) -> int:
        return self._since_ms if self._heard_at_ms is None else max(self._since_ms, self._heard_at_ms)
