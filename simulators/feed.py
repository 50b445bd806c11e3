"""Puts frames on the air for real edges: a unix socket that every edge's replay backend connects to."""

import asyncio
import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Protocol

from wire.messages import Telemetry
from wire.trace import Frame, write_line

BUFFER_MAX_BYTES = 1_000_000
"""Frames waiting for a slow edge; beyond it they are lost in the air, and counted."""


class Ears(Protocol):
    """Whoever hears frames, by the name of the scanner. `counts` has at least sent and unheard."""

    counts: Counter[str]

    async def start(self) -> None:
        """Begin."""

    async def wait_for(self, scanners: set[str]) -> None:
        """Return when all of these listen."""

    def send(self, frame: Frame) -> bool:
        """One frame to the scanner it names; False when it was lost."""

    def telemetry(self) -> dict[str, Telemetry]:
        """Counters of those scanners that cannot publish their own."""

    async def stop(self) -> None:
        """Close everything."""


class Feed:
    """Serves scanners by name. `counts`: sent, unheard (nobody listens), overrun (an edge reads too slowly)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._listeners: dict[str, asyncio.StreamWriter] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._greet, self.path)

    async def wait_for(self, scanners: set[str]) -> None:
        """Return when all of these listen."""
        async with self._changed:
            await self._changed.wait_for(lambda: scanners <= self._listeners.keys())

    async def wait_for_count(self, count: int) -> None:
        """Return when so many listen."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._listeners) >= count)

    async def wait_gone(self, scanner: str) -> None:
        """Return when this one no longer listens."""
        async with self._changed:
            await self._changed.wait_for(lambda: scanner not in self._listeners)

    def send(self, frame: Frame) -> bool:
        """One frame to the scanner it names; False when it was lost."""
        writer = self._listeners.get(frame.scanner)
        if writer is None or writer.is_closing():
            self.counts["unheard"] += 1
            return False
        if writer.transport.get_write_buffer_size() > BUFFER_MAX_BYTES:
            self.counts["overrun"] += 1
            return False
        writer.write(write_line(frame))
        self.counts["sent"] += 1
        return True

    def telemetry(self) -> dict[str, Telemetry]:
        """None: edges publish their own."""
        return {}

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = ""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            name = str(json.loads(await reader.readline())["scanner"])
            await self._set(name, writer)
            await reader.read()  # until the edge goes
        except (ValueError, KeyError, TypeError, ConnectionError):
            pass  # whoever it was spoke no sense, or is gone
        finally:
            if self._listeners.get(name) is writer:
                await self._set(name, None)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _set(self, name: str, writer: asyncio.StreamWriter | None) -> None:
        async with self._changed:
            if writer is None:
                del self._listeners[name]
            else:
                self._listeners[name] = writer
            self._changed.notify_all()
