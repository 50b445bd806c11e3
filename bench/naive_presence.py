"""The rival of the presence engine: what one writes in an afternoon. Moving mean, 3 in 5 s, two zones, 60 s exit."""

from collections import deque

from edge.core.presence import Fact

ALPHA = 0.3  # weight of the newest advertisement
ENTER_DBM = -80.0  # as the engine's own entry level
NEAR_DBM, FAR_DBM = -65.0, -70.0  # into the near zone, and out of it
ENTER_ADVERTS, ENTER_WITHIN_MS = 3, 5_000
EXIT_MS = 60_000
SWEEP_MS = 1_000


class Beacon:
    """What is remembered of one."""

    __slots__ = ("last_ms", "level_dbm", "near", "present", "recent_ms")

    def __init__(self, rssi_dbm: float) -> None:
        self.level_dbm, self.last_ms = rssi_dbm, 0
        self.recent_ms: deque[int] = deque(maxlen=ENTER_ADVERTS)
        self.present = self.near = False


class NaivePresence:
    """See `bench.stays.Engine`. Its facts carry no sums."""

    def __init__(self) -> None:
        self.beacons: dict[bytes, Beacon] = {}
        self._swept_ms = 0

    def hear(self, key: bytes, rssi_dbm: float, at_ms: int) -> list[Fact]:
        """One advertisement."""
        beacon = self.beacons.get(key)
        if beacon is None:
            beacon = self.beacons[key] = Beacon(rssi_dbm)
        level_dbm = beacon.level_dbm = beacon.level_dbm + ALPHA * (rssi_dbm - beacon.level_dbm)
        beacon.last_ms = at_ms
        if not beacon.present:
            recent = beacon.recent_ms
            recent.append(at_ms)
            if level_dbm < ENTER_DBM or len(recent) < ENTER_ADVERTS or at_ms - recent[0] > ENTER_WITHIN_MS:
                return []
            beacon.present = True
            return [_fact("enter", key, at_ms, level_dbm)]
        if (level_dbm > NEAR_DBM and not beacon.near) or (level_dbm < FAR_DBM and beacon.near):
            beacon.near = not beacon.near
            return [_fact("near" if beacon.near else "far", key, at_ms, level_dbm)]
        return []

    def advance(self, now_ms: int) -> list[Fact]:
        """Whoever has been silent for EXIT_MS has left, as of the last advertisement."""
        if now_ms < self._swept_ms + SWEEP_MS:
            return []
        self._swept_ms = now_ms
        silent = [(key, one) for key, one in self.beacons.items() if one.last_ms + EXIT_MS <= now_ms]
        for key, _ in silent:
            del self.beacons[key]
        return [_fact("exit", key, one.last_ms, one.level_dbm) for key, one in silent if one.present]

    def due_ms(self) -> int | None:
        """The next sweep, while there is anybody."""
        return self._swept_ms + SWEEP_MS if self.beacons else None


def _fact(kind: str, key: bytes, at_ms: int, level_dbm: float) -> Fact:
    return Fact(kind, key, at_ms, at_ms, at_ms, level_dbm, 0.0, 0, 0)
