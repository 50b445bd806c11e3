"""What a demonstration shows: a place, who is in it, and what they do. A synthetic shop here; a recording elsewhere."""

import asyncio
import heapq
import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from simulators import clock
from simulators.feed import Ears
from simulators.floorplan import FloorPlan
from simulators.phone import Phone
from simulators.radio import Air
from simulators.report import Sent
from simulators.tempo import Tempo
from simulators.till import Till
from simulators.walk import Person, populate
from wire.ibeacon import Beacon, encode_ad
from wire.trace import Frame


class ZoneSpec(NamedTuple):
    """A zone to set up."""

    zone: str
    name: str
    kind: str


class EdgeSpec(NamedTuple):
    """An edge to set up; several may share a process."""

    edge: str
    zone: str | None


class Actor(NamedTuple):
    """Somebody: `who` is member, refuser or bystander."""

    name: str
    who: str


@dataclass(frozen=True, slots=True)
class Place:
    """What staff would set up before opening."""

    name: str
    store: str
    tz: str
    locale: str
    currency: str
    zones: tuple[ZoneSpec, ...]
    edges: tuple[EdgeSpec, ...]
    offers: Mapping[str, dict[str, Any]]
    cast: tuple[Actor, ...]
    expects_expiry: bool
    listeners: str | None = None  # a kind of `simulators.foreign`: its edges are nodes of that make


@dataclass
class Stage:
    """Where a scene plays. `sent`: per member, when its advertisements were put on the air and heard by some edge."""

    feed: Ears
    tempo: Tempo
    phones: dict[str, Phone]
    till: Till
    dice: random.Random
    strangers: dict[str, "Stranger"] = field(default_factory=dict)
    sent: dict[str, list[Sent]] = field(default_factory=dict)
    redeeming: set[asyncio.Task[None]] = field(default_factory=set)
    baskets_minor: tuple[int, int] = (1_500, 9_000)

    def transmit(self, name: str, heard: Iterable[tuple[str, float]]) -> None:
        """One advertisement of somebody, at the edges that heard it with their RSSI."""
        stranger = self.strangers.get(name)
        if stranger is not None:
            adv, address = stranger.adv, stranger.address
        else:
            beacon = self.phones[name].beacon
            if beacon is None:
                return
            adv, address = encode_ad(beacon), "02:00:00:00:00:01"
        now_ms = self.tempo.now_ms()
        delivered = False
        for edge, rssi_dbm in heard:
            frame = Frame(t_ms=now_ms, scanner=edge, address=address, rssi_dbm=rssi_dbm, adv=adv.hex())
            delivered = self.feed.send(frame) or delivered
        if delivered and stranger is None:
            self.sent.setdefault(name, []).append(Sent(now_ms, clock.steady_ns()))

    def redeem(self, name: str) -> None:
        """Somebody shows a code to the till, if their phone has one: the best that lives, else the last that came."""
        phone = self.phones[name]
        push = phone.best(self.tempo.now_ms()) or phone.newest()
        if push is None:
            self.till.refused["no_offer"] += 1
            return
        basket_minor = self.dice.randint(*self.baskets_minor)
        work = self.till.redeem(push.code, basket_minor, f"{push.grant}-{len(self.redeeming)}")
        task = asyncio.create_task(self._settle(work))
        self.redeeming.add(task)

    @staticmethod
    async def _settle(work: Any) -> None:
        await work


@dataclass(frozen=True, slots=True)
class Stranger:
    """A bystander's transmitter: never enrolled, never asked."""

    adv: bytes
    address: str

    def traces(self) -> set[str]:
        """Hexadecimal identifiers that must be found nowhere afterwards."""
        return {self.address.replace(":", ""), self.adv[6:22].hex() if len(self.adv) >= 22 else self.adv.hex()}


def make_stranger(number: int, dice: random.Random) -> Stranger:
    """Other people's radio: foreign iBeacons, Apple continuity, a headset; each with an address of its own."""
    address = ":".join(f"{byte:02x}" for byte in bytes((0xC2, *dice.randbytes(5))))
    match number % 3:
        case 0:
            foreign = Beacon(b"\xf0" + dice.randbytes(15), dice.randrange(65_536), dice.randrange(65_536), -59)
            return Stranger(encode_ad(foreign), address)
        case 1:
            body = b"\xff\x4c\x00\x10\x12" + dice.randbytes(18)
            return Stranger(bytes((len(body),)) + body, address)
        case _:
            body = b"\xff\x75\x00\x42\x04" + dice.randbytes(20)
            return Stranger(bytes((len(body),)) + body, address)


class Scene(Protocol):
    """A place, and what happens in it."""

    place: Place
    duration_s: float
    longest_s: float  # beyond it nothing would happen

    async def play(self, stage: Stage, duration_s: float) -> None:
        """Let it happen, in the time of the stage."""


class ShopScene:
    """The synthetic shop of a floor plan."""

    def __init__(self, plan: FloorPlan, seed: int) -> None:
        self.plan, self.people = plan, populate(plan, seed)
        self.duration_s = plan.duration_s
        self.longest_s = math.inf
        self._air = Air(plan, random.Random(seed + 1))
        self.place = Place(
            name=plan.name,
            store=plan.store,
            tz=plan.tz,
            locale=plan.locale,
            currency=plan.currency,
            zones=tuple(ZoneSpec(zone.id, zone.name, zone.kind) for zone in plan.zone),
            edges=tuple(EdgeSpec(edge.id, edge.zone) for edge in plan.edge),
            offers={offer.id: offer.body for offer in plan.offer},
            cast=tuple(Actor(person.name, person.who) for person in self.people),
            expects_expiry=True,
        )

    async def play(self, stage: Stage, duration_s: float) -> None:
        """Everybody walks; each advertisement reaches whom it reaches; who reaches the till redeems."""
        stage.baskets_minor = self.plan.basket_minor
        start_s = stage.tempo.steady_s()
        queue: list[tuple[float, int, str]] = []
        for number, person in enumerate(self.people):
            first_s = person.walk.times_s[0] + stage.dice.random() * person.advert_ms / 1000
            queue.append((first_s, number, "advertise"))
            if person.who != "bystander":
                queue += [(at_s, number, "redeem") for at_s in person.walk.redeem_s]
        heapq.heapify(queue)
        while queue and queue[0][0] < duration_s:
            due_s, number, what = heapq.heappop(queue)
            await stage.tempo.until(start_s + due_s)
            person = self.people[number]
            if what == "redeem":
                stage.redeem(person.name)
                continue
            self._advertise(stage, person, due_s)
            # advDelay of the Bluetooth specification: 0 to 10 ms at random on every interval
            next_s = due_s + person.advert_ms / 1000 + stage.dice.random() * 0.01
            if next_s < person.walk.end_s:
                heapq.heappush(queue, (next_s, number, "advertise"))
        if math.isfinite(duration_s):
            await stage.tempo.until(start_s + duration_s)

    def _advertise(self, stage: Stage, person: Person, at_s: float) -> None:
        at = person.walk.at(at_s)
        if at is None:
            return
        heard = []
        for edge in self.plan.edge:
            rssi_dbm = self._air.receive(person.name, at, edge.id, edge.at)
            if rssi_dbm is not None:
                heard.append((edge.id, rssi_dbm))
        stage.transmit(person.name, heard)
