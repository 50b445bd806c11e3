"""A recording as a scene: its scanners become edges, its tags enrolled people, its zones zones.

Declared additions, so that privacy has something to refuse: three bystanders and one person who said no, heard twice a
second by the first scanners. Nothing else is added, and no sighting is changed.

A sparse recording (a scanner reports a tag every 6 s or so) holds no advertisements but reports that were smoothed
already: its scanners become listeners of another make, `simulators.foreign`, and the added people are heard every 5 s.
"""

import heapq
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulators.scene import Actor, EdgeSpec, Place, Stage, ZoneSpec
from wire.errors import BadConfig, BadTrace
from wire.trace import Header, Sighting, TraceReader, Truth

ADDED = (
    Actor("added-refuser", "refuser"),
    Actor("added-bystander-1", "bystander"),
    Actor("added-bystander-2", "bystander"),
    Actor("added-bystander-3", "bystander"),
)
"""Who is not in the recording."""

ADDED_EVERY_S = 0.5
ADDED_SPARSE_S = 5.0
ADDED_DBM = -65.0
"""How often and how strong the added people are heard, s and dBm; at 5 s where scanners report rather than hear."""

SPARSE_HZ = 0.5
SPARSE_MS = 2_500
"""Below this rate, or where most pauses between two sightings of a tag by a scanner are longer, a recording is sparse:
our edges ask for three advertisements in 10 s before they let anybody in."""

REDEEM_AFTER_S = 15.0
"""Time from a push to the till, s: a walk through a room."""

CLEARLY_DBM = -80.0
"""Level from which a scanner's zone counts as entered where the recording has no truth, dBm."""

OFFER: dict[str, Any] = {
    "name": "Welcome in",
    "trigger": {"on": "enter"},
    "curve": {"kind": "linear", "start_bp": 3000, "floor_bp": 500, "life_ms": 60_000, "round_bp": 10},
    "currency": "EUR",
    "max_discount_minor": 2_000,
    "content": {"en": {"title": "30 % off, melting", "body": "What you see now is what you get at the door."}},
}


class RecordedScene:
    """A sightings trace, played from its first line."""

    def __init__(self, path: Path) -> None:
        """Read the header and the way of each tag.

        Raises:
            BadConfig: it cannot be read, or holds frames without tags to enrol.
        """
        self._path = path
        header, doors, self.duration_s, sparse = _survey(path)
        self.longest_s = self.duration_s
        self._added_every_s = ADDED_SPARSE_S if sparse else ADDED_EVERY_S
        self._edge_of = _slugs([scanner.id for scanner in header.scanners])
        zone_of = _slugs(header.zones)
        self._tags = {tag: f"tag-{number}" for number, tag in enumerate(header.beacons, 1)}
        kinds = {zone: "door" if zone in doors else "floor" for zone in header.zones}
        members = tuple(Actor(name, "member") for name in self._tags.values())
        self.place = Place(
            name=_slug(header.name),
            store=_slug(header.name)[:64],
            tz="UTC",
            locale="en",
            currency="EUR",
            zones=tuple(ZoneSpec(zone_of[zone], zone[:200], kinds[zone]) for zone in header.zones),
            edges=tuple(
                EdgeSpec(self._edge_of[scanner.id], zone_of.get(scanner.zone or "")) for scanner in header.scanners
            ),
            offers={"welcome": OFFER},
            cast=(*members, *ADDED),
            expects_expiry=False,  # a recording of one tag has one visit, and its one offer is redeemed
            listeners="espresense" if sparse else None,
        )

    async def play(self, stage: Stage, duration_s: float) -> None:
        """Every sighting at its time; who got an offer goes to the till, every third person never does."""
        start_s = stage.tempo.steady_s()
        added = self._added()
        shown: dict[str, float] = {}
        for t_s, name, edge, rssi_dbm in heapq.merge(self._sightings(), added):
            if t_s >= duration_s:
                break
            await stage.tempo.until(start_s + t_s)
            stage.transmit(name, [(edge, rssi_dbm)])
            self._go_to_till(stage, shown, stage.tempo.steady_s() - start_s)
        while (now_s := stage.tempo.steady_s() - start_s) < duration_s:
            await stage.tempo.until(start_s + min(duration_s, now_s + 0.5))
            self._go_to_till(stage, shown, stage.tempo.steady_s() - start_s)

    def _go_to_till(self, stage: Stage, shown: dict[str, float], now_s: float) -> None:
        for number, name in enumerate(self._tags.values(), 1):
            for grant in list(stage.phones[name].received):
                due_s = shown.setdefault(grant, now_s + REDEEM_AFTER_S)
                if now_s >= due_s and number % 3:
                    shown[grant] = float("inf")
                    stage.redeem(name)

    def _sightings(self) -> Iterator[tuple[float, str, str, float]]:
        with opened(self._path) as lines:
            reader = TraceReader(lines)
            while True:
                try:
                    line = next(reader)
                except StopIteration:
                    return
                except BadTrace:
                    continue
                if isinstance(line, Sighting) and line.scanner in self._edge_of and line.beacon in self._tags:
                    rssi_dbm = max(-127.0, min(20.0, line.rssi_dbm))
                    yield line.t_ms / 1000, self._tags[line.beacon], self._edge_of[line.scanner], rssi_dbm

    def _added(self) -> Iterator[tuple[float, str, str, float]]:
        edges = [edge.edge for edge in self.place.edges]
        step = 0
        while True:
            for number, actor in enumerate(ADDED):
                yield step * self._added_every_s, actor.name, edges[number % len(edges)], ADDED_DBM
            step += 1


