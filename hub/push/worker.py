"""Sends what the hub decided: leases due pushes from the store, gives each to its channel, records what became of it.

Nothing polls: a commit that queued pushes wakes the worker, and so does the next due time (a retry, or the lease of a
sender that died). A crash at any point repeats a send at worst.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import structlog

from hub.core.delivery import Policy, for_timeout, ttl_s, worth_sending
from hub.core.model import Push
from hub.core.states import PushState
from hub.ports import Busy, Channel, Clock, Fate, Notify, Receipt, Tx, Writer
from hub.usecases import deliver

T = TypeVar("T")

BUSY_S = 0.5
"""Upper end of the pause after the writer was full."""

_SHORTEST_SLEEP_S = 0.05  # something is due and not for us: no busy loop
_LONGEST_SLEEP_S = 3600.0  # a stepped clock must not put us to sleep for a year

log = structlog.get_logger(__name__)


class PushWorker:
    """One per hub. `run` until `stop`; `wake` from any thread.

    `counts` (taken, sent, queued = to be tried again, failed, expired, overtaken) only grow.
    """

    def __init__(
        self,
        writer: Writer,
        channels: Mapping[str, Channel],
        tenant: str,
        clock: Clock,
        unit: Callable[[], float],
        *,
        notify: Notify = lambda _: None,
        parallel: int = 64,
        timeout_s: float = 10.0,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._writer, self._channels, self._tenant, self._clock = writer, channels, tenant, clock
        self._unit, self._notify = unit, notify
        self._parallel, self._timeout_s = parallel, timeout_s
        policy = for_timeout(timeout_s)  # a lease outlasts a send, which takes real time
        self._policy: Policy = replace(policy, lease_ms=clock.most_ms(policy.lease_ms / 1000))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stir = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._full = False
        self._stopping = False

    def wake(self) -> None:
        """Pushes may be due. From any thread; before `run` it does nothing, since `run` looks first."""
        loop = self._loop
        if loop is not None and not self._stopping:
            try:
                loop.call_soon_threadsafe(self._stir.set)
            except RuntimeError:
                self._loop = None  # the loop ended: the store keeps what waits

    def stop(self) -> None:
        """Take nothing more; `run` ends when the sends in flight have. From the loop's thread."""
        self._stopping = True
        self._stir.set()

    async def run(self) -> None:
        """Send until stopped.

        Raises:
            BaseExceptionGroup: of what ended the writer.
        """
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while not self._stopping:
                self._stir.clear()
                pause_s = await self._fill(group)
                try:
                    async with asyncio.timeout(pause_s):
                        await self._stir.wait()
                except TimeoutError:
                    pass

    async def _fill(self, group: asyncio.TaskGroup) -> float | None:
        """Start as many sends as may run at once; how long to sleep, None = until something happens."""
        free = self._parallel - len(self._sending)
        self._full = free <= 0
        if self._full:
            return None
        found = await self._commit(lambda tx: self._take(tx, free))
        if found is None:
            return self._unit() * BUSY_S
        pushes, next_ms = found
        for push in pushes:
            task = group.create_task(self._send(push), name="push")
            self._sending.add(task)
            task.add_done_callback(self._sent)
        self.counts["taken"] += len(pushes)
        self._full = len(self._sending) >= self._parallel
        if self._full or next_ms is None:
            return None
        shortest_s = 0.0 if pushes else _SHORTEST_SLEEP_S
        return min(max(shortest_s, self._clock.pause_s(next_ms - self._clock.now_ms())), _LONGEST_SLEEP_S)

    def _take(self, tx: Tx, limit: int) -> tuple[list[Push], int | None]:
        pushes = deliver.take_due(tx, self._tenant, self._clock.now_ms(), limit, self._policy)
        return pushes, deliver.next_due_ms(tx)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if self._full:
            self._stir.set()

    async def _send(self, push: Push) -> None:
        receipt = await self._deliver(push)
        unit = self._unit()
        while True:
            done = await self._commit(
                lambda tx: [deliver.settle(tx, push, receipt, self._clock.now_ms(), unit, self._policy)]
            )
            if done is not None:
                break
            if self._stopping:
                return  # its lease runs out and it is sent again: repeated, not lost
            await asyncio.sleep(unit * BUSY_S)
        state = done[0]
        self.counts["overtaken" if state is None else state.value] += 1
        if state is PushState.QUEUED:
            self._stir.set()  # there is a new due time
        elif state is not None:
            self._notify({"type": "push", "grant": push.grant, "state": state.value})

    async def _deliver(self, push: Push) -> Receipt:
        """Send once; a channel that fails by itself costs one attempt, not the process."""
        channel = self._channels.get(push.channel)
        if channel is None:
            return Receipt(Fate.REFUSED, "no such channel")
        now_ms = self._clock.now_ms()
        if not worth_sending(push.expires_at_ms, now_ms, self._policy):
            return Receipt(Fate.TRY_LATER, "deadline")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await channel.deliver(push, ttl_s(push.expires_at_ms, now_ms))
        except TimeoutError:
            return Receipt(Fate.TRY_LATER, "no answer in time")
        except Exception as exc:
            log.error("channel_failed", channel=push.channel, failure=type(exc).__name__)
            return Receipt(Fate.TRY_LATER, type(exc).__name__)

    async def _commit(self, command: Callable[[Tx], T]) -> T | None:
        """Run in the next group commit; None when the writer takes nothing more, or cannot commit, right now."""
        try:
            return await asyncio.wrap_future(self._writer.submit(command))
        except Busy:
            return None
