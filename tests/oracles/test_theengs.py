"""Our reader on what the real decoder of Theengs Gateway and OpenMQTTGateway makes of frames."""

import json
import subprocess
from random import Random

import pytest

from hub.core.foreign import Report
from hub.intake.foreign import Ours, read_theengs
from tests.conftest import ORACLES
from wire.errors import RemoteFault
from wire.ibeacon import Beacon, encode, format_uuid

pytestmark = pytest.mark.oracle("theengs")

PREFIX = bytes.fromhex("d0c41e02")
TOPIC = "home/TheengsGateway/BTtoMQTT/AABBCCDDEEFF"
ADVANCED = ("servicedatauuid", "servicedata", "manufacturerdata", "cidc", "acts", "cont", "track", "encr")
"""What a gateway takes out of a message unless `publish_advdata` is set."""

DECODE = """
import sys
from TheengsDecoder import decodeBLE
for line in sys.stdin:
    print(decodeBLE(line.strip()) or "null")
"""


def decoded(frames):
    """What the decoder says of each frame (company id included), or None."""
    python = ORACLES / "theengs" / "bin" / "python"
    lines = [json.dumps({"id": "AA:BB:CC:DD:EE:FF", "rssi": -70, "manufacturerdata": raw.hex()}) for raw in frames]
    assert python.exists(), "make oracles"
    done = subprocess.run(
        [python, "-c", DECODE], input="\n".join(lines), capture_output=True, text=True, timeout=120, check=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(frames)
    return found


def read(body):
    return read_theengs("home", TOPIC, json.dumps(body).encode(), Ours((PREFIX,), {})).news


def beacons():
    dice = Random(7)
    found = [
        Beacon(PREFIX + dice.randbytes(12), dice.randrange(65_536), dice.randrange(65_536), -59) for _ in range(300)
    ]
    edges = (0, 1, 255, 256, 65_535)
    found += [Beacon(PREFIX + dice.randbytes(12), major, minor, -59) for major in edges for minor in edges]
    # a power byte that is not negative is told as a voltage
    return found + [Beacon(PREFIX + dice.randbytes(12), 1, 2, power_dbm) for power_dbm in (-128, -1, 0, 3, 30, 127)]


def test_every_beacon_of_ours_is_read_from_what_the_decoder_says_of_it():
    ours = beacons()
    for beacon, body in zip(ours, decoded([b"\x4c\x00" + encode(beacon) for beacon in ours]), strict=True):
        assert (body["model_id"], body["type"], body["mfid"]) == ("IBEACON", "BCON", "4c00")
        plain = {name: value for name, value in body.items() if name not in ADVANCED}
        assert "manufacturerdata" in body
        for told in (body, plain):
            news = read(told)
            assert isinstance(news, Report)
            key = (news.beacon.uuid, news.beacon.major, news.beacon.minor)
            assert key == (format_uuid(beacon.uuid), beacon.major, beacon.minor)


def test_of_all_frames_of_apple_only_exact_beacons_become_reports():
    """Older decoders looked at length and company alone: whatever they say of it, the frame decides."""
    dice, frames = Random(8), []
    for kind in range(256):
        frames.append(b"\x4c\x00" + bytes((kind, 0x15)) + PREFIX + dice.randbytes(17))
        frames.append(b"\x4c\x00" + bytes((0x02, kind)) + PREFIX + dice.randbytes(17))
    calls = []
    for raw, body in zip(frames, decoded(frames), strict=True):
        told = body or {"id": "AA:BB:CC:DD:EE:FF", "rssi": -70, "manufacturerdata": raw.hex()}
        calls.append(body["model_id"] if body else None)
        claimed = told | {"model_id": "IBEACON", "manufacturerdata": raw.hex()}
        try:
            news = read(claimed)
        except RemoteFault:
            news = None
        assert (news is not None) == (raw[2:4] == b"\x02\x15"), raw.hex()
    assert calls.count("IBEACON") >= 2


def test_a_frame_too_long_or_too_short_is_never_a_report():
    frame = b"\x4c\x00" + encode(beacons()[0])
    frames = [frame[:length] for length in range(8, 25)] + [frame + b"\x00", frame + b"\x00" * 4]
    for raw, body in zip(frames, decoded(frames), strict=True):
        told = body or {"id": "AA:BB:CC:DD:EE:FF", "rssi": -70, "manufacturerdata": raw.hex()}
        with pytest.raises(RemoteFault):
            read(told | {"manufacturerdata": raw.hex()})
