"""The live stream: what was committed, fanned out to whoever watches. Best effort by design; the store is the truth.

Each watcher has a bounded queue; a slow one loses its oldest events, and is told how many.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

from wire.errors import BadRequest

QUEUE_EVENTS = 1_000
"""Events that may wait for one watcher: some seconds of a busy hub, about 300 KiB."""

MAX_WATCHERS = 100
"""Open streams; each holds a connection and a queue."""


class Watcher:
    """One open stream: an async iterator of events, in order of commit. Ends when the stream is closed.

    When events had to be dropped, the next one is `{"type": "gap", "dropped": n}`.
    """

    def __init__(self, stream: "Stream", loop: asyncio.AbstractEventLoop) -> None:
        self._stream = stream
        self._loop = loop
        self._lock = threading.Lock()
        self._events: deque[Mapping[str, Any]] = deque()
        self._dropped = 0
        self._awake = False
        self._closed = False
        self._wake = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[Mapping[str, Any]]:
        return self

    async def __anext__(self) -> Mapping[str, Any]:
        while True:
            with self._lock:
                if self._dropped:
                    gap = {"type": "gap", "dropped": self._dropped}
                    self._dropped = 0
                    return gap
                if self._events:
                    return self._events.popleft()
                if self._closed:
                    raise StopAsyncIteration
                self._awake = False
                self._wake.clear()
            await self._wake.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the stream; idempotent."""
        self._stream.leave(self)
        self.end()

    def put(self, event: Mapping[str, Any]) -> int:
        """Queue an event, from any thread; how many older ones had to go."""
        with self._lock:
            gone = 0
            if len(self._events) >= QUEUE_EVENTS:
                self._events.popleft()
                self._dropped += 1
                gone = 1
            self._events.append(event)
            self._stir()
        return gone

    def end(self) -> None:
        """Let the iterator end once it is empty; from any thread."""
        with self._lock:
            self._closed = True
            self._stir()

    def _stir(self) -> None:
        if self._awake:
            return
        self._awake = True
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # the loop is gone, and the reader with it
            self._closed = True


class Stream:
    """Fans events out to its watchers. `notify` is `hub.ports.Notify`."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._watchers: set[Watcher] = set()
        self._closed = False

    def notify(self, event: Mapping[str, Any]) -> None:
        """Give `event` to every watcher; from any thread, never blocks."""
        with self._lock:
            watchers = tuple(self._watchers)
        for watcher in watchers:
            self.counts["dropped"] += watcher.put(event)
        self.counts["events"] += 1

    def watch(self) -> Watcher:
        """Open a stream; call from the event loop that will read it, and close it.

        Raises:
            BadRequest: too many are open.
        """
        watcher = Watcher(self, asyncio.get_running_loop())
        with self._lock:
            if len(self._watchers) >= MAX_WATCHERS:
                raise BadRequest(f"{MAX_WATCHERS} streams are open already; close one and try again")
            self._watchers.add(watcher)
            closed = self._closed
        if closed:
            watcher.end()
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Forget a watcher."""
        with self._lock:
            self._watchers.discard(watcher)

    def close(self) -> None:
        """End every stream; those opened later end at once."""
        with self._lock:
            self._closed = True
            watchers = tuple(self._watchers)
        for watcher in watchers:
            watcher.end()
