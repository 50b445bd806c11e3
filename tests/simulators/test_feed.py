"""Frames reach the scanner they name, and nobody else."""

import asyncio
import json

import pytest

from simulators.feed import Feed
from wire.trace import Frame


def frame(scanner):
    return Frame(t_ms=0, scanner=scanner, address="a", rssi_dbm=-60, adv="00")


@pytest.fixture
async def feed(tmp_path):
    found = Feed(tmp_path / "air.sock")
    await found.start()
    yield found
    await found.stop()


async def connect(feed, greeting):
    reader, writer = await asyncio.open_unix_connection(feed.path)
    writer.write(greeting)
    return reader, writer


async def test_each_scanner_hears_its_own(feed):
    lines = {}
    for name in ("e1", "e2"):
        lines[name] = await connect(feed, json.dumps({"scanner": name}).encode() + b"\n")
    async with asyncio.timeout(60):
        await feed.wait_for({"e1", "e2"})
        assert feed.send(frame("e2"))
        assert feed.send(frame("e1"))
        assert not feed.send(frame("e3"))
        for name, (reader, writer) in lines.items():
            assert json.loads(await reader.readline())["scanner"] == name
            writer.close()
    assert feed.counts == {"sent": 2, "unheard": 1}


async def test_nonsense_on_the_line_harms_nobody(feed):
    for greeting in (b"\xff\xfe\n", b"[]\n", b"{}\n", b"\n"):
        reader, writer = await connect(feed, greeting)
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()
    reader, writer = await connect(feed, b'{"scanner": "e1"}\n')
    async with asyncio.timeout(60):
        await feed.wait_for({"e1"})
        feed.send(frame("e1"))
        assert await reader.readline()
    writer.close()


async def test_a_scanner_that_comes_again_is_heard_anew(feed):
    for _ in range(3):
        reader, writer = await connect(feed, b'{"scanner": "e1"}\n')
        async with asyncio.timeout(60):
            await feed.wait_for({"e1"})
            assert feed.send(frame("e1"))
            assert await reader.readline()
            writer.close()
            await feed.wait_gone("e1")
