"""Exact counts on real captures, against what others read from the same bytes.

`DOORCHIME_CAPTURES` names a folder with `epfl_btsnoop/` (HCI logs of phones and an `expected.json`) and
`mitll_pcapng/` (captures of two sniffers, Wireshark's decode as .csv.xz beside each).
"""

import csv
import io
import json
import lzma
from collections import Counter, defaultdict

import pytest

from simulators.captures.conversion import DECODERS, Conversion
from simulators.captures.formats import recognise
from simulators.captures.packet import Left
from simulators.captures.source import Source
from tests.recordings import folder
from wire.ibeacon import decode_ad

HOLDING = "epfl_btsnoop/ and mitll_pcapng/"


def convert(path):
    """(packets, frames with the number of their packet, conversion) of a whole file."""
    conversion, frames = Conversion("s"), []
    with path.open("rb") as file:
        for number, packet in enumerate(recognise(Source(file))[1]):
            frames += [(number, frame) for frame in conversion.frames(packet)]
    conversion.end()
    return frames, conversion


def structures(adv):
    at = 0
    while at < len(adv) and adv[at]:
        yield adv[at + 1], adv[at + 2 : at + 1 + adv[at]]
        at += 1 + adv[at]


def ibeacons(frames, first_s):
    """Of each identity what `expected.json` says, and no more."""
    heard = defaultdict(list)
    for _, frame in frames:
        if beacon := decode_ad(bytes.fromhex(frame.adv)):
            heard["/".join(map(str, (beacon.uuid.hex(), *beacon[1:])))].append(frame)
    return {
        identity: {
            "reports": len(found),
            "rssi_sum": sum(frame.rssi_dbm for frame in found),
            "rssi_min": min(frame.rssi_dbm for frame in found),
            "rssi_max": max(frame.rssi_dbm for frame in found),
            "first_t": pytest.approx(first_s + found[0].t_ms / 1000, abs=0.00051),
            "last_t": pytest.approx(first_s + found[-1].t_ms / 1000, abs=0.00051),
        }
        for identity, found in heard.items()
    }


def test_every_hci_log_gives_exactly_what_is_expected():
    home = folder("DOORCHIME_CAPTURES", HOLDING) / "epfl_btsnoop"
    expected = json.loads((home / "expected.json").read_text("utf-8"))
    assert len(expected) > 5
    for name, right in expected.items():
        frames, conversion = convert(home / f"{name}.xz")
        counts = conversion.counts
        companies, services = Counter(), Counter()
        for _, frame in frames:
            for kind, body in structures(bytes.fromhex(frame.adv)):
                companies[body[1::-1].hex()] += kind == 0xFF
                services[body[1::-1].hex()] += kind == 0x16
        assert counts["packets"] == right["records"], name
        assert counts["reports"] == len(frames) == right["legacy_reports"] + right["extended_reports"], name
        assert counts["without_data"] == right["empty_data_reports"], name
        assert counts["malformed_ad"] == right["malformed_ad"], name
        assert counts["malformed"] == counts["clock_set"] == 0, name
        assert len({frame.address for _, frame in frames}) == right["addresses"], name
        assert right["last_t"] == pytest.approx(right["first_t"] + frames[-1][1].t_ms / 1000, abs=0.00051), name
        assert right["ibeacons"] == ibeacons(frames, right["first_t"]), name
        assert counts["ibeacons"] == sum(one["reports"] for one in right["ibeacons"].values()), name
        assert +companies == right["company_ids"], name
        assert +services == right["service_data_uuids"], name


ADVERTISED = {"0", "2", "4", "6"}


PDU_TYPE = {Left.SCAN_REQUEST: "3", Left.CONNECTION_REQUEST: "5"}


def test_every_sniffer_capture_gives_exactly_what_wireshark_decodes():
    home = folder("DOORCHIME_CAPTURES", HOLDING) / "mitll_pcapng"
    captures = sorted(home.glob("*.pcapng.xz"))
    assert len(captures) > 5
    for path in captures:
        frames, conversion = convert(path)
        rows = wireshark(path)
        counts = conversion.counts
        assert counts["packets"] == len(rows), path.name
        for number, frame in frames:
            check_row(path.name, rows[number], frame)
        with path.open("rb") as file:
            why = [DECODERS[packet.link](packet.data).left for packet in recognise(Source(file))[1]]
        assert all(row["PDU Type"] == PDU_TYPE[left] for row, left in zip(rows, why, strict=True) if left in PDU_TYPE)
        assert counts["malformed_ad"] == counts["no_rssi"] == 0, path.name
        assert set(why) <= {None, Left.CRC_BROKEN, Left.SCAN_REQUEST, Left.CONNECTION_REQUEST}, path.name


def wireshark(path):
    """Its decode, a line a packet."""
    packed = lzma.decompress(path.with_name(path.name.replace(".pcapng.", ".csv.")).read_bytes())
    return list(csv.DictReader(io.StringIO(packed.decode("utf-8", "replace"), newline="")))


def check_row(name, row, frame):
    """One frame against Wireshark's line of the same packet."""
    where = f"{name}, frame {row['Frame']}"
    assert row["PDU Type"] in ADVERTISED, where
    assert (row["Source"], int(row["RSSI"])) == (frame.address, frame.rssi_dbm), where
    found = dict(structures(bytes.fromhex(frame.adv)))
    company = int.from_bytes(found[0xFF][:2], "little") if 0xFF in found else None
    assert (int(row["Company"]) if row["Company"] else None) == company, where
    local_name = found.get(0x09, found.get(0x08, b"")).decode("utf-8", "replace")
    assert row["DeviceName"] == local_name, where
