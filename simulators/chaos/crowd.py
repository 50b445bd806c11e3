"""Guests of a run: they enrol while programs die, advertise, receive their push, show it to a till, and leave."""

import asyncio
import json
import random
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from simulators import clock
from simulators.chaos.evidence import GUESTS, beacon_name
from simulators.chaos.plan import Arrival
from simulators.phone import EVERYTHING, Phone
from simulators.till import Till
from simulators.town import HOST, Town
from wire.errors import LocalFault
from wire.ibeacon import Beacon, encode_ad, format_uuid
from wire.trace import Frame

ADVERT_S = 0.1
"""Advertising interval, s: the shortest that phones use, so that something is always under way."""

NEAR_DBM, FAR_DBM = -52.0, -90.0
"""Levels at the edge beside a guest (two advertisements let them in) and at the others (samples only), dBm."""

TRIES = 200
PAUSE_S = 0.3
"""Repeats while hub or broker is down, and the pause before each, s: after a minute something is really wrong."""

GRACE_ROUNDS = 6
"""How long a phone listens after its owner has left, in rounds: longer than a push waits behind a killed sender."""


@dataclass(slots=True)
class Body:
    """A guest who came. `near`: the edge beside them, None while they are not on the air; `gone`: rounds since."""

    arrival: Arrival
    phone: Phone | None
    beacon: Beacon
    near: str | None
    asked: list[str] = field(default_factory=list)
    gone: int = 0


