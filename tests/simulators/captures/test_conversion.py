"""From packets to frames: time, prefixes, levels, and a count of everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.captures.conversion import COUNTS, DECODERS, REORDER_NS, SILENCE_MAX_NS, Conversion, Timeline
from simulators.captures.packet import H4, LINES, Packet
from tests.simulators.captures.builders import (
    ADDRESS,
    COMMAND,
    FLAGS_AD,
    IBEACON,
    SPELLED,
    air,
    event,
    extended,
    extended_pdu,
    extended_report,
    legacy,
    legacy_report,
    nordic,
    pdu,
    phdr,
)
from wire.errors import BadCapture
from wire.ibeacon import Beacon, encode_ad
from wire.trace import Frame

LINE = b'{"t_ms":0,"scanner":"s","address":"66:55:44:33:22:11","rssi_dbm":-60,"adv":"%s"}' % IBEACON.hex().encode()
OURS = bytes.fromhex("d0c41e02")
THEIRS = encode_ad(Beacon(bytes(16), 1, 1, -59))
BROKEN_IBEACON = bytes.fromhex("05ff4c000215")


def convert(*found, link=H4, **more):
    """Frames and the conversion, of packets one ms apart or (packet, ms) pairs."""
    conversion = Conversion("file", **more)
    frames = []
    for number, item in enumerate(found):
        data, at_ms = item if isinstance(item, tuple) else (item, number)
        frames += conversion.frames(Packet(number * 100, at_ms * 10**6, link, 0, data))
    conversion.end()
    assert conversion.counts.keys() == set(COUNTS)
    counts = conversion.counts
    assert counts["reports"] == counts["frames"] + counts["not_ours"] + counts["no_rssi"]
    assert counts["frames"] == len(frames)
    return frames, conversion


def seen(conversion):
    return {name: count for name, count in conversion.counts.items() if count}


def test_every_advertisement_becomes_a_frame():
    frames, conversion = convert(legacy(), COMMAND, legacy(legacy_report(b"", -90, kind=4), legacy_report(FLAGS_AD)))
    assert frames == [
        Frame(t_ms=0, scanner="file", address=SPELLED, rssi_dbm=-60, adv=IBEACON.hex()),
        Frame(t_ms=2, scanner="file", address=SPELLED, rssi_dbm=-90, adv=""),
        Frame(t_ms=2, scanner="file", address=SPELLED, rssi_dbm=-60, adv="020106"),
    ]
    assert seen(conversion) == {
        "packets": 3, "reports": 3, "frames": 3, "without_data": 1, "ibeacons": 1, "other": 1,
    }  # fmt: skip
    assert conversion.interfaces == {0: 3}


def test_with_prefixes_only_our_beacons_are_written_and_time_stays():
    frames, conversion = convert(
        legacy(legacy_report(THEIRS)), legacy(legacy_report(BROKEN_IBEACON)), legacy(), legacy(legacy_report(FLAGS_AD)),
        prefixes=(b"\xaa\xbb\xcc\xdd", OURS),
    )  # fmt: skip
    assert [(frame.t_ms, frame.adv) for frame in frames] == [(2, IBEACON.hex())]
    assert seen(conversion) == {
        "packets": 4, "reports": 4, "frames": 1, "not_ours": 3, "ibeacons": 2, "malformed_ad": 1,
    }  # fmt: skip


def test_scan_and_connection_requests_and_broken_packets_are_counted():
    requests = [phdr(air(pdu(kind, bytes(12)))) for kind in (3, 3, 5, 1)]
    frames, conversion = convert(*requests, phdr(air(crc=bytes(3))), phdr(air()), b"short", b"", link=256)
    assert [frame.rssi_dbm for frame in frames] == [-60]
    assert seen(conversion) == {
        "packets": 8, "reports": 1, "frames": 1, "ibeacons": 1, "crc_broken": 1, "scan_requests": 2,
        "connection_requests": 1, "other": 1, "malformed": 2,
    }  # fmt: skip
    assert conversion.malformed_at == 600


def test_without_a_level_a_frame_is_left_out_or_gets_the_one_given():
    assert seen(convert(air(), link=251)[1])["no_rssi"] == 1
    frames, _ = convert(air(), link=251, rssi_dbm=-70)
    assert [frame.rssi_dbm for frame in frames] == [-70]
    frames, conversion = convert(legacy(legacy_report(rssi=127)), legacy(), rssi_dbm=-70)
    assert [frame.rssi_dbm for frame in frames] == [-70, -60]
    assert not conversion.counts["no_rssi"]


@pytest.mark.parametrize(
    ("link", "data"),
    [
        (187, legacy()),
        (201, b"\0\0\0\1" + extended()),
        (251, air()),
        (254, b"\0\0\0\3" + event(2, legacy_report())),
        (256, phdr(air())),
        (272, nordic(air())),
        (LINES, LINE),
    ],
)
def test_every_link_type_gives_the_same_frame(link, data):
    frames, _ = convert(data, link=link, rssi_dbm=-60, scanner="door")
    assert frames == [Frame(t_ms=0, scanner="door", address=SPELLED, rssi_dbm=-60, adv=IBEACON.hex())]


def test_every_decoder_is_tested_above():
    assert {187, 201, 251, 254, 256, 272, LINES} == DECODERS.keys()


def test_a_recording_keeps_its_scanners_unless_one_is_given():
    line = b'{"t_ms":0,"scanner":"%s","address":"aa","rssi_dbm":-60.5,"adv":""}'
    frames, _ = convert(line % b"one", line % b"two", link=LINES)
    assert [(frame.scanner, frame.rssi_dbm) for frame in frames] == [("one", -60.5), ("two", -60.5)]
    frames, conversion = convert(line % b"one", b"{}", link=LINES, scanner="all")
    assert [frame.scanner for frame in frames] == ["all"]
    assert conversion.counts["malformed"] == 1


def test_pieces_become_one_frame_when_the_last_is_there():
    frames, conversion = convert(
        extended(extended_report(FLAGS_AD, -50, status=1)),
        extended(extended_report(IBEACON, -51, status=0), extended_report(b"", -52, sid=1, status=1)),
        prefixes=(OURS,),
    )
    assert [(frame.t_ms, frame.rssi_dbm, frame.adv) for frame in frames] == [(0, -51, (FLAGS_AD + IBEACON).hex())]
    assert seen(conversion) == {"packets": 2, "reports": 1, "frames": 1, "ibeacons": 1, "pieces": 2}


def test_a_chain_of_the_air_becomes_one_frame():
    first = extended_pdu(address=ADDRESS, adi=b"\1\0", pointer=True)
    second = extended_pdu(FLAGS_AD, address=ADDRESS, adi=b"\1\0", pointer=True)
    third = extended_pdu(IBEACON, adi=b"\1\0")
    frames, conversion = convert(*(phdr(air(body)) for body in (first, second, third)), link=256)
    assert [frame.adv for frame in frames] == [(FLAGS_AD + IBEACON).hex()]
    assert [frame.address for frame in frames] == [SPELLED]
    assert seen(conversion) == {"packets": 3, "reports": 1, "frames": 1, "ibeacons": 1, "pieces": 2}


def test_only_one_interface_when_asked():
    conversion = Conversion("file", interface=1)
    for interface in (0, 1, 1, 2):
        list(conversion.frames(Packet(0, 0, H4, interface, legacy())))
    assert conversion.counts["frames"] == 2
    assert conversion.counts["other_interface"] == 2
    assert conversion.interfaces == {1: 2}


def test_a_capture_of_something_else_is_refused_at_its_end():
    conversion = Conversion("file")
    assert not list(conversion.frames(Packet(77, 0, 1, 0, b"ethernet")))
    with pytest.raises(BadCapture, match=r"byte 77: .* link type 1, .* 187, 201, 251, 254, 256, 272$"):
        conversion.end()


def test_something_else_beside_bluetooth_is_counted():
    conversion = Conversion("file")
    for link in (1, H4):
        list(conversion.frames(Packet(0, 0, link, 0, legacy())))
    conversion.end()
    assert (conversion.counts["other"], conversion.counts["frames"]) == (1, 1)


# -- time ----------------------------------------------------------------------------------------------------------

MS, S, HOUR = 10**6, 10**9, 3600 * 10**9


def times(*at_ns):
    timeline = Timeline()
    return [timeline.at(one) for one in at_ns], timeline


def test_time_counts_from_the_first_advertisement():
    found, timeline = times(1_700_000_000 * S, 1_700_000_000 * S + 1_400_000, 1_700_000_003 * S)
    assert found == [0, 1, 3000]
    assert (timeline.times_set, timeline.longest_ms) == (0, 2999)


def test_packets_slightly_out_of_order_wait_for_nothing():
    assert times(0, 500 * MS, 300 * MS, 200 * MS, 600 * MS)[0] == [0, 500, 500, 500, 600]


def test_a_clock_set_back_goes_on_from_where_it_was():
    found, timeline = times(10 * HOUR, 10 * HOUR + S, 8 * HOUR, 8 * HOUR + 2 * S, 8 * HOUR + 3 * S)
    assert found == [0, 1000, 1000, 3000, 4000]
    assert timeline.times_set == 1


def test_a_clock_set_forward_by_years_does_not_stop_the_replay():
    found, timeline = times(0, S, 54 * 365 * 24 * HOUR, 54 * 365 * 24 * HOUR + S)
    assert found == [0, 1000, 1000, 2000]
    assert timeline.times_set == 1


def test_a_night_of_silence_is_kept():
    found, timeline = times(0, 14 * HOUR)
    assert found == [0, 14 * 3600 * 1000]
    assert timeline.longest_ms == 14 * 3600 * 1000


@given(st.lists(st.integers(-(10**30), 10**30) | st.integers(0, 10**10), max_size=50))
def test_time_never_goes_back_whatever_the_clock_does(at_ns):
    found, timeline = times(*at_ns)
    assert found == sorted(found)
    assert not found or found[0] == 0
    assert found[-1:] <= [max(0, len(found) - 1) * SILENCE_MAX_NS // MS + 1]
    assert timeline.longest_ms <= SILENCE_MAX_NS // MS + 1


@given(st.lists(st.integers(0, SILENCE_MAX_NS), max_size=30), st.integers(0, 2 * 10**18))
def test_a_clock_that_runs_is_followed_to_the_millisecond(steps_ns, start_ns):
    at_ns = [start_ns]
    for step in steps_ns:
        at_ns.append(at_ns[-1] + step)
    found, timeline = times(*at_ns)
    assert not timeline.times_set
    assert all(abs(t_ms - (at - start_ns) / 10**6) <= 0.51 for t_ms, at in zip(found, at_ns, strict=True))


def test_the_bounds_of_a_running_clock():
    assert times(0, SILENCE_MAX_NS, SILENCE_MAX_NS - REORDER_NS)[1].times_set == 0
    assert times(0, SILENCE_MAX_NS + 1)[1].times_set == 1
    assert times(0, -REORDER_NS - 1)[1].times_set == 1
    assert times(0, -REORDER_NS, -REORDER_NS - 1)[1].times_set == 1  # counted from the latest, not from the last
