"""`doorchime sim bluez` and `doorchime sim replay --bluez` as processes, and bleak in this one."""

import asyncio
import re
import signal
import sys
from contextlib import asynccontextmanager, suppress

import pytest
from bleak import BleakScanner

from wire.trace import Frame, write_line

WITHIN_S = 90
ADDRESS = "C0:11:22:33:44:55"
EVERY_RSSI = {"bluez": {"filters": {"RSSI": -127}}}


class Heard:
    """What bleak called back."""

    def __init__(self):
        self.heard, self.news = [], asyncio.Event()

    def __call__(self, device, advertisement):
        self.heard.append((device.address, advertisement.rssi))
        self.news.set()

    async def until(self, holds):
        async with asyncio.timeout(WITHIN_S):
            while not holds(self.heard):
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def simulator(*args):
    """The process, once it said its address; ended at the end, unless it has."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "doorchime", "sim", *map(str, args), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=None,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), WITHIN_S)


async def line(process, pattern):
    """The first line from here on that matches."""
    async with asyncio.timeout(WITHIN_S):
        while said := (await process.stdout.readline()).decode():
            if found := re.search(pattern, said):
                return found
    raise AssertionError(f"it ended without saying {pattern}")


async def address_of(process, monkeypatch):
    found = await line(process, r"^DBUS_SYSTEM_BUS_ADDRESS=(\S+)$")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", found[1])


@pytest.mark.parametrize("more", [[], pytest.param(["--daemon"], marks=pytest.mark.dbus)])
async def test_made_up_beacons_until_sigterm(tmp_path, monkeypatch, more):
    async with simulator("bluez", "--path", tmp_path / "b", "--beacons", 3, "--hz", 20, *more) as process:
        await address_of(process, monkeypatch)
        heard = Heard()
        async with BleakScanner(heard, **EVERY_RSSI):
            await heard.until(lambda some: len({who for who, _ in some}) == 3)
        await line(process, r"1 scanning, active")
        process.send_signal(signal.SIGTERM)
        assert await line(process, r"heard \d+.*told \d+")
        assert await asyncio.wait_for(process.wait(), WITHIN_S) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.dbus
async def test_after_kill_9_no_dbus_daemon_is_left(tmp_path, monkeypatch):
    async with simulator("bluez", "--path", tmp_path / "b", "--daemon") as process:
        await address_of(process, monkeypatch)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "b")
        process.kill()
        with suppress(ConnectionResetError):  # as good: it went before it had greeted us
            async with asyncio.timeout(WITHIN_S):
                assert await reader.read() == b""
        writer.close()
        with suppress(ConnectionResetError):
            await writer.wait_closed()


async def test_a_script_begins_with_the_first_scan(tmp_path, monkeypatch):
    script = tmp_path / "s.jsonl"
    script.write_text(
        '{"do": "plug", "adapter": "hci1"}\n'
        '{"at_s": 0, "do": "advertise", "address": "C0:11:22:33:44:55", "adv": "020106", "rssi_dbm": -50}\n'
        '{"at_s": 0.1, "do": "stall", "heals": "never"}\n'
        '{"do": "advertise", "address": "C0:11:22:33:44:66", "adv": "020106", "rssi_dbm": -51, "adapter": "hci0"}\n'
        '{"do": "advertise", "address": "C0:11:22:33:44:77", "adv": "020106", "rssi_dbm": -52}\n'
    )
    async with simulator("bluez", "--path", tmp_path / "b", "--script", script) as process:
        await address_of(process, monkeypatch)
        first, second = Heard(), Heard()
        async with (
            BleakScanner(second, bluez={"adapter": "hci1", "filters": {"RSSI": -127}}),
            BleakScanner(first, bluez={"adapter": "hci0", "filters": {"RSSI": -127}}),
        ):
            await line(process, "the script has ended")
            await second.until(lambda some: ("C0:11:22:33:44:77", -52) in some)
        assert "C0:11:22:33:44:66" not in [who for who, _ in first.heard]


async def test_live_lines_are_done_at_once_and_bad_ones_are_said(tmp_path, monkeypatch):
    async with simulator("bluez", "--path", tmp_path / "b", "--script", "-") as process:
        await address_of(process, monkeypatch)
        heard = Heard()
        async with BleakScanner(heard, **EVERY_RSSI):
            process.stdin.write(b'{"do": "fly"}\n{"do": "unplug", "adapter": "hci9"}\n')
            assert await line(process, "doorchime: line 1: `do` is one of")
            assert await line(process, "doorchime: line 1: adapter 'hci9' is not there")
            process.stdin.write(b'{"do": "advertise", "address": "C0:11:22:33:44:55", "adv": "020106"}\n')
            await heard.until(lambda some: some == [(ADDRESS, -60)])


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--release", "new"], "write a BlueZ release"),
        (["--adapter", "usb1"], "adapter 'usb1'"),
        (["--script", "missing.jsonl"], "missing.jsonl"),
        (["--path", "missing/b"], "missing/b"),
    ],
)
async def test_what_cannot_be_started_says_why(tmp_path, monkeypatch, args, reason):
    monkeypatch.chdir(tmp_path)
    options = {"--path": str(tmp_path / "b"), args[0]: args[1]}
    async with simulator("bluez", *(word for pair in options.items() for word in pair)) as process:
        assert await line(process, f"^doorchime: .*{reason}")
        assert await process.wait() == 1


async def test_a_recording_becomes_devices(tmp_path, monkeypatch):
    trace = tmp_path / "x.frames.jsonl"
    frames = [
        Frame(t_ms=20 * at, scanner=["till", "door"][at % 2], address=ADDRESS.lower(), rssi_dbm=-60 - at, adv="020106")
        for at in range(6)
    ]
    trace.write_bytes(b"".join(map(write_line, frames)))
    async with simulator(
        "replay", trace, "--socket", tmp_path / "b", "--bluez", "--scanner", "door", "--linger", 60
    ) as process:
        await address_of(process, monkeypatch)
        heard = Heard()
        async with BleakScanner(heard, **EVERY_RSSI):
            await line(process, "played to the end")
            await heard.until(lambda some: some == [(ADDRESS, -61), (ADDRESS, -63), (ADDRESS, -65)])
        process.send_signal(signal.SIGTERM)
        assert await line(process, "elsewhere 3, heard 3, played 3, told 3")
        assert await process.wait() == 0


async def test_a_recording_of_tags_is_no_radio(tmp_path):
    trace = tmp_path / "x.trace.jsonl"
    trace.write_text('{"trace": 1, "name": "x", "source": "", "licence": "", "zones": [], "scanners": [], '
                     '"beacons": [], "rate_hz": null}\n')  # fmt: skip
    async with simulator("replay", trace, "--socket", tmp_path / "b", "--bluez") as process:
        assert await line(process, "names tags, not frames")
        assert await process.wait() == 1
