"""From packets to frames: what is kept, when it was heard, and a count of everything that was not. Pure."""

from collections import Counter
from collections.abc import Callable, Iterator

from simulators.captures import hci, lines, linklayer
from simulators.captures.chains import Chains
from simulators.captures.packet import H4, LINES, Decoded, Left, Packet, Report
from wire.errors import BadCapture, BadFrame
from wire.ibeacon import decode_ad
from wire.trace import Frame

DECODERS: dict[int, Callable[[bytes], Decoded]] = {
    H4: hci.read,
    201: hci.read_with_direction,
    254: hci.read_monitor,
    251: linklayer.read_bare,
    256: linklayer.read_with_header,
    272: linklayer.read_nordic,
    LINES: lines.read,
}
"""By LINKTYPE number."""

REORDER_NS = 10**9
"""A capture of several interfaces may be out of order by less than this; a clock that goes back further was set, ns."""

SILENCE_MAX_NS = 24 * 3600 * 10**9
"""Longer without one advertisement means that the clock was set: a Pi without a battery wakes up in the past, ns."""

COUNTS = (
    "packets", "reports", "frames", "without_data", "ibeacons", "malformed_ad", "not_ours", "no_rssi",
    "pieces", "incomplete", *Left, "other_interface", "clock_set",
)  # fmt: skip
"""What is counted. `reports` = `frames` + `not_ours` + `no_rssi`."""


class Timeline:
    """A capture's clock → ms since its first advertisement, which never go back.

    Where the clock was set, in either direction, time goes on from the last advertisement.
    """

    def __init__(self) -> None:
        self.t_ms = 0
        self.times_set = 0
        self.longest_ms = 0
        self._start_ns = self._last_ns = 0
        self._base_ms: int | None = None

    def at(self, at_ns: int) -> int:
        """The time of one more advertisement, ms."""
        if self._base_ms is None:
            self._base_ms, self._start_ns, self._last_ns = 0, at_ns, at_ns
        elif not -REORDER_NS <= at_ns - self._last_ns <= SILENCE_MAX_NS:
            self.times_set += 1
            self._base_ms, self._start_ns, self._last_ns = self.t_ms, at_ns, at_ns
        self._last_ns = max(self._last_ns, at_ns)
        # in seconds first: an exact half of a millisecond rounds as in the recordings made so far
        t_ms = max(self.t_ms, self._base_ms + round((at_ns / 10**9 - self._start_ns / 10**9) * 1000))
        self.longest_ms = max(self.longest_ms, t_ms - self.t_ms)
        self.t_ms = t_ms
        return t_ms


class Conversion:
    """One capture on its way."""

    def __init__(
        self,
        name: str,
        *,
        prefixes: tuple[bytes, ...] = (),
        scanner: str | None = None,
        rssi_dbm: int | None = None,
        interface: int | None = None,
    ) -> None:
        """Without `prefixes` every advertisement is kept.

        `name` stands for the scanner where neither `scanner` nor the capture says it; `rssi_dbm` for a level that the
        capture does not have; with `interface` only that one is read.
        """
        self._name, self._scanner, self._rssi_dbm = name, scanner, rssi_dbm
        self._prefixes, self._interface = prefixes, interface
        self._chains = Chains()
        self._unread: Packet | None = None
        self._any_read = False
        self.timeline = Timeline()
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self.interfaces: Counter[int] = Counter()
        self.malformed_at: int | None = None

    def frames(self, packet: Packet) -> Iterator[Frame]:
        """The frames that end with this packet."""
        self.counts["packets"] += 1
        if self._interface not in (None, packet.interface):
            self.counts["other_interface"] += 1
            return
        decode = DECODERS.get(packet.link)
        if decode is None:
            self._unread = self._unread or packet
            self.counts[Left.OTHER] += 1
            return
        self._any_read = True
        reports, left = decode(packet.data)
        if left is not None:
            self.counts[left] += 1
        if left is Left.MALFORMED and self.malformed_at is None:
            self.malformed_at = packet.offset
        for piece in reports:
            report = self._chains.add(piece, packet.interface)
            if report is not None:
                self.interfaces[packet.interface] += 1
                yield from self._keep(report, self.timeline.at(packet.at_ns))

    def end(self) -> None:
        """Close the counts.

        Raises:
            BadCapture: no packet was of a kind that is read.
        """
        self._chains.end()
        self.counts.update(self._chains.counts, clock_set=self.timeline.times_set)
        if self._unread is not None and not self._any_read:
            known = ", ".join(str(link) for link in sorted(DECODERS) if link > 0)
            raise BadCapture(
                self._unread.offset,
                f"every packet is of link type {self._unread.link}, which is not read; those read are {known}",
            )

    def _keep(self, report: Report, t_ms: int) -> Iterator[Frame]:
        self.counts["reports"] += 1
        self.counts["without_data"] += not report.data
        beacon = None
        try:
            beacon = decode_ad(report.data)
        except BadFrame:
            self.counts["malformed_ad"] += 1
        self.counts["ibeacons"] += beacon is not None
        rssi_dbm = self._rssi_dbm if report.rssi_dbm is None else report.rssi_dbm
        if self._prefixes and (beacon is None or not beacon.uuid.startswith(self._prefixes)):
            self.counts["not_ours"] += 1
        elif rssi_dbm is None:
            self.counts["no_rssi"] += 1
        else:
            self.counts["frames"] += 1
            yield Frame(
                t_ms=t_ms,
                scanner=self._scanner or report.scanner or self._name,
                address=report.address,
                rssi_dbm=rssi_dbm,
                adv=report.data.hex(),
            )
