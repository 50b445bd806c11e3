"""What the scanner lets in, through bleak's own seam; and what the replay backend makes of files and sockets."""

import asyncio
import json
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.adapters.replay import manufacturer_data, replay_backend
from edge.adapters.scanner import BeaconScanner, bluez_arguments
from simulators.feed import Feed
from wire.errors import LocalFault
from wire.ibeacon import Beacon, encode_ad
from wire.trace import Frame, write_line

PREFIX = bytes.fromhex("d0c41e02")
OURS = Beacon(PREFIX + bytes(12), 1, 2, -59)
CANARY = Beacon(b"c" * 16, 1, 1, -59)
FOREIGN = Beacon(b"f" * 16, 1, 2, -59)


def frame(adv, t_ms=0, scanner="e1", rssi=-60):
    return Frame(t_ms=t_ms, scanner=scanner, address="aa:bb", rssi_dbm=rssi, adv=adv.hex())


class Ears:
    """A scanner on the replay backend, and what it heard."""

    def __init__(self, path, only=None, boot_ms=lambda: 0):
        self.heard, self.alive, self.event = [], 0, asyncio.Event()
        backend = replay_backend(path, "e1", only, boot_ms)
        self.scanner = BeaconScanner([PREFIX], CANARY.uuid, self._hear, self._alive, backend=backend)

    def _hear(self, heard):
        self.heard.append(heard)
        self.event.set()

    def _alive(self):
        self.alive += 1
        self.event.set()

    async def until(self, count):
        async with asyncio.timeout(60):
            while self.alive < count:
                self.event.clear()
                await self.event.wait()


@pytest.fixture
async def feed(tmp_path):
    found = Feed(tmp_path / "air.sock")
    await found.start()
    yield found
    await found.stop()


async def test_only_our_fleet_is_heard_the_rest_is_counted_and_gone(feed):
    ears = Ears(feed.path)
    await ears.scanner.start()
    async with asyncio.timeout(60):
        await feed.wait_for({"e1"})
    bad = b"\x1b\xff\x4c\x00\x02\x15" + PREFIX + bytes(18)  # one byte too many behind our prefix
    for adv in (encode_ad(OURS), encode_ad(FOREIGN), encode_ad(CANARY), bad, b"", b"\x03\xff\x4c\x00", b"\xff\x00"):
        feed.send(frame(adv))
    await ears.until(7)
    await ears.scanner.stop()
    assert ears.heard == [(OURS.key, -60)]
    assert ears.scanner.counts == {
        "adverts_heard": 7, "adverts_dropped_private": 4, "adverts_canary": 1, "adverts_bad": 1,
    }  # fmt: skip


async def test_the_socket_may_come_later_and_come_again(tmp_path):
    ears = Ears(tmp_path / "air.sock")
    await ears.scanner.start()
    for round_ in (1, 2):
        feed = Feed(tmp_path / "air.sock")
        await feed.start()
        async with asyncio.timeout(60):
            await feed.wait_for({"e1"})
        feed.send(frame(encode_ad(OURS)))
        await ears.until(round_)
        await feed.stop()
        (tmp_path / "air.sock").unlink()
    await ears.scanner.stop()
    await ears.scanner.stop()
    assert len(ears.heard) == 2


@pytest.mark.parametrize("opened", [open, lzma.open])
async def test_a_file_is_played_by_its_own_times_for_one_scanner(tmp_path, opened):
    path = tmp_path / ("x.jsonl" if opened is open else "x.jsonl.xz")
    with opened(path, "wb") as file:
        file.write(write_line(frame(encode_ad(OURS), 1000)))
        file.write(b"not a frame\n")
        file.write(write_line(frame(encode_ad(OURS), 1010, scanner="e2")))
        file.write(write_line(frame(encode_ad(OURS), 1020, rssi=-70)))
    ears = Ears(path, only="e1")
    await ears.scanner.start()
    await ears.until(2)
    await ears.scanner.stop()
    assert [heard.rssi_dbm for heard in ears.heard] == [-60, -70]


async def test_a_recording_that_is_missing_is_a_local_fault(tmp_path):
    ears = Ears(tmp_path / "missing.jsonl")
    with pytest.raises(LocalFault, match="does not start"):
        await ears.scanner.start()


async def test_nonsense_on_the_socket_harms_nothing(tmp_path):
    greeted = asyncio.Event()

    async def serve(reader, writer):
        assert json.loads(await reader.readline()) == {"scanner": "e1"}
        writer.write(b"\xff\xfe\n{}\n" + b"[1]\n" + write_line(frame(encode_ad(OURS))))
        await writer.drain()
        greeted.set()
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "air.sock")
    ears = Ears(tmp_path / "air.sock")
    await ears.scanner.start()
    await ears.until(1)
    await ears.scanner.stop()
    server.close()
    assert greeted.is_set()


@given(st.binary(max_size=64))
def test_any_bytes_are_read_as_a_stack_would(adv):
    for company, payload in manufacturer_data(adv).items():
        assert 0 <= company <= 0xFFFF
        assert payload in adv


def test_bluez_is_asked_to_filter_so_that_it_scans_without_gaps():
    found = bluez_arguments("bluez:hci1", -100)
    assert found["adapter"] == "hci1"
    assert found["filters"]["DuplicateData"] is True
    assert found["filters"]["RSSI"] == -100
    assert "adapter" not in bluez_arguments("bluez", -110)
