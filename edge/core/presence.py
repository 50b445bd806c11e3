"""Who is here? Advertisements in, facts out: enter, sample, exit, unknown. Pure; the boot clock is an argument.

    (nothing) --heard--> tracked --enough adverts, strong enough--> present --silence, or weak for long--> tracked
    tracked --silence--> (forgotten)          present --radio not to be trusted--> present, said `unknown`

Levels that decide are Tukey-fenced means over 15 s; a sample carries the plain mean of every advertisement since the
last fact, because a classifier at the hub was measured to lose accuracy on anything smoother.
"""

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from edge.core.smoothing import fenced_mean, mean_sd, percentile

WINDOW_MS = 15_000
"""Advertisements that make a level, ms: long enough to fence outliers at 1 Hz, short against a walk through a shop."""

WINDOW_MAX = 64
"""Most advertisements remembered per track: at 10 Hz six seconds, which is plenty for a level; bounds memory."""

ENTER_WITHIN_MS = 10_000
ENTER_ADVERTS = 3
"""Three advertisements in 10 s at the level, at 1 Hz: no stray frame lets anybody in, and nobody waits long."""

SPREAD_DB = 4.0
"""Deviation of single advertisements from their level, dB: 3.4 to 4.9 between neighbours, recorded in five places."""

SURE = 2.0
"""A level counts at once when it is this many of its standard errors above the entry level. Without them, whoever walks
past a little below that level is let in as soon as the noise of a few advertisements happens to carry them over it."""

LINGER_MS = 10_000
"""A level that stays at the entry level for this long lets in as well, ms: as long as ENTER_WITHIN_MS, so that a second
set of advertisements has confirmed the first."""

RETURN_MS = 120_000
"""Who left less than this ago needs no such proof, ms: at most the grace within which the hub joins a return to the
visit before it, so that nobody who walks past gets a visit by it."""

STRONG_ADVERTS = 2
"""Two suffice when strong: whoever is within a metre or two is inside."""

GAPS_MAX = 32
"""Gaps between the last advertisements from which a track's rhythm is learnt; fewer than WINDOW_MAX."""

OUTAGES_MAX = 8
"""Outages of the radio remembered, so as not to be taken for gaps; GAPS_MAX gaps hardly see more."""

GAP_SHARE = 0.95
GAP_FACTOR = 4
"""Silence means gone after 4 × the 95th percentile of the gaps: 0.003 false exits per hour at 35 % reception."""

WEAK_DB = 8.0
WEAK_MS = 20_000
"""So far below the entry level, for so long, is outside: hysteresis against somebody who stands in the doorway."""

WEAKEST_DBM = -127
"""A level is above this and below 0, dBm: 127, −127 and 0 are what Bluetooth stacks report when they do not know."""

QUEUE_SLACK = 64
"""Stale entries tolerated beyond four per track before a queue is rebuilt: keeps it flat under rotating ids."""


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


_new = tuple.__new__


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
    """One beacon. Sums are of what has not been told yet; `quiet_ms` is when its silence began to count.

    `look_ms` is the one entry in the queue of silences that counts.
    """

    key: bytes
    first_ms: int
    last_ms: int
    level_dbm: float
    quiet_ms: int
    present: bool = False
    near_since_ms: int | None = None  # while not present: at the entry level since
    weak_since_ms: int | None = None  # while present
    window: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=WINDOW_MAX))
    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    look_ms: int = 0


