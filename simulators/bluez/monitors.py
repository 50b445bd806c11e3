"""Advertisement monitors (BlueZ src/adv_monitor.c): patterns, RSSI thresholds, found and lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

PATTERN_MAX_BYTES = 31
"""Offset and content of a pattern lie within a legacy advertisement, bytes."""

DEVICES_MAX = 4096
"""Devices followed by one monitor; the longest unheard is forgotten first. BlueZ has no limit but its device list."""

RSSI_UNSET = 127
TIMEOUT_UNSET = 0


class Pattern(NamedTuple):
    """Content at an offset of an AD structure of one type; the manufacturer's id counts as content."""

    offset: int
    ad_type: int
    content: bytes

    def matches(self, structures: Sequence[tuple[int, bytes]]) -> bool:
        """Whether any structure of the type holds it."""
        end = self.offset + len(self.content)
        return any(kind == self.ad_type and data[self.offset : end] == self.content for kind, data in structures)


class Thresholds(NamedTuple):
    """Found above `high_dbm` for `high_s`, lost below `low_dbm` or unheard for `low_s`."""

    high_dbm: int
    high_s: int
    low_dbm: int
    low_s: int


@dataclass
class _Track:
    found: bool = False
    seen_at_ms: int = 0
    high_since_ms: int | None = None
    low_since_ms: int | None = None


@dataclass
class Monitor:
    """One registered monitor and what it knows of the devices that match it."""

    client: str
    path: str
    patterns: tuple[Pattern, ...]
    thresholds: Thresholds | None
    _tracks: dict[str, _Track] = field(default_factory=dict)

    def matches(self, structures: Sequence[tuple[int, bytes]]) -> bool:
        """Any of the patterns."""
        return any(pattern.matches(structures) for pattern in self.patterns)

    def hear(self, device: str, rssi_dbm: int, now_ms: int) -> list[tuple[str, str]]:
        """One matching advertisement → calls `(DeviceFound|DeviceLost, device)`.

        Without thresholds BlueZ reports every one of them as found.
        """
        limits = self.thresholds
        if limits is None:
            return [("DeviceFound", device)]
        track = self._tracks.pop(device, None) or _Track()
        self._tracks[device] = track
        if len(self._tracks) > DEVICES_MAX:
            del self._tracks[next(iter(self._tracks))]
        silent_ms = now_ms - track.seen_at_ms
        track.seen_at_ms = now_ms
        if silent_ms > limits.high_s * 1000:
            track.high_since_ms = None
        if silent_ms > limits.low_s * 1000:
            track.low_since_ms = None
        track.high_since_ms = _since(track.high_since_ms, not track.found and rssi_dbm > limits.high_dbm, now_ms)
        track.low_since_ms = _since(track.low_since_ms, track.found and rssi_dbm < limits.low_dbm, now_ms)
        if track.high_since_ms is not None and now_ms - track.high_since_ms >= limits.high_s * 1000:
            track.found = True
            return [("DeviceFound", device)]
        if track.low_since_ms is not None and now_ms - track.low_since_ms >= limits.low_s * 1000:
            track.found = False
            return [("DeviceLost", device)]
        return []

    def expire(self, now_ms: int) -> list[tuple[str, str]]:
        """Found devices that were not heard for the low timeout are lost."""
        if self.thresholds is None:
            return []
        silent_ms = self.thresholds.low_s * 1000
        return self._lose({key for key, one in self._tracks.items() if now_ms - one.seen_at_ms >= silent_ms})

    def power_down(self) -> list[tuple[str, str]]:
        """The adapter is switched off: whatever was found is lost."""
        return self._lose(set(self._tracks))

    def _lose(self, devices: set[str]) -> list[tuple[str, str]]:
        lost = []
        for key, track in self._tracks.items():
            if track.found and key in devices:
                track.found = False
                lost.append(("DeviceLost", key))
        return lost

    def due_ms(self) -> int | None:
        """When `expire` may next have something to say."""
        if self.thresholds is None:
            return None
        seen = [one.seen_at_ms for one in self._tracks.values() if one.found]
        return min(seen) + self.thresholds.low_s * 1000 if seen else None

    def forget(self, device: str) -> None:
        """The device's object is gone."""
        self._tracks.pop(device, None)


def parse(client: str, path: str, given: Mapping[str, Any]) -> Monitor:
    """A monitor from the properties of the client's AdvertisementMonitor1 object.

    Raises:
        ValueError, TypeError: BlueZ would release it: another type than or_patterns, no usable pattern, thresholds out
            of range, or any of them of a type that it cannot have.
    """
    if given.get("Type") != "or_patterns":
        raise ValueError("Type is not or_patterns")
    patterns = tuple(Pattern(offset, kind, content) for offset, kind, content in given.get("Patterns", ()))
    if not patterns or not all(isinstance(one.content, bytes) for one in patterns):
        raise ValueError("no pattern")
    if any(not one.content or one.offset + len(one.content) > PATTERN_MAX_BYTES for one in patterns):
        raise ValueError("a pattern is empty or reaches past an advertisement")
    return Monitor(client, path, patterns, _thresholds(given))


def _thresholds(given: Mapping[str, Any]) -> Thresholds | None:
    high_dbm, low_dbm = given.get("RSSIHighThreshold", RSSI_UNSET), given.get("RSSILowThreshold", RSSI_UNSET)
    high_s, low_s = given.get("RSSIHighTimeout", TIMEOUT_UNSET), given.get("RSSILowTimeout", TIMEOUT_UNSET)
    if (high_dbm, low_dbm, high_s, low_s) == (RSSI_UNSET, RSSI_UNSET, TIMEOUT_UNSET, TIMEOUT_UNSET):
        return None
    low_dbm = -127 if low_dbm == RSSI_UNSET else low_dbm
    high_dbm = low_dbm if high_dbm == RSSI_UNSET else high_dbm
    high_s = 10 if high_s == TIMEOUT_UNSET else high_s  # BlueZ's ADV_MONITOR_DEFAULT_HIGH_TIMEOUT
    low_s = 5 if low_s == TIMEOUT_UNSET else low_s  # and ADV_MONITOR_DEFAULT_LOW_TIMEOUT
    if not -127 <= low_dbm <= high_dbm <= 20 or not 1 <= high_s <= 300 or not 1 <= low_s <= 300:
        raise ValueError("RSSI thresholds or timeouts out of range")
    return Thresholds(high_dbm, high_s, low_dbm, low_s)


def _since(since_ms: int | None, holds: bool, now_ms: int) -> int | None:
    if not holds:
        return None
    return now_ms if since_ms is None else since_ms
