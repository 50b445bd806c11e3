"""Whatever bytes come: frames, counts that add up, and no error but ours."""

import gzip
import lzma

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simulators.captures import hci, linklayer
from simulators.captures.conversion import DECODERS, Conversion
from simulators.captures.formats import recognise
from simulators.captures.packet import Left
from tests.simulators.captures.builders import (
    ADDRESS,
    COMMAND,
    FLAGS_AD,
    Record,
    air,
    btsnoop,
    event,
    extended,
    extended_pdu,
    extended_report,
    interface,
    legacy,
    legacy_report,
    nordic,
    option,
    packet_block,
    pcap,
    pcapng,
    pdu,
    phdr,
    section,
    source,
)
from wire.errors import BadCapture
from wire.trace import Frame, TraceReader, write_line

CHAIN = [
    phdr(air(extended_pdu(FLAGS_AD, address=ADDRESS, adi=b"\1\0", pointer=True))),
    phdr(air(extended_pdu(FLAGS_AD, adi=b"\1\0"))),
]
FILES = [
    btsnoop(legacy(), COMMAND, extended(extended_report(status=1)), extended()),
    btsnoop(legacy(legacy_report(b""), legacy_report(FLAGS_AD), legacy_report())),
    btsnoop(Record(event(2, legacy_report()), 3), Record(b"", 1), datalink=1001),
    btsnoop(Record(event(2, legacy_report()), 3), Record(event(13, extended_report()), 0x10003), datalink=2001),
    pcap(phdr(air()), phdr(air(pdu(3, bytes(12)))), *CHAIN, link=256),
    pcap(air(), air(crc=b"abc"), link=251, order=">", ns=True),
    pcapng(*[nordic(air(), version=version) for version in range(4)], link=272),
    pcapng(b"\0\0\0\1" + legacy(), link=201, order=">"),
    section() + interface(187, option(9, b"\x89"), option(14, bytes(8))) + packet_block(legacy(), ticks=2**63),
    b'{"t_ms":0,"scanner":"s","address":"aa","rssi_dbm":-60,"adv":"020106"}\n{}\n',
]  # fmt: skip


def convert(data):
    """Everything the command does with bytes; returns the frames."""
    conversion, frames = Conversion("s", rssi_dbm=-50), []
    try:
        for packet in recognise(source(data))[1]:
            for frame in conversion.frames(packet):
                assert isinstance(frame, Frame)
                frames.append(write_line(frame))
        conversion.end()
    except BadCapture:
        pass  # the one error that may come
    counts = conversion.counts
    assert counts["reports"] == counts["frames"] == len(frames)
    assert counts["packets"] >= sum(counts[left] for left in Left)
    if frames:
        assert len(list(TraceReader(frames))) == len(frames)  # in order of time, and every line valid
    return frames


@pytest.mark.parametrize("data", FILES)
def test_the_files_to_be_changed_are_good_ones(data):
    assert convert(data)


@given(st.binary(max_size=300))
@example(b"btsnoop\0")
def test_random_bytes(data):
    convert(data)


@given(st.sampled_from([file[:24] for file in FILES]), st.binary(max_size=300))
def test_random_bytes_after_a_good_beginning(head, data):
    convert(head + data)


def changed(data):
    """A file with some bytes changed, some left out, and cut somewhere."""
    places = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=6)
    return st.tuples(places, st.integers(0, len(data)), st.integers(0, 8), st.integers(0, len(data))).map(
        lambda how: change(data, *how)
    )


def change(data, places, gap, missing, length):
    found = bytearray(data)
    for place, value in places:
        found[place] = value
    del found[gap : gap + missing]
    return bytes(found[: max(length, 24)])


@given(st.sampled_from(FILES).flatmap(changed))
def test_changed_and_cut_files(data):
    convert(data)


@given(st.sampled_from([pack(file) for file in FILES for pack in (gzip.compress, lzma.compress)]).flatmap(changed))
def test_changed_and_cut_packed_files(data):
    convert(data)


@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=80))
def test_random_packets_of_every_link_type(link, data):
    reports, left = DECODERS[link](data)
    assert reports or left is not None


@given(st.sampled_from([2, 13]), st.binary(max_size=250))
def test_random_reports(subevent, data):
    body = bytes((subevent,)) + data
    reports, _ = hci.read(b"\x04\x3e" + bytes((len(body),)) + body)
    assert all(len(report.address) == 17 for report in reports)


@given(st.integers(0, 15), st.binary(max_size=250))
def test_random_pdus_with_the_right_crc(kind, payload):
    decoded = linklayer.read(air(pdu(kind, payload)), -60, crc_said=None)
    assert decoded.left is not Left.CRC_BROKEN
    assert all(len(report.address) in (0, 17) for report in decoded.reports)
