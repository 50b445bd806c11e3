"""`doorchime sim import` as its users run it."""

import asyncio
import json
import lzma
import os
import pty
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from simulators.captures.command import SHOW_EVERY
from simulators.main import app
from tests.e2e.system import AWAIT_S, until
from tests.simulators.captures.builders import (
    COMMAND,
    FLAGS_AD,
    IBEACON,
    SPELLED,
    Record,
    air,
    btsnoop,
    event,
    legacy,
    legacy_report,
    pcap,
    pdu,
    phdr,
)

MINE = ("--prefix", "d0c41e02")


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "Shop_1 door.btsnoop.gz"
    path.write_bytes(btsnoop(legacy(), COMMAND, legacy(legacy_report(FLAGS_AD)), legacy(legacy_report(b""))))
    return path


def run(*args):
    done = CliRunner().invoke(app, ["import", *map(str, args)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_frames_go_to_standard_output_and_the_summary_elsewhere(capture):
    done = run(capture, "--all")
    assert done.exit_code == 0
    assert [(line["t_ms"], line["adv"]) for line in lines(done.stdout)] == [(0, IBEACON.hex()), (2, "020106"), (3, "")]
    assert done.stdout.splitlines()[0] == (
        f'{{"t_ms":0,"scanner":"shop-1-door","address":"{SPELLED}","rssi_dbm":-60,"adv":"{IBEACON.hex()}"}}'
    )
    assert done.stderr.splitlines()[:5] == [
        "          4 packets in Shop_1 door.btsnoop.gz (btsnoop, 0 s)",
        "          3 advertisements",
        "          1   of them without data",
        "          1   of them iBeacons",
        "          3 frames written",
    ]


def test_without_a_prefix_nothing_is_written_and_the_way_out_is_said(capture, tmp_path):
    out = tmp_path / "x.frames.jsonl"
    done = run(capture, "--out", out)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "people who were never asked" in done.stderr
    assert "--prefix HEX" in done.stderr
    assert "--all" in done.stderr
    assert not out.exists()


def test_with_a_prefix_only_our_own_beacons_are_written(capture, tmp_path):
    out, report = tmp_path / "x.frames.jsonl.xz", tmp_path / "report.json"
    done = run(capture, *MINE, "--prefix", "AABBCCDD", "--out", out, "--scanner", "door", "--report", report)
    assert (done.exit_code, done.stdout) == (0, "")
    (line,) = lines(lzma.decompress(out.read_bytes()))
    assert (line["scanner"], line["adv"]) == ("door", IBEACON.hex())
    assert "2 left out: advertisements outside the prefixes" in done.stderr
    found = json.loads(report.read_text())
    assert {name: found[name] for name in ("format", "packets", "reports", "frames", "not_ours", "other")} == {
        "format": "btsnoop", "packets": 4, "reports": 3, "frames": 1, "not_ours": 2, "other": 1,
    }  # fmt: skip
    assert found["damaged_at_byte"] is None
    assert SPELLED not in report.read_text() + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [capture.name, "report.json", "x.frames.jsonl.xz"]


def test_the_summary_counts_what_a_sniffer_heard(tmp_path):
    path = tmp_path / "air.pcap"
    requests = [phdr(air(pdu(kind, bytes(12)))) for kind in (3, 5, 5)]
    path.write_bytes(pcap(*requests, phdr(air(crc=bytes(3))), phdr(air(), flags=0x35), b"?", link=256))
    said = run(path, "--all").stderr
    for row in (
        "1 left out: CRC broken", "1 left out: scan requests", "2 left out: connection requests",
        "0 left out: other packets", "1 left out: advertisements without a level (--rssi sets one)",
        "1 left out: malformed packets, the first at byte ",
    ):  # fmt: skip
        assert f" {row}" in said
    assert "1 frames written" in run(path, "--all", "--rssi", "-70").stderr


def test_the_summary_names_the_adapters_where_several_heard(tmp_path):
    path = tmp_path / "pi.btsnoop"
    bare = event(2, legacy_report())
    path.write_bytes(btsnoop(Record(bare, 3), Record(bare, 1 << 16 | 3, 90_000_000), Record(bare, 3), datalink=2001))
    said = run(path, "--all").stderr
    assert "2 interfaces: 0 heard 2, 1 heard 1 (--interface keeps one)" in said
    assert "1 times the clock was set" in said
    assert "longest silence 1 min 30 s" in said
    assert len(lines(run(path, "--all", "--interface", 1).stdout)) == 1


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (("--all", *MINE), "give one of them"),
        (("--prefix", "d0c4"), "'d0c4': a fleet prefix has 8 hexadecimal digits"),
        (("--all", "--scanner", ""), "--scanner: 1 to 200 characters"),
        (("--all", "--out", "x.frames.jsonl.gz"), "not as .gz"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(capture, args, what):
    done = run(capture, *args)
    assert (done.exit_code, done.stdout) == (1, "")
    assert what in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_files_that_cannot_be_read_or_written(capture, tmp_path):
    assert "missing.btsnoop: No such file" in run(tmp_path / "missing.btsnoop", "--all").stderr
    assert "Is a directory" in run(tmp_path, "--all").stderr
    assert "No such file" in run(capture, "--all", "--out", tmp_path / "no" / "x.jsonl").stderr
    assert "is the capture itself" in run(capture, "--all", "--out", capture).stderr
    other = tmp_path / "photo.jpg"
    other.write_bytes(b"\xff\xd8\xff")
    done = run(other, "--all")
    assert done.exit_code == 1
    assert "byte 0: it begins with ff d8 ff, which is no capture" in done.stderr


def test_a_damaged_capture_leaves_its_good_frames_and_the_byte(tmp_path):
    path, out = tmp_path / "cut.btsnoop", tmp_path / "x.frames.jsonl.xz"
    whole = btsnoop(legacy(), legacy())
    path.write_bytes(whole[:-1])
    done = run(path, "--all", "--out", out)
    assert done.exit_code == 1
    last = done.stderr.splitlines()[-1]
    second = 16 + 24 + len(legacy())
    assert last.startswith(f"doorchime: {path}: byte {second}: the record that begins here is cut short")
    assert last.endswith("; frames kept from before: 1")
    assert len(lines(lzma.decompress(out.read_bytes()))) == 1


def test_a_capture_without_one_good_frame_leaves_an_older_file_alone(tmp_path):
    path, out = tmp_path / "cut.btsnoop", tmp_path / "x.frames.jsonl"
    out.write_text("older\n")
    path.write_bytes(btsnoop(legacy())[:-1])
    assert run(path, "--all", "--out", out).exit_code == 1
    assert out.read_text() == "older\n"
    assert not list(tmp_path.glob("*.part"))
    path.write_bytes(btsnoop())
    assert run(path, "--all", "--out", out).exit_code == 0
    assert out.read_text() == ""


# -- as processes --------------------------------------------------------------------------------------------------

DOORCHIME = (sys.executable, "-m", "doorchime", "sim")


@pytest.fixture
def long_capture(tmp_path):
    path = tmp_path / "long [x].btsnoop"
    path.write_bytes(btsnoop(*[legacy()] * (2 * SHOW_EVERY)))
    return path


@pytest.mark.e2e
def test_progress_is_shown_on_a_terminal_only(long_capture, tmp_path):
    command = (*DOORCHIME, "import", str(long_capture), *MINE, "--out", str(tmp_path / "x.frames.jsonl"))
    quiet = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "%" not in quiet.stderr
    ours, theirs = pty.openpty()
    shown = subprocess.Popen(command, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 65_536):
            said += chunk
    except OSError:  # Linux: the other end is closed
        pass
    finally:
        os.close(ours)
    assert shown.wait(60) == 0
    assert b"long [x].btsnoop" in said
    assert b"%" in said
    assert b"4,000 frames written" in said


@pytest.mark.e2e
def test_a_reader_that_goes_away_is_no_news(long_capture):
    with subprocess.Popen(
        (*DOORCHIME, "import", str(long_capture), "--all"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as importing:
        assert importing.stdout.readline().startswith(b'{"t_ms":0')
        importing.stdout.close()
        said = importing.stderr.read()
    assert b"Traceback" not in said
    assert b"doorchime:" not in said


async def connected(socket):
    try:
        return await asyncio.open_unix_connection(socket)
    except OSError:
        return None  # it does not listen yet


@pytest.mark.e2e
async def test_the_result_replays_to_an_edge(capture, tmp_path):
    out, socket = tmp_path / "x.frames.jsonl.xz", tmp_path / "radio.sock"
    assert run(capture, *MINE, "--out", out, "--scanner", "edge-door").exit_code == 0
    replay = await asyncio.create_subprocess_exec(
        *DOORCHIME, "replay", str(out), "--socket", str(socket), stdout=asyncio.subprocess.PIPE
    )
    try:
        reader, writer = await until(lambda: connected(socket), "the replay listens")
        writer.write(b'{"scanner": "edge-door"}\n')
        async with asyncio.timeout(AWAIT_S):
            heard = json.loads(await reader.readline())
            writer.close()
            said, _ = await replay.communicate()
    finally:
        if replay.returncode is None:
            replay.kill()
            await replay.wait()
    assert (heard["scanner"], heard["adv"]) == ("edge-door", IBEACON.hex())
    assert replay.returncode == 0
    assert said == b"played 1 frames, 0 to nobody\n"
