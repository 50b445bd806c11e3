"""The whole system on this machine: broker, hub and edges as processes, phones and a till, on free ports."""

import asyncio
import json
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from simulators.feed import Ears, Feed
from simulators.foreign import Nodes, node_of
from simulators.phone import EVERYTHING, Phone
from simulators.programs import Program, call
from simulators.scene import EdgeSpec, Place, Stage
from simulators.tempo import Tempo
from simulators.till import Till
from wire.errors import LocalFault

HOST = "127.0.0.1"

READY_S = 60.0
"""Longest start of a program, s: seconds even on a loaded Pi."""

MAX_EDGE_PROCESSES = 4
"""More scanners than this share processes."""

HUB_SLOT = 0
"""Where in the pace file the hub says how late it is; edges follow."""

_KNOCK_S = 0.05

CANARY_UUID = "ca9a41e5-0000-4000-8000-000000000001"
"""The store's own beacon: a quiet edge is no dead radio."""

EDGE_SETTINGS: dict[str, Any] = {
    "connect_spread_s": 0.2,
    "telemetry_s": 1.0,
    "reconnect_max_s": 1.0,
    "enter_dbm": -82.0,
    "canary_uuid": CANARY_UUID,
}
"""Where a demonstration differs from a shop: nobody waits 30 s for the first connection or for the counters."""


