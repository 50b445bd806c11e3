"""Advertising data that came in pieces, put together. Pure; bounded."""

from collections import Counter
from collections.abc import Hashable

from simulators.captures.packet import Report

MAX_DATA_BYTES = 1650
"""Longest advertising data there is (Core Specification 5.4, volume 4 part E, §7.8.54)."""

MAX_CHAINS = 64
"""Sets whose pieces are held at once, more than a controller holds; the oldest is given up for one more."""


class Chains:
    """Holds pieces until the last one comes.

    `counts`: pieces (reports that became part of a later one, or of nothing), incomplete (sets given up with data).
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter(pieces=0, incomplete=0)
        self._held: dict[Hashable, Report] = {}

    def add(self, report: Report, interface: int) -> Report | None:
        """The complete advertisement that ends with this report, with its level; None while pieces are missing."""
        if report.chain is None:
            return report
        key = (interface, report.chain)
        held = self._held.pop(key, None)
        if held is not None and report.starts:
            self._give_up(held)
            held = None
        if held is None and not report.address:
            self._lose(report)  # its beginning was not heard
            return None
        joined = report if held is None else report._replace(address=held.address, data=held.data + report.data)
        if len(joined.data) > MAX_DATA_BYTES:
            self._lose(joined)
            return None
        if not report.more:
            return joined
        self.counts["pieces"] += 1
        if len(self._held) == MAX_CHAINS:
            self._give_up(self._held.pop(next(iter(self._held))))
        self._held[key] = joined
        return None

    def end(self) -> None:
        """No more will come."""
        for held in self._held.values():
            self._give_up(held)
        self._held.clear()

    def _lose(self, report: Report) -> None:
        self.counts["pieces"] += 1
        self._give_up(report)

    def _give_up(self, held: Report) -> None:
        self.counts["incomplete"] += bool(held.data)
