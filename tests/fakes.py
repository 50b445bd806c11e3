"""Stand-ins for ports, held to the same contracts as the real ones where there is one."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from hub.core.model import Push
from hub.ports import Busy, Fate, Receipt, Store, Tx
from wire import messages

T = TypeVar("T")


class ManualClock:
    """A `Clock` that stands still until told otherwise."""

    def __init__(self, now_ms: int = 1_790_942_400_000) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        with self._lock:
            return self._now_ms

    def pause_s(self, ms: int) -> float:
        return max(ms, 0) / 1000

    def most_ms(self, real_s: float) -> int:
        return int(real_s * 1000)

    def behind(self, ms: int) -> None:
        pass

    def advance(self, ms: int) -> None:
        with self._lock:
            self._now_ms += ms


class InlineWriter:
    """A `Writer` that runs every command at once, in a transaction of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.full = False
        self.failure: Exception | None = None

    def submit(self, command: Callable[[Tx], T]) -> "Future[T]":
        if self.full:
            raise Busy("the hub is busy: try again in a moment")
        future: Future[T] = Future()
        if self.failure is not None:
            future.set_exception(self.failure)
            return future
        with self._store.write() as tx:
            result = command(tx)
        future.set_result(result)
        return future


class FakeChannel:
    """A `Channel` that keeps what it is given and answers as told; `hold()` makes it wait for `open()`."""

    def __init__(self, *receipts: Receipt) -> None:
        self.receipts = list(receipts)  # used up in order; then DELIVERED
        self.sent: asyncio.Queue[tuple[Push, int]] = asyncio.Queue()
        self.delivered: list[tuple[str, messages.Push]] = []
        self.failure: Exception | None = None
        self.closed = False
        self.together = self.most_together = 0
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def deliver(self, push: Push, ttl_s: int) -> Receipt:
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        self.sent.put_nowait((push, ttl_s))
        try:
            await self._open.wait()
            if self.failure is not None:
                raise self.failure
            receipt = self.receipts.pop(0) if self.receipts else Receipt(Fate.DELIVERED)
            if receipt.fate is Fate.DELIVERED:
                try:
                    self.delivered.append((push.device, messages.Push.model_validate(push.body)))
                except ValueError:
                    return Receipt(Fate.REFUSED, "body")
            return receipt
        finally:
            self.together -= 1

    async def close(self) -> None:
        self.closed = True