class Town:
    """Programs and their addresses; everything lives in `home`. `edge` and `hub`: settings that differ."""

    def __init__(
        self,
        home: Path,
        place: Place,
        tempo: Tempo,
        edge: Mapping[str, Any] = MappingProxyType({}),
        hub: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.home, self.place, self.tempo, self._edge, self._hub = home, place, tempo, edge, hub
        self.mqtt_port, self.http_port = _free_ports(2)
        self.hub_toml = home / "hub.toml"
        self.prefix = secrets.token_hex(4)
        self.feed = self._ears()
        self.broker = Program(home, "broker", "hub", "broker", "--port", str(self.mqtt_port))
        self.hub = Program(home, "hub", "hub", "serve", "--config", str(self.hub_toml))
        self.edges = self._edge_programs()
        self.http = httpx.AsyncClient(base_url=f"http://{HOST}:{self.http_port}", timeout=15)
        self.keys: dict[str, str] = {}

    @property
    def programs(self) -> list[Program]:
        """Every program, in the order of starting."""
        return [self.broker, self.hub, *self.edges]

    def _ears(self) -> Ears:
        if self.place.listeners is None:
            return Feed(self.home / "air.sock")
        names = [edge.edge for edge in self.place.edges]
        return Nodes(self.place.listeners, names, (HOST, self.mqtt_port), self.prefix, self.tempo)

    def _edge_programs(self) -> list[Program]:
        if not isinstance(self.feed, Feed):
            return []  # nodes of another make run no program of ours
        share = max(1, min(MAX_EDGE_PROCESSES, len(self.place.edges)))
        groups: list[list[EdgeSpec]] = [list(self.place.edges[number::share]) for number in range(share)]
        programs = []
        for number, group in enumerate(groups, 1):
            options = [part for edge in group for part in ("--config", str(self._write_edge(edge)))]
            programs.append(Program(self.home, f"edges-{number}", "edge", "run", *options))
        return programs

    def _write_edge(self, edge: EdgeSpec) -> Path:
        assert isinstance(self.feed, Feed)
        settings = {
            **EDGE_SETTINGS,
            "edge": edge.edge,
            "store": self.place.store,
            "broker_url": f"mqtt://{HOST}:{self.mqtt_port}",
            "radio": f"replay:{self.feed.path}",
            "state_dir": str(self.home / edge.edge),
            "prefixes": [self.prefix],
            **self._pace(1 + self.place.edges.index(edge)),
            **self._edge,
        }
        path = self.home / f"{edge.edge}.toml"
        path.write_text(_toml(settings), "utf-8")
        return path

    def _pace(self, slot: int) -> dict[str, Any]:
        return {} if self.tempo.file is None else {"pace_file": str(self.tempo.file), "pace_slot": slot}

    async def open(self) -> None:
        """Start broker and hub, set the place up, start the edges; returns when all of it is ready."""
        settings = {
            "database": f"sqlite:{self.home / 'hub.db'}",
            "secret_file": str(self.home / "hub.secret"),
            "broker_url": f"mqtt://{HOST}:{self.mqtt_port}",
            "port": self.http_port,
            "prefixes": [self.prefix],
            "reconnect_max_s": 1.0,
            "foreign_topics": [self.place.listeners] if self.place.listeners else [],
            "foreign_enter_dbm": EDGE_SETTINGS["enter_dbm"],
            **self._pace(HUB_SLOT),
            **self._hub,
        }
        self.hub_toml.write_text(_toml(settings), "utf-8")
        self.broker.start()
        await self._until(self._broker_listens, self.broker)
        options = ("--config", str(self.hub_toml), "--json")
        self.keys["staff"] = (await asyncio.to_thread(call, "hub", "init", *options))["key"]
        for scope in ("app", "pos"):
            made = await asyncio.to_thread(call, "hub", "keys", "create", "--scope", scope, "--label", "demo", *options)
            self.keys[scope] = made["key"]
        self.hub.start()
        await self._until(self._hub_is_ready, self.hub)
        await self._furnish()
        await self.feed.start()
        for edge in self.edges:
            edge.start()
        try:
            async with asyncio.timeout(READY_S):
                await self.feed.wait_for({edge.edge for edge in self.place.edges})
        except TimeoutError:
            for edge in self.edges:
                edge.check()
            raise LocalFault("the edges do not listen to the simulated radio") from None

    async def enrol(self, phones: dict[str, Phone]) -> None:
        """Members agree, refusers are asked and say no, bystanders do not exist for us."""
        for actor in self.place.cast:
            if actor.who == "bystander":
                continue
            phone = phones[actor.name] = Phone(actor.name, self.tempo.now_ms)
            answers = dict.fromkeys(EVERYTHING, actor.who == "member")
            await phone.enrol(self.http, self.keys["app"], answers, self.place.locale)
            phone.listen(HOST, self.mqtt_port)
        for phone in phones.values():
            if not await asyncio.to_thread(phone.wait_listening, READY_S):
                raise LocalFault("a phone could not subscribe to its pushes")

    def till(self) -> Till:
        """The till of the store."""
        return Till(self.http, self.keys["pos"], self.place.store, "till-1", self.place.currency)

    async def report(self) -> dict[str, Any]:
        """`/v1/reports`."""
        reply = await self.http.get("/v1/reports", headers=self._staff())
        reply.raise_for_status()
        found: dict[str, Any] = reply.json()
        return found

    async def dropped_unread(self) -> int:
        """Messages about other people's devices that the hub dropped; nodes of another make tell of everybody."""
        reply = await self.http.get("/metrics")
        reply.raise_for_status()
        lines = (line.split() for line in reply.text.splitlines())
        return sum(int(float(words[1])) for words in lines if words[0] == "doorchime_foreign_not_ours_total")

    def check(self) -> None:
        """See that every program still runs.

        Raises:
            LocalFault: one ended.
        """
        for program in self.programs:
            program.check()

    async def close_edges(self) -> list[int]:
        """SIGTERM to every edge at once: they flush and say their last counters; exit codes."""
        return list(await asyncio.gather(*(asyncio.to_thread(edge.stop) for edge in self.edges)))

    async def close_rest(self) -> list[int]:
        """Stop feed, hub and broker; exit codes of the two."""
        await self.feed.stop()
        await self.http.aclose()
        return [await asyncio.to_thread(self.hub.stop), await asyncio.to_thread(self.broker.stop)]

    async def audit(self, witness: Path) -> dict[str, Any]:
        """`hub audit` over the store and what phones, tills and edges recorded."""
        options = ("--json", "--config", str(self.hub_toml), "--witness", str(witness))
        found: dict[str, Any] = await asyncio.to_thread(call, "hub", "audit", *options)
        return found

    async def _furnish(self) -> None:
        place = self.place
        store = {"name": place.name, "tz": place.tz, "locale": place.locale, "currency": place.currency}
        await self._put(f"/v1/stores/{place.store}", store)
        for zone in place.zones:
            body = {"name": zone.name, "kind": zone.kind}
            await self._put(f"/v1/stores/{place.store}/zones/{zone.zone}", body)
        for edge in place.edges:
            kind = place.listeners
            source = {"kind": kind, "node": node_of(kind, edge.edge)} if kind is not None else None
            await self._put(f"/v1/edges/{edge.edge}", {"store": place.store, "zone": edge.zone, "source": source})
        for name, offer in place.offers.items():
            await self._put(f"/v1/offers/{name}", {"state": "live", "body": offer})

    async def _put(self, path: str, body: dict[str, Any]) -> None:
        reply = await self.http.put(path, json=body, headers=self._staff())
        if not reply.is_success:
            raise LocalFault(f"PUT {path}: {reply.status_code} {reply.text[:200]}")

    def _staff(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys['staff']}"}

    async def _broker_listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(HOST, self.mqtt_port)
        except OSError:
            return False
        writer.close()
        return True

    async def _hub_is_ready(self) -> bool:
        try:
            reply = await self.http.get("/readyz")
        except httpx.TransportError:
            return False
        return reply.status_code == 200 and reply.json()["broker"] == "connected"

    @staticmethod
    async def _until(ready: Any, program: Program) -> None:
        try:
            async with asyncio.timeout(READY_S):
                while not await ready():
                    program.check()
                    await asyncio.sleep(_KNOCK_S)  # another process cannot signal us
        except TimeoutError:
            raise LocalFault(f"{program.name} is not ready after {READY_S:.0f} s: {program.last_words()}") from None


def new_stage(town: Town, phones: dict[str, Phone], dice: Any) -> Stage:
    """The stage of a town."""
    return Stage(feed=town.feed, tempo=town.tempo, phones=phones, till=town.till(), dice=dice)


def _free_ports(count: int) -> list[int]:
    """Ports that are free now; all are held until all are found, so that they differ."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def _toml(settings: dict[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
