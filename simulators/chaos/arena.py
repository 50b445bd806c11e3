"""A town to be struck: programs behind a tapped wire, a crowd, blows, and the judgement at the end."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from simulators import clock
from simulators.chaos import checker, evidence
from simulators.chaos.brokers import mosquitto
from simulators.chaos.checker import Violation
from simulators.chaos.crowd import Crowd
from simulators.chaos.proxy import Proxy
from simulators.chaos.tap import Tap
from simulators.programs import Program
from simulators.scene import EdgeSpec, Place, ZoneSpec
from simulators.tempo import Tempo
from simulators.town import HOST, Town
from simulators.witness import identities_in, write_witness
from wire.errors import LocalFault

EDGES = ("edge-door", "edge-floor")

PLACE = Place(
    name="chaos",
    store="chaos-1",
    tz="UTC",
    locale="en",
    currency="EUR",
    zones=(ZoneSpec("door", "Door", "door"), ZoneSpec("floor", "Floor", "floor")),
    edges=(EdgeSpec("edge-door", "door"), EdgeSpec("edge-floor", "floor")),
    offers={
        "welcome": {
            "name": "welcome",
            "trigger": {"on": "enter"},
            "currency": "EUR",
            "content": {"en": {"title": "Hello"}},
            "curve": {"kind": "linear", "start_bp": 3000, "floor_bp": 500, "life_ms": 3_600_000},
        },
        "lingering": {
            "name": "lingering",
            "trigger": {"on": "dwell", "dwell_s": 2},
            "currency": "EUR",
            "content": {"en": {"title": "Still here"}},
            "curve": {"kind": "cliff", "start_bp": 1000, "floor_bp": 0, "life_ms": 3_600_000},
        },
    },
    cast=(),
    expects_expiry=False,
)
"""One shop, one edge at its door and one inside; one offer for coming and one for staying, of which one may be had."""

EDGE_SETTINGS = {
    "connect_spread_s": 0,
    "sample_interval_s": 0.25,
    "exit_silence_s": 2,
    "exit_silence_max_s": 5,
}
"""Much traffic, and leaving is noticed soon."""

HUB_SETTINGS = {"late_push_s": 3600}
"""A decision that an outage delayed is made all the same, so that a missing one is a fault."""

LIFE_S = 60.0
"""Longest wait for a sign of life after a blow, s: an edge's longest pause between tries."""

SETTLE_S = 180.0
"""Longest wait at the end for the hub to hold everything, s: three of an edge's longest pauses."""

LOOK_S = 0.1


@dataclass(slots=True)
class Verdict:
    """What a run came to."""

    violations: list[Violation] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)


