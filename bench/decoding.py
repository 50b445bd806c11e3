"""Our strict decoder against `struct`, on advertisements as a shop's radio brings them; and other people's decoders.

Most of what is heard is no iBeacon of ours: Apple's own messages, Eddystone, AltBeacon, other companies, and a few
frames that are cut or bent. A decoder is right when it finds every iBeacon, nothing else, and never raises.
"""

import json
import os
import random
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.clock import cpu_s
from bench.measure import in_turns
from wire.errors import LocalFault, RemoteFault
from wire.ibeacon import APPLE_COMPANY_ID, FRAME_BYTES, PROXIMITY_TYPE, Beacon, decode, encode

IDENTITIES = 500
"""Beacons in the corpus: decoders with a cache may use it."""

CONTINUITY = (0x07, 0x09, 0x0C, 0x0F, 0x10, 0x12)
"""Types of Apple's own messages that are heard most."""

ORACLE = Path(__file__).resolve().parent.parent / ".oracles" / "bench" / "bin" / "python"
"""The environment of other people's decoders; `make oracles` builds it."""

ORACLE_S = 120.0
"""Longest that their comparison may take, s."""

_LAYOUT = struct.Struct(">16sHHb")

Manufacturer = dict[int, bytes]
"""Company id → payload, as a Bluetooth stack reports it."""


class Heard(NamedTuple):
    """One advertisement: as reported by a stack, as sent, and what it is; `truth` is None for all but good iBeacons."""

    manufacturer: Manufacturer
    ad: bytes
    truth: Beacon | None


class Judged(NamedTuple):
    """A decoder over the corpus: how often it was wrong, and how often it raised."""

    wrong: int
    raised: int


def mixed(seed: int, count: int) -> list[Heard]:
    """The corpus: 40 % iBeacons, 20 % Apple's own, 10 % Eddystone, 10 % AltBeacon, 19 % others, 1 % bent iBeacons."""
    dice = random.Random(seed)
    known = [Beacon(dice.randbytes(16), dice.randrange(65_536), dice.randrange(65_536), -59) for _ in range(IDENTITIES)]
    kinds = dice.choices(
        (_ibeacon, _continuity, _eddystone, _altbeacon, _other, _bent), (40, 20, 10, 10, 19, 1), k=count
    )
    return [kind(dice, dice.choice(known)) for kind in kinds]


def _sent(company: int, payload: bytes) -> bytes:
    body = b"\xff" + company.to_bytes(2, "little") + payload
    return b"\x02\x01\x06" + bytes((len(body),)) + body


def _ibeacon(_dice: random.Random, beacon: Beacon) -> Heard:
    payload = encode(beacon)
    return Heard({APPLE_COMPANY_ID: payload}, _sent(APPLE_COMPANY_ID, payload), beacon)


def _continuity(dice: random.Random, _beacon: Beacon) -> Heard:
    length = dice.randrange(1, 20)
    payload = bytes((dice.choice(CONTINUITY), length)) + dice.randbytes(length)
    return Heard({APPLE_COMPANY_ID: payload}, _sent(APPLE_COMPANY_ID, payload), None)


def _eddystone(dice: random.Random, beacon: Beacon) -> Heard:
    frame = b"\x00\xeb" + beacon.uuid + b"\0\0" if dice.random() < 0.5 else b"\x10\xeb\x03" + dice.randbytes(12)
    body = b"\x16\xaa\xfe" + frame
    return Heard({}, b"\x02\x01\x06\x03\x03\xaa\xfe" + bytes((len(body),)) + body, None)


def _altbeacon(dice: random.Random, beacon: Beacon) -> Heard:
    payload = b"\xbe\xac" + beacon.uuid + dice.randbytes(4) + b"\xc5\0"
    return Heard({0x0118: payload}, _sent(0x0118, payload), None)


def _other(dice: random.Random, _beacon: Beacon) -> Heard:
    company, payload = dice.choice((0x0006, 0x0075, 0x0087, 0x00E0, 0x0499)), dice.randbytes(dice.randrange(4, 25))
    return Heard({company: payload}, _sent(company, payload), None)


def _bent(dice: random.Random, beacon: Beacon) -> Heard:
    payload = encode(beacon)
    bends = (payload[: dice.randrange(FRAME_BYTES)], payload + b"\0", b"\x02\x14" + payload[2:], b"\x03" + payload[1:])
    bent = dice.choice(bends)
    return Heard({APPLE_COMPANY_ID: bent}, _sent(APPLE_COMPANY_ID, bent), None)


def ours(manufacturer: Manufacturer) -> Beacon | None:
    """`wire.ibeacon.decode`: a typed record, or a `RemoteFault` that says what is wrong."""
    payload = manufacturer.get(APPLE_COMPANY_ID)
    if payload is None:
        return None
    try:
        return decode(payload)
    except RemoteFault:
        return None


def by_struct(manufacturer: Manufacturer) -> tuple[bytes, int, int, int] | None:
    """The least that is right: a length, two bytes, and a compiled `struct`; a bare tuple."""
    payload = manufacturer.get(APPLE_COMPANY_ID)
    if payload is None or len(payload) != FRAME_BYTES or payload[:2] != PROXIMITY_TYPE:
        return None
    return _LAYOUT.unpack_from(payload, 2)


Decoder = Callable[[Manufacturer], tuple[bytes, int, int, int] | None]


def judge(decoder: Decoder, corpus: Sequence[Heard]) -> Judged:
    """Hold a decoder against the truth, untimed."""
    wrong = raised = 0
    for one in corpus:
        try:
            wrong += decoder(one.manufacturer) != one.truth
        except Exception:
            raised += 1
    return Judged(wrong, raised)


def race(corpus: Sequence[Heard], turns: int) -> list[dict[str, float]]:
    """Advertisements per CPU-second of both, turn by turn."""
    reports = [one.manufacturer for one in corpus]

    def rate(decoder: Decoder) -> float:
        begun_s = cpu_s(os.getpid())
        for report in reports:
            decoder(report)
        return len(reports) / (cpu_s(os.getpid()) - begun_s)

    return in_turns({"ours": lambda _: rate(ours), "struct": lambda _: rate(by_struct)}, turns)


def peers(corpus: Sequence[Heard], turns: int, python: Path = ORACLE) -> dict[str, float] | None:
    """What other people's decoders reach of `struct`, each in one run with it; None where they are not installed.

    For each: `decode_NAME_vs_struct`, `decode_NAME_raised`, `decode_NAME_wrong`.

    Raises:
        LocalFault: they are installed and do not run.
    """
    if not python.is_file():
        return None
    lines = [
        json.dumps({
            "manufacturer": {str(company): payload.hex() for company, payload in one.manufacturer.items()},
            "ad": one.ad.hex(),
            "truth": None if one.truth is None else [one.truth.uuid.hex(), *one.truth[1:]],
        })
        for one in corpus
    ]  # fmt: skip
    command = [str(python), str(Path(__file__).with_name("peer_decoders.py")), str(turns)]
    try:
        done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, timeout=ORACLE_S)
    except subprocess.TimeoutExpired:
        raise LocalFault(f"{python}: the peers did not end within {ORACLE_S:.0f} s") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise LocalFault(f"{python} cannot run the peers ({last}): delete .oracles/bench and run `make oracles`")
    found: dict[str, float] = json.loads(done.stdout)
    return found