class Crowd:
    """Everybody of a run. `play` must run for advertisements to go out. `failed`: what people could not do."""

    def __init__(self, town: Town, dice: random.Random) -> None:
        self.bodies: dict[str, Body] = {}
        self.tills: list[Till] = []
        self.failed: list[BaseException] = []
        self._town, self._dice = town, dice
        self._busy: set[asyncio.Task[None]] = set()
        self._invited: set[str] = set()
        self._going: set[str] = set()

    async def play(self) -> None:
        """Advertise until cancelled."""
        edges = [edge.edge for edge in self._town.place.edges]
        while True:
            for body in list(self.bodies.values()):
                if body.near is not None:
                    adv = encode_ad(body.beacon).hex()
                    for edge in edges:
                        level = (NEAR_DBM if edge == body.near else FAR_DBM) + self._dice.randrange(-2, 3)
                        frame = Frame(t_ms=0, scanner=edge, address="02:00:00:00:00:01", rssi_dbm=level, adv=adv)
                        self._town.feed.send(frame)
            await asyncio.sleep(ADVERT_S)  # the advertising interval, not a wait

    def come(self, arrivals: Iterable[Arrival]) -> None:
        """They enrol, then go on the air; returns at once."""
        for arrival in arrivals:
            self._invited.add(arrival.name)
            self._spawn(self._arrive(arrival))

    def move(self, name: str, edge: str) -> None:
        """Walk to another edge, if already there."""
        body = self.bodies.get(name)
        if body is not None and body.near is not None:
            body.near = edge

    def go(self, names: Iterable[str]) -> None:
        """Leave; who is still enrolling leaves as soon as they are done."""
        for name in names:
            self._going.add(name)
            if name in self.bodies:
                self.bodies[name].near = None

    def go_all(self) -> None:
        """Everybody leaves."""
        self.go(self._invited)

    def look_at_phones(self) -> None:
        """Whoever received an offer and wants to, shows it to a till; phones of who left long ago hang up."""
        for body in self.bodies.values():
            phone = body.phone
            if phone is None:
                continue
            offers = {grant: one.push for grant, one in list(phone.received.items())} | phone.wallet
            if body.arrival.redeems and not body.asked:
                for grant, push in offers.items():
                    body.asked.append(grant)
                    self._spawn(self._redeem(grant, push.code, body.arrival.twice))
            if body.near is None:
                body.gone += 1
                if body.gone == GRACE_ROUNDS:
                    self._spawn(asyncio.to_thread(phone.hang_up))

    async def read_wallets(self) -> None:
        """Every phone asks the hub what it holds."""
        for phone in self.phones:
            try:
                await phone.read_wallet(self._town.http)
            except httpx.HTTPError as exc:
                self.failed.append(exc)

    async def settle(self, within_s: float) -> None:
        """Wait until nobody is at a till or enrolling any more; who is, still, has failed."""
        if self._busy:
            _, late = await asyncio.wait(self._busy, timeout=within_s)
            if late:
                self.failed.append(LocalFault(f"{len(late)} people were not served within {within_s:.0f} s"))

    async def close(self) -> None:
        """Hang up and give up whatever is under way."""
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        phones = [body.phone for body in self.bodies.values() if body.phone is not None]
        await asyncio.gather(*(asyncio.to_thread(phone.hang_up) for phone in phones))

    @property
    def phones(self) -> list[Phone]:
        """Of everybody who has one."""
        return [body.phone for body in self.bodies.values() if body.phone is not None]

    def write(self, folder: Path) -> None:
        """Who was there, for the judge."""
        guests = [
            {
                "name": name,
                "who": body.arrival.who,
                "beacon": beacon_name(format_uuid(body.beacon.uuid), body.beacon.major, body.beacon.minor),
                "profile": body.phone.profile if body.phone else "",
                "device": body.phone.device if body.phone else "",
                "asked": body.asked,
                "wallet": sorted(body.phone.wallet) if body.phone else [],
            }
            for name, body in self.bodies.items()
        ]
        (folder / GUESTS).write_text(json.dumps(guests, indent=1) + "\n", "utf-8")

    async def _arrive(self, arrival: Arrival) -> None:
        if arrival.who == "stranger":  # of our fleet's prefix, never enrolled
            uuid = bytes.fromhex(self._town.prefix) + self._dice.randbytes(12)
            phone, beacon = None, Beacon(uuid, self._dice.randrange(65_536), self._dice.randrange(65_536), -59)
        else:
            phone = Phone(arrival.name, clock.now_ms)
            await self._enrol(phone, dict.fromkeys(EVERYTHING, arrival.who == "member"))
            phone.listen(HOST, self._town.mqtt_port)
            for _ in range(TRIES):
                if phone.wait_listening(0):
                    break
                await asyncio.sleep(PAUSE_S)  # the broker is down on purpose
            if phone.beacon is None:
                raise LocalFault("the hub allotted no beacon")
            beacon = phone.beacon
        near = None if arrival.name in self._going else arrival.near
        self.bodies[arrival.name] = Body(arrival, phone, beacon, near)

    async def _enrol(self, phone: Phone, answers: dict[str, bool]) -> None:
        for _ in range(TRIES):
            try:
                await phone.enrol(self._town.http, self._town.keys["app"], answers, self._town.place.locale)
            except httpx.TransportError:
                pass
            except httpx.HTTPStatusError as exc:
                if exc.response.status_code < 500:
                    raise LocalFault(f"enrolling failed: {exc.response.text[:200]}") from exc
            else:
                return
            await asyncio.sleep(PAUSE_S)  # the hub is down on purpose
        raise LocalFault("the hub never let a phone enrol")

    async def _redeem(self, grant: str, code: str, twice: bool) -> None:
        basket_minor = self._dice.randint(1_500, 9_000)
        tills = [self._town.till() for _ in range(2 if twice else 1)]
        self.tills += tills
        await asyncio.gather(*(self._insist(till, code, basket_minor, f"{n}-{grant}") for n, till in enumerate(tills)))

    @staticmethod
    async def _insist(till: Till, code: str, basket_minor: int, idempotency: str) -> None:
        for count in range(1, TRIES):
            await till.redeem(code, basket_minor, idempotency)
            if till.refused["unreachable"] < count:
                return
        raise LocalFault("the hub never answered a till")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._busy.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._busy.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.failed.append(failure)