class PresenceEngine:
    """Follows at most `gates.max_tracks` beacons. `evicted` and `bad` only grow.

    Time never goes back in here: an earlier instant counts as the latest seen.

    An advertisement costs a few sums. What is owed waits in two queues: `_untold`, whose samples fall due in the order
    in which their first advertisement came; and `_silences`, a heap of one entry per track that may be early, never
    late. Looking at an entry that was early works out the next one, so that a beacon that is heard costs the heap
    nothing.
    """

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self.evicted = self.bad = self.present = 0
        self._tracks: dict[bytes, _Track] = {}
        self._absent: OrderedDict[bytes, None] = OrderedDict()  # not present, least recently heard first
        self._untold: deque[tuple[int, _Track]] = deque()  # with the instant of the first advertisement not told yet
        self._left: OrderedDict[bytes, int] = OrderedDict()  # when who left was last heard, first exit first
        self._silences: list[tuple[int, bytes]] = []
        self._now_ms = 0
        self._frozen, self._frozen_ms = False, 0
        self._outages: deque[tuple[int, int]] = deque(maxlen=OUTAGES_MAX)
        self._fit_ms, self._interval_ms = 0, gates.sample_interval_ms
        self._weak_dbm = gates.enter_dbm - WEAK_DB

    @property
    def tracks(self) -> int:
        """How many beacons are followed."""
        return len(self._tracks)

    def regate(self, gates: Gates) -> None:
        """New settings; whoever is followed stays so, each deadline is worked out anew."""
        self.gates = gates
        self._interval_ms = max(self._fit_ms, gates.sample_interval_ms)
        self._weak_dbm = gates.enter_dbm - WEAK_DB
        self._plan_all()

    def fit_samples(self, interval_ms: int) -> None:
        """Samples at most this often, ms; never more often than the settings say."""
        self._fit_ms, self._interval_ms = interval_ms, max(interval_ms, self.gates.sample_interval_ms)

    def hear(self, key: bytes, rssi_dbm: float, at_ms: int) -> list[Fact]:
        """One advertisement."""
        if not WEAKEST_DBM < rssi_dbm < 0:
            self.bad += 1
            return []
        if at_ms > self._now_ms:
            self._now_ms = at_ms
        else:
            at_ms = self._now_ms
        track = self._tracks.get(key)
        facts: list[Fact] = []
        if track is None:
            facts = self._make_room(at_ms)
            track = self._follow(key, rssi_dbm, at_ms)
        track.last_ms = track.quiet_ms = at_ms
        track.level_dbm = rssi_dbm
        track.window.append((at_ms, rssi_dbm))
        if track.n:
            track.n += 1
            track.total += rssi_dbm
            track.squares += rssi_dbm * rssi_dbm
        else:
            track.n, track.total, track.squares, track.first_ms = 1, rssi_dbm, rssi_dbm * rssi_dbm, at_ms
            self._untold.append((at_ms, track))
        if track.present:
            if rssi_dbm < self._weak_dbm or track.weak_since_ms is not None:
                facts += self._note_weakness(track, at_ms)
        else:
            self._absent.move_to_end(key)
            if self._may_enter(track, at_ms):
                facts.append(self._let_in(track, at_ms))
        return facts

    def advance(self, now_ms: int) -> list[Fact]:
        """Everything whose time has come."""
        now_ms = self._tick(now_ms)
        facts: list[Fact] = []
        untold, silences = self._untold, self._silences
        while untold and untold[0][0] <= now_ms - self._interval_ms:
            first_ms, track = untold.popleft()
            if track.first_ms != first_ms or not track.n:
                continue  # told meanwhile, or gone
            if track.total >= self.gates.sample_floor_dbm * track.n:
                facts.append(_tell("sample", track, now_ms))
            else:
                track.n = 0
        while silences and silences[0][0] <= now_ms and not self._frozen:
            look_ms, key = heapq.heappop(silences)
            looked = self._tracks.get(key)
            if looked is not None and looked.look_ms == look_ms:
                facts += self._look(looked, now_ms)
        return facts

    def due_ms(self) -> int | None:
        """When `advance` may have work; None while nothing is followed, or nothing can happen by time alone."""
        due = []
        if self._untold:
            due.append(self._untold[0][0] + self._interval_ms)
        if self._silences and not self._frozen:
            due.append(self._silences[0][0])
        return min(due, default=None)

    def hold(self) -> None:
        """The radio is suspiciously silent: nobody leaves until `thaw`; nothing is said of anybody."""
        if not self._frozen:
            self._frozen, self._frozen_ms = True, self._now_ms

    def freeze(self, now_ms: int) -> list[Fact]:
        """The radio cannot be trusted: say `unknown` of everybody present; nobody leaves until `thaw`."""
        now_ms = self._tick(now_ms)
        self.hold()
        return [_tell("unknown", track, now_ms) for track in self._tracks.values() if track.present]

    def thaw(self, now_ms: int) -> None:
        """The radio is back: every silence begins to count now."""
        now_ms = self._tick(now_ms)
        if self._frozen:
            self._frozen = False
            self._outages.append((self._frozen_ms, now_ms))
        for track in self._tracks.values():
            track.quiet_ms = now_ms
            track.weak_since_ms = None
        self._plan_all()

    # -- rules -------------------------------------------------------------------------------------------------

    def _may_enter(self, track: _Track, at_ms: int) -> bool:
        recent = [rssi for heard_ms, rssi in track.window if heard_ms > at_ms - ENTER_WITHIN_MS]
        if len(recent) < STRONG_ADVERTS:
            track.near_since_ms = None
            return False
        level, gates = fenced_mean(recent), self.gates
        if level >= gates.strong_dbm:
            return True
        if len(recent) < ENTER_ADVERTS or level < gates.enter_dbm:
            track.near_since_ms = None
            return False
        if track.near_since_ms is None:
            track.near_since_ms = at_ms
        sure = level >= gates.enter_dbm + SURE * SPREAD_DB / math.sqrt(len(recent))
        lingers = at_ms >= track.near_since_ms + LINGER_MS
        left_ms = self._left.get(track.key)
        return sure or lingers or (left_ms is not None and at_ms <= left_ms + RETURN_MS)

    def _note_weakness(self, track: _Track, at_ms: int) -> list[Fact]:
        """Called with every weak advertisement, and with every one while a weak spell lasts; it may end in an exit."""
        weak = _level(track.window, at_ms) < self._weak_dbm
        if track.weak_since_ms is None or not weak:
            track.weak_since_ms = at_ms if weak else None
            return []
        if self._frozen or at_ms < track.weak_since_ms + WEAK_MS:
            return []
        return [self._let_out(track)]

    def _silence_ms(self, track: _Track) -> int:
        gates = self.gates
        if not track.present:
            return gates.exit_silence_ms
        heard_ms = [heard_ms for heard_ms, _ in track.window][-GAPS_MAX - 1 :]
        gaps_ms = sorted(later - earlier for earlier, later in pairwise(heard_ms) if not self._deaf(earlier, later))
        if len(gaps_ms) < 2:
            return gates.exit_silence_ms
        learned_ms = GAP_FACTOR * percentile(gaps_ms, GAP_SHARE)
        return min(max(gates.exit_silence_ms, round(learned_ms)), gates.exit_silence_max_ms)

    def _deaf(self, from_ms: int, to_ms: int) -> bool:
        """Whether the radio was not to be trusted in between: what it missed is no rhythm of the beacon's."""
        return any(from_ms < thawed_ms and frozen_ms < to_ms for frozen_ms, thawed_ms in self._outages)

    def _look(self, track: _Track, now_ms: int) -> list[Fact]:
        """Has it been silent for too long?"""
        shortest_ms = self.gates.exit_silence_ms
        look_ms = track.quiet_ms + shortest_ms
        if look_ms <= now_ms:  # only now its rhythm matters; if it is heard again meanwhile, a new silence begins
            look_ms = min(track.quiet_ms + self._silence_ms(track), now_ms + shortest_ms)
        if look_ms > now_ms:
            self._plan(track, look_ms)
            return []
        facts = [self._let_out(track)] if track.present else []
        del self._tracks[track.key], self._absent[track.key]
        return facts

    # -- book-keeping ------------------------------------------------------------------------------------------

    def _let_in(self, track: _Track, at_ms: int) -> Fact:
        track.present, track.near_since_ms = True, None
        self.present += 1
        del self._absent[track.key]
        return _tell("enter", track, at_ms)

    def _let_out(self, track: _Track) -> Fact:
        track.present, track.weak_since_ms = False, None
        track.window.clear()  # what was heard before does not count towards the next entry
        self.present -= 1
        self._absent[track.key] = None
        self._remember(track)
        return _tell("exit", track, track.last_ms)

    def _remember(self, track: _Track) -> None:
        """Who left, for as long as that matters."""
        left = self._left
        while left and next(iter(left.values())) < self._now_ms - RETURN_MS:
            left.popitem(last=False)
        left.pop(track.key, None)
        left[track.key] = track.last_ms
        if len(left) > self.gates.max_tracks:
            left.popitem(last=False)

    def _follow(self, key: bytes, rssi_dbm: float, at_ms: int) -> _Track:
        track = self._tracks[key] = _Track(key, at_ms, at_ms, rssi_dbm, at_ms)
        self._absent[key] = None
        self._plan(track, at_ms + self.gates.exit_silence_ms)
        limit = 4 * len(self._tracks) + QUEUE_SLACK
        if len(self._silences) > limit:
            self._plan_all()
        if len(self._untold) > limit:
            self._untold = deque(
                (first_ms, one) for first_ms, one in self._untold if one.n and one.first_ms == first_ms
            )
        return track

    def _plan(self, track: _Track, look_ms: int) -> None:
        track.look_ms = look_ms
        heapq.heappush(self._silences, (look_ms, track.key))

    def _plan_all(self) -> None:
        """Every silence anew, as early as it may end."""
        for track in self._tracks.values():
            track.look_ms = track.quiet_ms + self.gates.exit_silence_ms
        self._silences = [(track.look_ms, key) for key, track in self._tracks.items()]
        heapq.heapify(self._silences)

    def _make_room(self, now_ms: int) -> list[Fact]:
        """Let the least recently heard go that is not present; if all are, the one due for a look, said `unknown`."""
        facts = []
        while len(self._tracks) >= self.gates.max_tracks:  # more than once after new settings
            self.evicted += 1
            if self._absent:
                gone, _ = self._absent.popitem(last=False)
                self._tracks.pop(gone).n = 0  # nothing is owed of it
                continue
            look_ms, key = heapq.heappop(self._silences)
            track = self._tracks.get(key)
            if track is not None and track.look_ms == look_ms:
                del self._tracks[key]
                self.present -= 1
                facts.append(_tell("unknown", track, now_ms))
        return facts

    def _tick(self, at_ms: int) -> int:
        self._now_ms = max(self._now_ms, at_ms)
        return self._now_ms


def _level(window: Sequence[tuple[int, float]], now_ms: int) -> float:
    recent = [rssi for heard_ms, rssi in window if heard_ms > now_ms - WINDOW_MS]
    return fenced_mean(recent)


def _tell(kind: str, track: _Track, observed_ms: int) -> Fact:
    """A fact that sums up what was heard since the last one."""
    # `_new(Fact, …)` is `Fact(…)` without a detour that takes as long as the rest of this function
    n, last_ms = track.n, track.last_ms
    track.n = 0
    if n < 2:
        return _new(Fact, (kind, track.key, observed_ms, last_ms, last_ms, track.level_dbm, 0.0, n, 0))
    mean, sd = mean_sd(n, track.total, track.squares)
    first_ms = track.first_ms
    mean, sd = round(mean * 100) / 100, round(sd * 100) / 100  # round(…, 2) goes through text: five times the cost
    return _new(Fact, (kind, track.key, observed_ms, first_ms, last_ms, mean, sd, n, last_ms - first_ms))
