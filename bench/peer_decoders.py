"""Other people's iBeacon decoders beside `struct`. Runs in an environment of its own (`make oracles`).

Standard input to standard output, see `bench.decoding.peers`. Each decoder gets its native input, built before the
clock starts.
"""

import json
import struct
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from beacontools import IBeaconAdvertisement, parse_packet
from bluetooth_data_tools import parse_advertisement_data_tuple
from construct import Array, Const, Int8sb, Int8ub, Int16ub, Struct
from home_assistant_bluetooth import BluetoothServiceInfo
from ibeacon_ble import iBeaconParser

APPLE = 76
SLOW_SHARE = 4
"""The slowest decoder gets every fourth advertisement only."""

_UNPACK = struct.Struct(">16sHHb").unpack_from
_FORM = Struct(
    "type" / Const(b"\x02\x15"), "uuid" / Array(16, Int8ub), "major" / Int16ub, "minor" / Int16ub, "power" / Int8sb
).compile()

_PARSER = iBeaconParser()

Found = tuple[bytes, int, int, int] | None


class Case(NamedTuple):
    """One advertisement and what it is."""

    manufacturer: dict[int, bytes]
    ad: bytes
    truth: Found


def by_struct(manufacturer: dict[int, bytes]) -> Found:
    """The baseline: as `bench.decoding.by_struct`."""
    payload = manufacturer.get(APPLE)
    if payload is None or len(payload) != 23 or payload[:2] != b"\x02\x15":
        return None
    return _UNPACK(payload, 2)


def by_data_tools(ads: tuple[bytes, ...]) -> Found:
    """bluetooth-data-tools walks the raw data, `struct` reads the rest."""
    return by_struct(parse_advertisement_data_tuple(ads)[3])


def by_construct(manufacturer: dict[int, bytes]) -> Found:
    """construct, compiled."""
    payload = manufacturer.get(APPLE)
    if payload is None or len(payload) != 23 or payload[:2] != b"\x02\x15":
        return None
    form = _FORM.parse(payload)
    return bytes(form.uuid), form.major, form.minor, form.power


def by_ibeacon_ble(info: BluetoothServiceInfo) -> Found:
    """The parser of Home Assistant."""
    found = _PARSER.parse(info)
    return None if found is None else (found.uuid.bytes, found.major, found.minor, found.power)


def by_beacontools(ad: bytes) -> Found:
    """beacontools, on raw data."""
    found = parse_packet(ad)
    if not isinstance(found, IBeaconAdvertisement):
        return None
    return bytes.fromhex(found.uuid.replace("-", "")), found.major, found.minor, found.tx_power


def info_of(case: Case) -> BluetoothServiceInfo:
    """What ibeacon-ble takes."""
    return BluetoothServiceInfo(
        name="x", address="aa-bb", rssi=-60, manufacturer_data=case.manufacturer, service_data={}, service_uuids=[],
        source="local",
    )  # fmt: skip


Contender = tuple[Callable[[Any], Found], Callable[[Case], Any], int]
"""Decoder, its native input, and of how many advertisements it gets one."""

CONTENDERS: dict[str, Contender] = {
    "bluetooth_data_tools": (by_data_tools, lambda case: (case.ad,), 1),
    "construct": (by_construct, lambda case: case.manufacturer, 1),
    "ibeacon_ble": (by_ibeacon_ble, info_of, 1),
    "beacontools": (by_beacontools, lambda case: case.ad, SLOW_SHARE),
}


def main(lines: list[str], turns: int) -> dict[str, float]:
    """Judge and measure them all."""
    cases = [read(line) for line in lines]
    found: dict[str, float] = {}
    for name, (decoder, native, share) in CONTENDERS.items():
        some = cases[::share]
        inputs, plain = [native(case) for case in some], [case.manufacturer for case in some]
        wrong = raised = 0
        for case, given in zip(some, inputs, strict=True):
            try:
                wrong += decoder(given) != case.truth
            except Exception:
                raised += 1
        ratios = [cost_s(by_struct, plain) / cost_s(decoder, inputs) for _ in range(turns)]
        found[f"decode_{name}_vs_struct"] = float(f"{median(ratios):.4g}")
        found[f"decode_{name}_wrong"], found[f"decode_{name}_raised"] = wrong, raised
    return found


def cost_s(decoder: Callable[[Any], Found], inputs: list[Any]) -> float:
    """CPU seconds over all inputs; what it raises is swallowed, as its caller would have to."""
    begun_s = time.process_time()
    for given in inputs:
        try:
            decoder(given)
        except Exception:
            continue
    return time.process_time() - begun_s


def read(line: str) -> Case:
    """One line of the input."""
    raw = json.loads(line)
    uuid, *rest = raw["truth"] or (None,)
    truth: Any = None if uuid is None else (bytes.fromhex(uuid), *rest)
    reports = {int(company): bytes.fromhex(payload) for company, payload in raw["manufacturer"].items()}
    return Case(reports, bytes.fromhex(raw["ad"]), truth)


if __name__ == "__main__":
    print(json.dumps(main(sys.stdin.read().splitlines(), int(sys.argv[1]))))
