"""The worker: woken not polling, bounded, patient, and never losing what it took."""

import asyncio
from random import Random

import pytest

from hub.core.model import Push
from hub.ports import Busy, Fate, Receipt
from hub.push.worker import PushWorker
from hub.stores import open_store
from tests.fakes import FakeChannel, InlineWriter, ManualClock
from tests.hub.build import NOON_MS, TENANT
from tests.hub.usecases.test_deliver import queued, the_push
from wire.errors import BrokenInvariant

PATIENCE_S = 60


class Bench:
    """A worker with everything around it faked but the store."""

    def __init__(self, channel, *, parallel=8, channels=None):
        self.store = open_store("memory:")
        self.store.migrate()
        self.clock = ManualClock(NOON_MS)
        self.writer = InlineWriter(self.store)
        self.channel = channel
        self.notes = asyncio.Queue()
        self.worker = PushWorker(
            self.writer, {"mqtt": channel} if channels is None else channels, TENANT, self.clock, Random(1).random,
            notify=self.notes.put_nowait, parallel=parallel, timeout_s=5,
        )  # fmt: skip

    def queue(self, *numbers, **changes):
        with self.store.write() as tx:
            for number in numbers:
                queued(tx, number, **changes)

    def push(self, number=1) -> Push:
        with self.store.read() as tx:
            return the_push(tx, number)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.worker.run())
        return self

    async def __aexit__(self, *exc):
        self.channel.open()
        self.worker.stop()
        async with asyncio.timeout(PATIENCE_S):
            await self.task
        self.store.close()


async def sent(channel):
    async with asyncio.timeout(PATIENCE_S):
        push, _ = await channel.sent.get()
    return push


async def note(bench):
    async with asyncio.timeout(PATIENCE_S):
        return await bench.notes.get()


async def test_what_waited_before_the_start_is_sent():
    bench = Bench(FakeChannel())
    bench.queue(1, 2, 3)
    async with bench:
        assert {(await note(bench))["grant"] for _ in range(3)} == {"grant-1", "grant-2", "grant-3"}
    assert [bench.push(n).state for n in (1, 2, 3)] == ["sent"] * 3
    assert bench.worker.counts["sent"] == 3


async def test_a_commit_wakes_it_from_another_thread():
    async with Bench(FakeChannel()) as bench:
        await asyncio.sleep(0)

        def commit():
            bench.queue(1)
            bench.worker.wake()

        await asyncio.to_thread(commit)
        assert (await sent(bench.channel)).push == "push-1"
        assert await note(bench) == {"type": "push", "grant": "grant-1", "state": "sent"}


async def test_ttl_is_what_is_left_when_it_is_sent():
    bench = Bench(FakeChannel())
    bench.queue(1, expires_at_ms=NOON_MS + 90_000)
    bench.clock.advance(29_500)
    async with bench:
        async with asyncio.timeout(PATIENCE_S):
            _, ttl_s = await bench.channel.sent.get()
        assert ttl_s == 61


async def test_no_more_at_once_than_allowed():
    bench = Bench(FakeChannel(), parallel=3)
    bench.channel.hold()
    bench.queue(*range(10))
    async with bench:
        for _ in range(3):
            await sent(bench.channel)
        bench.channel.open()
        for _ in range(10):
            await note(bench)
    assert bench.channel.most_together == 3


async def test_a_retry_comes_when_it_is_due():
    bench = Bench(FakeChannel(Receipt(Fate.TRY_LATER, "busy", after_ms=0)))
    bench.queue(1)
    async with bench:
        await sent(bench.channel)
        bench.clock.advance(5_000)
        bench.worker.wake()
        while bench.push().state != "sent":
            bench.worker.wake()
            await asyncio.sleep(0)
    assert bench.push().attempts == 2
    assert bench.worker.counts["queued"] == 1


async def test_a_retry_comes_without_anybody_waking_it():
    bench = Bench(FakeChannel(Receipt(Fate.TRY_LATER)))
    bench.queue(1)

    class Running(ManualClock):
        """A clock that runs on with every reading: real time plays no part."""

        def now_ms(self):
            bench.clock.advance(400)
            return bench.clock.now_ms()

    bench.worker._clock = Running()
    async with bench:
        await sent(bench.channel)
        await sent(bench.channel)


async def test_a_channel_that_raises_costs_one_attempt():
    bench = Bench(FakeChannel())
    bench.channel.failure = RuntimeError("a bug")
    bench.queue(1)
    async with bench:
        await sent(bench.channel)
        while bench.push().state == "leased":  # noqa: ASYNC110 (a record in a store cannot signal)
            await asyncio.sleep(0)
        assert bench.push().reason == "later: RuntimeError"
        assert not bench.task.done()


async def test_an_unknown_channel_is_refused():
    bench = Bench(FakeChannel(), channels={})
    bench.queue(1)
    async with bench:
        assert (await note(bench))["state"] == "failed"
    assert bench.push().reason == "refused: no such channel"


async def test_a_full_writer_is_asked_again():
    bench = Bench(FakeChannel())
    bench.queue(1)
    bench.writer.full = True
    async with bench:
        await asyncio.sleep(0)
        bench.writer.full = False
        assert (await note(bench))["state"] == "sent"


async def test_a_commit_that_failed_is_tried_again():
    bench = Bench(FakeChannel())
    bench.queue(1)
    bench.writer.failure = Busy("the disk is full")
    async with bench:
        await asyncio.sleep(0)
        bench.writer.failure = None
        assert (await note(bench))["state"] == "sent"


async def test_what_ends_the_writer_ends_the_worker():
    bench = Bench(FakeChannel())
    bench.writer.failure = BrokenInvariant("a bug")
    with pytest.raises(BaseExceptionGroup) as caught:
        await bench.worker.run()
    assert caught.group_contains(BrokenInvariant)


async def test_stop_lets_what_is_in_flight_finish_and_takes_nothing_new():
    bench = Bench(FakeChannel())
    bench.channel.hold()
    bench.queue(1)
    async with bench:
        await sent(bench.channel)
        bench.worker.stop()
        bench.queue(2)
        bench.worker.wake()
        bench.channel.open()
        async with asyncio.timeout(PATIENCE_S):
            await bench.task
    assert (bench.push(1).state, bench.push(2).state) == ("sent", "queued")


async def test_killed_between_send_and_settle_it_is_sent_again_with_the_same_key():
    bench = Bench(FakeChannel())
    bench.channel.hold()
    bench.queue(1)
    task = asyncio.create_task(bench.worker.run())
    first = await sent(bench.channel)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.push().state == "leased"
    bench.channel.open()
    bench.clock.advance(20_000)
    next_life = PushWorker(
        bench.writer, {"mqtt": bench.channel}, TENANT, bench.clock, Random(1).random, notify=bench.notes.put_nowait
    )
    task = asyncio.create_task(next_life.run())
    second = await sent(bench.channel)
    await note(bench)
    next_life.stop()
    await task
    assert first.grant == second.grant
    assert bench.push().state == "sent"
