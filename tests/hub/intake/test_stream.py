"""The live stream: in order, bounded, honest about what it dropped."""

import asyncio
import threading

import pytest

from hub.intake.stream import MAX_WATCHERS, QUEUE_EVENTS, Stream
from wire.errors import BadRequest


async def test_every_watcher_gets_every_event_in_order() -> None:
    stream = Stream()
    with stream.watch() as one, stream.watch() as other:
        for n in range(3):
            stream.notify({"n": n})
        assert [(await anext(one))["n"] for _ in range(3)] == [0, 1, 2]
        assert [(await anext(other))["n"] for _ in range(3)] == [0, 1, 2]


async def test_a_waiting_watcher_is_woken_from_another_thread() -> None:
    stream = Stream()
    with stream.watch() as watcher:
        waiting = asyncio.ensure_future(anext(watcher))
        await asyncio.sleep(0)
        thread = threading.Thread(target=stream.notify, args=({"type": "visit"},))
        thread.start()
        assert await waiting == {"type": "visit"}
        thread.join()


async def test_a_slow_watcher_loses_the_oldest_and_is_told() -> None:
    stream = Stream()
    with stream.watch() as watcher:
        for n in range(QUEUE_EVENTS + 7):
            stream.notify({"n": n})
        assert await anext(watcher) == {"type": "gap", "dropped": 7}
        assert await anext(watcher) == {"n": 7}
        assert stream.counts["dropped"] == 7
        assert stream.counts["events"] == QUEUE_EVENTS + 7


async def test_closing_the_stream_ends_watchers_after_what_they_have() -> None:
    stream = Stream()
    with stream.watch() as watcher:
        stream.notify({"n": 1})
        stream.close()
        assert [event async for event in watcher] == [{"n": 1}]
    with stream.watch() as late:
        assert [event async for event in late] == []


async def test_watchers_are_bounded_and_leave() -> None:
    stream = Stream()
    watchers = [stream.watch() for _ in range(MAX_WATCHERS)]
    with pytest.raises(BadRequest, match="open already"):
        stream.watch()
    watchers[0].close()
    watchers[0].close()
    stream.watch().close()
    for watcher in watchers:
        watcher.close()


def test_an_event_after_the_loop_ended_harms_nobody() -> None:
    stream = Stream()

    async def watch() -> None:
        stream.watch()

    asyncio.run(watch())
    stream.notify({"n": 1})
