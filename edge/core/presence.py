"""Who is here? Advertisements in, facts out: enter, sample, exit, unknown. Pure; the boot clock is an argument.

    (nothing) --heard--> tracked --enough adverts, strong enough--> present --silence, or weak for long--> tracked
    tracked --silence--> (forgotten)          present --radio not to be trusted--> present, said `unknown`

Levels that decide are Tukey-fenced means over 15 s; a sample carries the plain mean of every advertisement since the
last fact, because a classifier at the hub was measured to lose accuracy on anything smoother.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edge.core.smoothing import fenced_mean, mean_sd, percentile

WINDOW_MS = 15_000
"""Advertisements that make a level, ms: long enough to fence outliers at 1 Hz, short against a walk through a shop."""

WINDOW_MAX = 64
"""Most advertisements in the window: at 10 Hz six seconds, which is plenty; bounds memory per track."""

ENTER_WITHIN_MS = 10_000
ENTER_ADVERTS = 3
"""Three advertisements in 10 s at the level: median 3 s to enter at 1 Hz, and no stray frame lets anybody in."""

STRONG_ADVERTS = 2
"""Two suffice when strong: whoever is within a metre or two is inside."""

GAPS_MAX = 32
"""Gaps between advertisements remembered per track, to learn its rhythm."""

GAP_SHARE = 0.95
GAP_FACTOR = 4
"""Silence means gone after 4 × the 95th percentile of the gaps: 0.003 false exits per hour at 35 % reception."""

WEAK_DB = 8.0
WEAK_MS = 20_000
"""So far below the entry level, for so long, is outside: hysteresis against somebody who stands in the doorway."""

BAD_DBM = (127.0, -127.0)
"""What Bluetooth stacks report when they do not know."""

HEAP_SLACK = 64
"""Stale deadlines tolerated beyond four per track before the heap is rebuilt: keeps it flat under rotating ids."""


class Fact(NamedTuple):
    """An event without its sequence number. `key`: 20 bytes UUID + major + minor; the rest as on the wire."""

    kind: str
    key: bytes
    observed_mono_ms: int
    first_mono_ms: int
    last_mono_ms: int
    rssi_dbm: float
    sd_db: float
    n: int
    span_ms: int


@dataclass(frozen=True, slots=True)
class Gates:
    """Settings of the engine; see `edge.config` for each."""

    enter_dbm: float = -80.0
    strong_dbm: float = -60.0
    exit_silence_ms: int = 30_000
    exit_silence_max_ms: int = 180_000
    sample_interval_ms: int = 1_000
    sample_floor_dbm: float = -110.0
    max_tracks: int = 4_096


@dataclass(slots=True)
class _Track:
    """One beacon. Sums are of what has not been told yet; `quiet_ms` is when its silence began to count."""

    first_ms: int
    last_ms: int
    level_dbm: float
    quiet_ms: int
    present: bool = False
    weak_since_ms: int | None = None
    window: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=WINDOW_MAX))
    gaps: deque[int] = field(default_factory=lambda: deque(maxlen=GAPS_MAX))
    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    due_ms: int = 0


class PresenceEngine:
    """Follows at most `gates.max_tracks` beacons. `evicted` and `bad` only grow.

    Time never goes back in here: an earlier instant counts as the latest seen.
    """

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self.evicted = self.bad = self.present = 0
        self._tracks: OrderedDict[bytes, _Track] = OrderedDict()  # least recently heard first
        self._absent: OrderedDict[bytes, None] = OrderedDict()  # followed but not present, in the same order
        self._heap: list[tuple[int, bytes]] = []
        self._now_ms = 0
        self._frozen = False
        self._fit_ms, self._interval_ms = 0, gates.sample_interval_ms

    @property
    def tracks(self) -> int:
        """How many beacons are followed."""
        return len(self._tracks)

    def regate(self, gates: Gates) -> None:
        """New settings; whoever is followed stays so, each deadline is worked out anew."""
        self.gates = gates
        self._interval_ms = max(self._fit_ms, gates.sample_interval_ms)
        for key, track in self._tracks.items():
            self._plan(key, track)

    def fit_samples(self, interval_ms: int) -> None:
        """Samples at most this often, ms; never more often than the settings say."""
        self._fit_ms, self._interval_ms = interval_ms, max(interval_ms, self.gates.sample_interval_ms)

    def hear(self, key: bytes, rssi_dbm: float, at_ms: int) -> list[Fact]:
        """One advertisement."""
        if rssi_dbm in BAD_DBM or not -127 < rssi_dbm < 0:
            self.bad += 1
            return []
        at_ms = self._tick(at_ms)
        facts: list[Fact] = []
        track = self._tracks.get(key)
        if track is None:
            facts += self._make_room(at_ms)
            track = self._tracks[key] = _Track(at_ms, at_ms, rssi_dbm, at_ms)
        else:
            if not self._frozen and track.quiet_ms == track.last_ms:  # an outage is not the beacon's rhythm
                track.gaps.append(at_ms - track.last_ms)
            self._tracks.move_to_end(key)
        if not track.present:
            self._absent[key] = None
            self._absent.move_to_end(key)
        if track.n == 0:
            track.first_ms = at_ms
        track.last_ms = track.quiet_ms = at_ms
        track.level_dbm = rssi_dbm
        track.n, track.total, track.squares = track.n + 1, track.total + rssi_dbm, track.squares + rssi_dbm * rssi_dbm
        track.window.append((at_ms, rssi_dbm))
        if track.present:
            self._note_weakness(track, at_ms)
        elif self._may_enter(track, at_ms):
            track.present, track.weak_since_ms = True, None
            self.present += 1
            del self._absent[key]
            facts.append(self._tell("enter", key, track, at_ms))
        self._plan(key, track)
        return facts

    def advance(self, now_ms: int) -> list[Fact]:
        """Everything whose time has come."""
        now_ms = self._tick(now_ms)
        facts: list[Fact] = []
        while self._heap and self._heap[0][0] <= now_ms:
            due_ms, key = heapq.heappop(self._heap)
            track = self._tracks.get(key)
            if track is None or track.due_ms != due_ms:
                continue  # an earlier plan
            facts += self._look(key, track, now_ms)
        return facts

    def due_ms(self) -> int | None:
        """When `advance` may have work; None while nothing is followed, or nothing can happen by time alone."""
        while self._heap:
            due_ms, key = self._heap[0]
            track = self._tracks.get(key)
            if track is not None and track.due_ms == due_ms:
                return due_ms
            heapq.heappop(self._heap)
        return None

    def freeze(self, now_ms: int) -> list[Fact]:
        """The radio cannot be trusted: say `unknown` of everybody present; nobody leaves until `thaw`."""
        now_ms = self._tick(now_ms)
        self._frozen = True
        facts = []
        for key, track in self._tracks.items():
            if track.present:
                facts.append(self._tell("unknown", key, track, now_ms))
            self._plan(key, track)
        return facts

    def thaw(self, now_ms: int) -> None:
        """The radio is back: every silence begins to count now."""
        now_ms = self._tick(now_ms)
        self._frozen = False
        for key, track in self._tracks.items():
            track.quiet_ms = now_ms
            track.weak_since_ms = None
            self._plan(key, track)

    # -- rules -------------------------------------------------------------------------------------------------

    def _may_enter(self, track: _Track, at_ms: int) -> bool:
        recent = [rssi for heard_ms, rssi in track.window if heard_ms > at_ms - ENTER_WITHIN_MS]
        if len(recent) < STRONG_ADVERTS:
            return False
        level = fenced_mean(recent)
        return level >= self.gates.strong_dbm or (len(recent) >= ENTER_ADVERTS and level >= self.gates.enter_dbm)

    def _note_weakness(self, track: _Track, at_ms: int) -> None:
        limit = self.gates.enter_dbm - WEAK_DB
        if track.weak_since_ms is None:
            # one look at the newest value spares the mean while all is well
            if track.level_dbm < limit and _level(track.window, at_ms) < limit:
                track.weak_since_ms = at_ms
        elif _level(track.window, at_ms) >= limit:
            track.weak_since_ms = None

    def _silence_ms(self, track: _Track) -> int:
        gates = self.gates
        if not track.present or len(track.gaps) < 2:
            return gates.exit_silence_ms
        learned_ms = GAP_FACTOR * percentile(sorted(track.gaps), GAP_SHARE)
        return min(max(gates.exit_silence_ms, round(learned_ms)), gates.exit_silence_max_ms)

    def _look(self, key: bytes, track: _Track, now_ms: int) -> list[Fact]:
        facts: list[Fact] = []
        if track.n and now_ms >= track.first_ms + self._interval_ms:
            mean, _ = mean_sd(track.n, track.total, track.squares)
            if mean >= self.gates.sample_floor_dbm:
                facts.append(self._tell("sample", key, track, now_ms))
            else:
                _forget_sums(track)
        if not self._frozen:
            silent = now_ms >= track.quiet_ms + self._silence_ms(track)
            if track.present and (silent or _weak_for_long(track)):
                track.present, track.weak_since_ms = False, None
                track.window.clear()  # what was heard before does not count towards the next entry
                self.present -= 1
                self._absent[key] = None
                facts.append(self._tell("exit", key, track, track.last_ms))
            if silent and not track.present:
                del self._tracks[key], self._absent[key]
                return facts
        self._plan(key, track)
        return facts

    def _plan(self, key: bytes, track: _Track) -> None:
        """Work out when this track must be looked at next."""
        due = []
        if track.n:
            due.append(track.first_ms + self._interval_ms)
        if not self._frozen:
            due.append(track.quiet_ms + self._silence_ms(track))
            if _weak_for_long(track):
                due.append(track.last_ms)
        if not due:
            track.due_ms = -1
            return
        due_ms = min(due)
        if due_ms != track.due_ms:
            track.due_ms = due_ms
            heapq.heappush(self._heap, (due_ms, key))
            if len(self._heap) > 4 * len(self._tracks) + HEAP_SLACK:
                self._heap = [(one.due_ms, name) for name, one in self._tracks.items() if one.due_ms >= 0]
                heapq.heapify(self._heap)

    def _tell(self, kind: str, key: bytes, track: _Track, observed_ms: int) -> Fact:
        """A fact that sums up what was heard since the last one."""
        if track.n:
            mean, sd = mean_sd(track.n, track.total, track.squares)
            first_ms = track.first_ms
        else:
            mean, sd, first_ms = track.level_dbm, 0.0, track.last_ms
        fact = Fact(
            kind, key, observed_ms, first_ms, track.last_ms, round(mean, 2), round(sd, 2), track.n,
            track.last_ms - first_ms,
        )  # fmt: skip
        _forget_sums(track)
        return fact

    def _make_room(self, now_ms: int) -> list[Fact]:
        """Let the least recently heard go that is not present; if all are, such a one, said `unknown`."""
        facts = []
        while len(self._tracks) >= self.gates.max_tracks:  # more than once after new settings
            self.evicted += 1
            if self._absent:
                del self._tracks[self._absent.popitem(last=False)[0]]
            else:
                key, track = self._tracks.popitem(last=False)
                self.present -= 1
                facts.append(self._tell("unknown", key, track, now_ms))
        return facts

    def _tick(self, at_ms: int) -> int:
        self._now_ms = max(self._now_ms, at_ms)
        return self._now_ms


def _level(window: Sequence[tuple[int, float]], now_ms: int) -> float:
    recent = [rssi for heard_ms, rssi in window if heard_ms > now_ms - WINDOW_MS]
    return fenced_mean(recent)


def _weak_for_long(track: _Track) -> bool:
    """Only what is heard can be weak: a spell ends with its last advertisement, then silence decides."""
    return track.weak_since_ms is not None and track.last_ms >= track.weak_since_ms + WEAK_MS


def _forget_sums(track: _Track) -> None:
    track.n, track.total, track.squares = 0, 0.0, 0.0
