"""A record of what edges said and what the hub told them, taken from the wire between edge and broker."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from wire.errors import RemoteFault
from wire.messages import Ack, Presence, Telemetry, read, read_presence
from wire.topics import parse_edge_topic


class Tap:
    """Records to `path`, JSON lines, in the order of passing; knows how far every boot of every edge has come.

    `passed` counts messages both ways. `said`: (edge, boot) → last sequence that left the edge; `told`: → highest
    sequence the hub said it holds; `acks`: edge → how many acks passed; `boots`: edge → its boots, oldest first;
    `tracks`: edge → how many beacons it said it follows, of those that said so since this was cleared.
    """

    def __init__(self, path: Path) -> None:
        self.passed = 0
        self.said: dict[tuple[str, str], int] = {}
        self.told: dict[tuple[str, str], int] = {}
        self.acks: Counter[str] = Counter()
        self.boots: dict[str, list[str]] = defaultdict(list)
        self.tracks: dict[str, float] = {}
        self._file = path.open("w", encoding="utf-8")
        self._waiting: set[asyncio.Future[None]] = set()

    def note(self, topic: str, payload: bytes) -> None:
        """One PUBLISH of either direction; what is neither presence nor ack is not recorded."""
        self.passed += 1
        try:
            edge, leaf = parse_edge_topic(topic)[1:]
            if leaf == "presence":
                self._said(edge, read_presence(payload).message)
            elif leaf == "ack":
                self._told(edge, read(Ack, payload))
            elif leaf == "telemetry":
                self.tracks[edge] = read(Telemetry, payload).gauges["tracks"]
        except RemoteFault as fault:
            self._write({"unreadable": str(fault)})
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def until(self, ready: Callable[[], bool], within_s: float) -> bool:
        """Wait for messages until `ready` says so; whether it did within the time."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within_s):
                while not ready():
                    future: asyncio.Future[None] = loop.create_future()
                    self._waiting.add(future)
                    try:
                        await future
                    finally:
                        self._waiting.discard(future)
        except TimeoutError:
            return ready()
        return True

    async def more(self, count: int, within_s: float) -> bool:
        """Wait for so many further messages; whether they came within the time."""
        aim = self.passed + count
        return await self.until(lambda: self.passed >= aim, within_s)

    @property
    def even(self) -> bool:
        """Whether the hub holds all that was ever said."""
        return all(self.told.get(boot, 0) >= seq for boot, seq in self.said.items())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _said(self, edge: str, message: Presence) -> None:
        self._know(edge, message.boot)
        events = message.model_dump(mode="json", include={"events"})["events"]
        self._write({"edge": edge, "boot": message.boot, "earlier": message.sent_mono_ms is None, "events": events})
        if events:
            key = (edge, message.boot)
            self.said[key] = max(self.said.get(key, 0), message.events[-1].seq)

    def _told(self, edge: str, ack: Ack) -> None:
        self._know(edge, ack.boot)
        self.acks[edge] += 1
        key = (edge, ack.boot)
        self.told[key] = max(self.told.get(key, 0), ack.upto)
        self._write({"edge": edge, "boot": ack.boot, "upto": ack.upto})

    def _know(self, edge: str, boot: str) -> None:
        if boot not in self.boots[edge]:
            self.boots[edge].append(boot)

    def _write(self, line: dict[str, object]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