class Arena:
    """One run in `home`: enter, strike, `finish`.

    Args:
        home: an empty folder; all evidence stays in it.
        seed: of people and wire.
        settings: of mosquitto; None takes the embedded broker.

    `broken` collects what went wrong on the way; `slowest_ms` is the longest wait for a sign of life.
    """

    def __init__(self, home: Path, seed: int, settings: str | None) -> None:
        self.home = home
        self.dice = random.Random(f"people {seed}")
        self.tap = Tap(home / evidence.TAP)
        self.proxy = Proxy(self.tap, random.Random(f"wire {seed}"))
        self.broken: list[Violation] = []
        self.slowest_ms = 0
        self._mosquitto = settings
        self._numbered: dict[evidence.BootKey, int] = {}
        self._stack = AsyncExitStack()
        self._playing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Arena":
        self._stack.callback(self.tap.close)
        try:
            await self.proxy.start()
            self._stack.push_async_callback(self.proxy.stop)
            edge = {**EDGE_SETTINGS, "broker_url": f"mqtt://{HOST}:{self.proxy.port}"}
            self.town = Town(self.home, PLACE, Tempo(1, self.home), edge, HUB_SETTINGS)
            self.proxy.upstream_port = self.town.mqtt_port
            if self._mosquitto is not None:
                self.town.broker = mosquitto(self.home, self.town.mqtt_port, self._mosquitto)
            self._stack.push_async_callback(self._stop_programs)
            self.crowd = Crowd(self.town, self.dice)
            self._stack.push_async_callback(self.crowd.close)
            await self.town.open()
            self._playing = asyncio.create_task(self.crowd.play(), name="crowd")
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._playing is not None:
            self._playing.cancel()
        await self._stack.aclose()

    # -- blows -------------------------------------------------------------------------------------------------

    def program(self, name: str) -> Program:
        """`hub`, `broker`, or an edge."""
        if name in EDGES:
            return self.town.edges[EDGES.index(name)]
        return {"hub": self.town.hub, "broker": self.town.broker}[name]

    async def kill(self, name: str) -> None:
        """kill -9, now; then what an edge had numbered is read from its file, before it starts again."""
        program = self.program(name)
        await asyncio.to_thread(program.kill)
        if name in EDGES:
            found = await asyncio.to_thread(evidence.read_outbox, self._outbox(name))
            self._numbered |= {(name, boot): last for boot, last in found.boots.items()}

    def sign_of_life(self, name: str, reborn: bool = True) -> Callable[[], bool]:
        """Taken before, it is true once the hub has answered every edge again; of an edge that starts anew, in its
        new life."""
        edges = [name] if name in EDGES else list(EDGES)
        boots = {edge: len(self.tap.boots[edge]) for edge in edges}
        acks = {edge: self.tap.acks[edge] for edge in edges}
        if name in EDGES and reborn:
            return lambda: len(self.tap.boots[name]) > boots[name]
        return lambda: all(self.tap.acks[edge] > acks[edge] for edge in edges)

    async def expect(self, alive: Callable[[], bool], what: str) -> None:
        """Wait for a sign of life; its absence is a violation."""
        start_s = clock.steady_s()
        answered = await self.tap.until(alive, LIFE_S)
        self.slowest_ms = max(self.slowest_ms, round((clock.steady_s() - start_s) * 1000))
        if not answered:
            self.broken.append(Violation("everything comes back", f"{what}: nothing after {LIFE_S:.0f} s"))

    def check(self) -> None:
        """A program that ended although nobody struck it is a violation.

        Raises:
            LocalFault: one did; the run is over.
        """
        if self._playing is not None and self._playing.done():
            self._playing.result()
        for program in self.town.programs:
            try:
                program.check()
            except LocalFault as fault:
                self.broken.append(Violation("programs end only when they are killed", str(fault)))
                raise

    # -- the end -----------------------------------------------------------------------------------------------

    async def finish(self) -> Verdict:
        """Everybody leaves, the hub catches up, all programs stop, everything is judged."""
        await self.settle()
        codes = await self.town.close_edges()
        await self.proxy.stop()
        await self.crowd.close()
        codes += await self.town.close_rest()
        for program, code in zip((*self.town.edges, self.town.hub, self.town.broker), codes, strict=True):
            if code != 0:
                self.broken.append(Violation("programs end when asked", f"{program.name}: exit code {code}"))
        self.tap.close()
        self._write()
        found = await asyncio.to_thread(evidence.collect, self.home, EDGES)
        broken = self.broken + await asyncio.to_thread(checker.judge, found)
        audit = await self.town.audit(self.home)
        broken += [Violation(f"hub audit: {one['invariant']}", one["detail"]) for one in audit["violations"]]
        leaks = identities_in(self.home, self.crowd.phones, self.town.keys.values(), "")
        broken += [Violation("no log names anybody", f"{name}: {count} lines") for name, count in leaks.items()]
        repeats = sum(phone.repeats for phone in self.crowd.phones)
        more = {"pushes_repeated": repeats, "slowest_sign_of_life_ms": self.slowest_ms}
        return Verdict(broken, {**checker.figures(found), **more})

    async def settle(self) -> None:
        """Until the hub holds everything, no push waits, and every edge is seen; what stays open is a violation."""
        await self.crowd.settle(SETTLE_S)
        self.crowd.look_at_phones()
        self.crowd.go_all()
        self.tap.tracks.clear()
        await self._until(self._all_told, "the edges follow nobody and the hub holds every event")
        await self._until(self._hub_at_rest, "no push waits and every edge is online")
        await self.crowd.read_wallets()
        self.crowd.look_at_phones()
        await self.crowd.settle(SETTLE_S)
        for failure in self.crowd.failed:
            self.broken.append(Violation("people can always use the hub", str(failure) or repr(failure)))

    async def _all_told(self) -> bool:
        self.check()
        if not self.tap.even or any(self.tap.tracks.get(edge) != 0 for edge in EDGES):
            return False
        outboxes = await asyncio.to_thread(lambda: [evidence.read_outbox(self._outbox(edge)) for edge in EDGES])
        return not any(outbox.waiting for outbox in outboxes)

    async def _hub_at_rest(self) -> bool:
        self.check()
        try:
            report = await self.town.report()
        except httpx.HTTPError:
            return False
        waiting = report["pushes"]["queued"] + report["pushes"]["leased"]
        return not waiting and all(edge["status"] == "online" for edge in report["edges"])

    async def _until(self, ready: Callable[[], Awaitable[bool]], what: str) -> None:
        deadline_s = clock.steady_s() + SETTLE_S
        while not await ready():
            if clock.steady_s() > deadline_s:
                self.broken.append(Violation("everything settles", f"not within {SETTLE_S:.0f} s: {what}"))
                return
            await asyncio.sleep(LOOK_S)  # other processes cannot signal us

    async def _stop_programs(self) -> None:
        for program in self.town.programs:
            program.resume()
        await self.town.close_edges()
        await self.town.close_rest()

    def _outbox(self, edge: str) -> Path:
        return self.home / edge / "outbox.db"

    def _write(self) -> None:
        self.crowd.write(self.home)
        numbered = [[*key, last] for key, last in self._numbered.items()]
        (self.home / evidence.NUMBERED).write_text(json.dumps(numbered) + "\n", "utf-8")
        published = {edge: evidence.read_outbox(self._outbox(edge)).published for edge in EDGES}
        records: Iterable[dict[str, Any]] = (record for till in self.crowd.tills for record in till.records)
        write_witness(self.home, self.crowd.phones, records, published, set())