def _survey(path: Path) -> tuple[Header, set[str], float, bool]:
    """Header, the first zone of every tag, the length in s, and whether it is sparse. One pass."""
    doors: dict[str, str] = {}
    clearly: dict[str, str] = {}
    end_ms = 0
    pauses = _Pauses()
    try:
        with opened(path) as lines:
            reader = TraceReader(lines)
            header = reader.header
            if header is None:
                raise BadConfig(f"trace {path.name}: holds frames, which name no tags to enrol; give a *.trace.jsonl")
            zone_of = {scanner.id: scanner.zone for scanner in header.scanners}
            while True:
                try:
                    line = next(reader)
                except StopIteration:
                    break
                except BadTrace:
                    continue
                end_ms = line.t_ms
                if isinstance(line, Sighting):
                    pauses.note(line)
                if isinstance(line, Truth) and line.truth is not None:
                    doors.setdefault(line.beacon, line.truth)
                elif isinstance(line, Sighting) and line.rssi_dbm >= CLEARLY_DBM:
                    zone = zone_of.get(line.scanner)
                    if zone is not None:
                        clearly.setdefault(line.beacon, zone)
    except (OSError, lzma.LZMAError, EOFError, BadTrace) as exc:
        raise BadConfig(f"trace {path}: {exc}") from exc
    sparse = pauses.mostly_long() if header.rate_hz is None else header.rate_hz < SPARSE_HZ
    return header, set({**clearly, **doors}.values()), end_ms / 1000, sparse


class _Pauses:
    """Whether the median pause between two sightings of a tag by a scanner is long, without keeping them."""

    def __init__(self) -> None:
        self._last_ms: dict[tuple[str, str], int] = {}
        self._long = self._short = 0

    def note(self, line: Sighting) -> None:
        before_ms = self._last_ms.get((line.scanner, line.beacon))
        if before_ms is not None:
            if line.t_ms - before_ms > SPARSE_MS:
                self._long += 1
            else:
                self._short += 1
        self._last_ms[line.scanner, line.beacon] = line.t_ms

    def mostly_long(self) -> bool:
        return self._long > self._short


def opened(path: Path) -> Any:
    """A recording as lines of bytes; `.xz` is unpacked."""
    return lzma.open(path, "rb") if path.suffix == ".xz" else path.open("rb")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def _slugs(names: list[str]) -> dict[str, str]:
    """Names as topic levels; two that would fall together are numbered."""
    found: dict[str, str] = {}
    for name in names:
        slug = _slug(name)[:60]
        number = 2
        fresh = slug
        while fresh in found.values():
            fresh, number = f"{slug}-{number}", number + 1
        found[name] = fresh
    return found
