"""LE advertising reports: both kinds, several in an event, damaged ones."""

import pytest

from simulators.captures import hci
from simulators.captures.packet import Decoded, Left, Report
from tests.simulators.captures.builders import (
    ADDRESS,
    COMMAND,
    FLAGS_AD,
    IBEACON,
    SPELLED,
    event,
    extended,
    extended_report,
    legacy,
    legacy_report,
)

OTHER_ADDRESS = bytes.fromhex("0102030405c6")


def found(decoded):
    return [(one.address, one.rssi_dbm, one.data) for one in decoded.reports]


def test_a_legacy_report():
    assert hci.read(legacy()) == Decoded((Report(SPELLED, -60, IBEACON),))


def test_reports_of_one_event_stand_one_after_another():
    decoded = hci.read(
        legacy(
            legacy_report(FLAGS_AD + IBEACON, -40),
            legacy_report(b"", -100, OTHER_ADDRESS, kind=4),
            legacy_report(IBEACON, 3),
        )
    )
    assert decoded.left is None
    assert found(decoded) == [
        (SPELLED, -40, FLAGS_AD + IBEACON), ("c6:05:04:03:02:01", -100, b""), (SPELLED, 3, IBEACON),
    ]  # fmt: skip


def test_extended_reports_with_data_longer_than_legacy_ones():
    long = b"\xe1\xff\xff\xff" + bytes(180)
    decoded = hci.read(extended(extended_report(IBEACON, -71), extended_report(b"", -80, OTHER_ADDRESS, kind=0x1A)))
    assert decoded.left is None
    assert found(decoded) == [(SPELLED, -71, IBEACON), ("c6:05:04:03:02:01", -80, b"")]
    assert found(hci.read(extended(extended_report(long)))) == [(SPELLED, -60, long)]


def test_what_an_extended_report_says_of_its_pieces():
    (first,) = hci.read(extended(extended_report(status=1, sid=3))).reports
    (last,) = hci.read(extended(extended_report(status=0, sid=3))).reports
    (lost,) = hci.read(extended(extended_report(status=2, sid=3))).reports
    (answer,) = hci.read(extended(extended_report(status=0, sid=3, kind=0x1A))).reports
    assert [first.more, last.more, lost.more] == [True, False, False]
    assert first.chain == last.chain == lost.chain
    assert answer.chain != last.chain
    assert not first.starts


def test_a_level_of_127_is_none():
    assert found(hci.read(legacy(legacy_report(rssi=127)))) == [(SPELLED, None, IBEACON)]
    assert found(hci.read(extended(extended_report(rssi=127)))) == [(SPELLED, None, IBEACON)]
    assert found(hci.read(legacy(legacy_report(rssi=-128)))) == [(SPELLED, -128, IBEACON)]


@pytest.mark.parametrize(
    "packet",
    [COMMAND, b"\x02\x01\x02", b"\xff", b"\x04\x0e\x04\x01\x0c\x20\x00", b"\x04" + event(0x01), b"\x04" + event(0x12)],
    ids=["command", "data", "no packet", "command complete", "connection", "other subevent"],
)
def test_other_packets(packet):
    assert hci.read(packet) == Decoded(left=Left.OTHER)


@pytest.mark.parametrize("make", [legacy, extended])
def test_an_event_cut_anywhere_keeps_the_reports_before_the_cut(make):
    reports = [legacy_report, extended_report][make is extended]
    one = len(make(reports()))
    whole = make(reports(), reports(rssi=-77))
    assert len(hci.read(whole).reports) == 2
    for length in range(5, len(whole)):
        decoded = hci.read(whole[:length])
        assert len(decoded.reports) == (length >= one)
        assert decoded.left is Left.MALFORMED
    for length in range(2, 5):
        assert hci.read(whole[:length]) == Decoded(left=Left.MALFORMED)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        legacy(count=0),
        extended(count=0),
        legacy(count=2),
        extended(count=255),
        legacy(legacy_report(bytes(32))),
        b"\x04\x3e\x00",
    ],
    ids=["nothing", "none", "none, extended", "one missing", "many missing", "too long for legacy", "empty"],
)
def test_events_that_contradict_themselves(packet):
    assert hci.read(packet).left is Left.MALFORMED


def test_bytes_after_the_event_are_not_read():
    assert hci.read(legacy() + b"\1\2\3") == hci.read(legacy())
    assert hci.read(legacy(count=2) + legacy_report()) == Decoded(hci.read(legacy()).reports, Left.MALFORMED)


def test_with_direction_and_from_the_linux_monitor():
    assert hci.read_with_direction(b"\0\0\0\1" + legacy()) == hci.read(legacy())
    assert hci.read_with_direction(b"\0\0") == Decoded(left=Left.MALFORMED)
    bare = event(0x02, legacy_report())
    assert hci.read_monitor(b"\0\0\0\3" + bare) == hci.read(legacy())
    for opcode in (0, 2, 4, 7, 13, 65535):
        assert hci.read_monitor(b"\0\0" + opcode.to_bytes(2, "big") + bare) == Decoded(left=Left.OTHER)
    assert hci.read_monitor(b"\0\0\0") == Decoded(left=Left.MALFORMED)


def test_the_address_type_is_part_of_what_names_a_set():
    public = bytearray(extended_report())
    public[2] = 0
    (one,), (two,) = hci.read(extended(bytes(public))).reports, hci.read(extended(extended_report())).reports
    assert one.chain != two.chain
    assert one.address == two.address == ADDRESS[::-1].hex(":")
