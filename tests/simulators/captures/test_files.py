"""Readers of file formats: every datalink, both byte orders, packed files, and damage at a known byte."""

import gzip
import io
import lzma
import struct
import tracemalloc

import pytest

from simulators.captures.formats import recognise
from simulators.captures.packet import H4, LINES, MAX_PACKET_BYTES
from simulators.captures.source import Source
from tests.simulators.captures.builders import (
    COMMAND,
    START_US,
    Record,
    block,
    btsnoop,
    event,
    interface,
    legacy,
    legacy_report,
    option,
    packet_block,
    packets,
    pcap,
    pcapng,
    section,
    until_damage,
)
from wire.errors import BadCapture

ONE, TWO = legacy(), legacy(legacy_report(rssi=-90))
BARE = event(0x02, legacy_report())
START_NS = START_US * 1000
FRAME = b'{"t_ms":5,"scanner":"s","address":"aa","rssi_dbm":-60,"adv":"","more":1}\n'


def data_of(data):
    return [packet.data for packet in packets(data)]


# -- btsnoop -------------------------------------------------------------------------------------------------------


def test_btsnoop_uart():
    first, second = packets(btsnoop(ONE, Record(TWO, at_us=1_500_000)))
    assert first == (16, START_NS, H4, 0, ONE)
    assert second == (16 + 24 + len(ONE), START_NS + 1_500_000_000, H4, 0, TWO)


def test_btsnoop_without_encapsulation_tells_the_kind_by_flags():
    records = [Record(BARE, flags) for flags in (3, 2, 1, 0, 0xFFFFFFF3)]
    assert data_of(btsnoop(*records, datalink=1001)) == [
        indicator + BARE for indicator in (b"\4", b"\1", b"\2", b"\2", b"\4")
    ]


def test_btsnoop_of_the_linux_monitor_tells_adapter_and_kind_by_flags():
    records = [
        Record(BARE, adapter << 16 | opcode) for adapter, opcode in ((0, 3), (1, 3), (1, 2), (0xFFFF, 12), (0, 0x103))
    ]
    found = packets(btsnoop(*records, datalink=2001))
    assert [(packet.interface, packet.data[:1]) for packet in found] == [
        (0, b"\4"), (1, b"\4"), (1, b"\1"), (0xFFFF, b"\xff"), (0, b"\xff"),
    ]  # fmt: skip
    assert all(packet.data[1:] == BARE for packet in found)


@pytest.mark.parametrize(
    ("data", "offset", "what"),
    [
        (btsnoop(version=2), 8, "version 2"),
        (btsnoop(datalink=1003), 12, "datalink 1003; those read are 1001 .*1002 .*2001"),
        (b"btsnoop\0\0\0", 0, "the header that begins here is cut short, 10 bytes"),
        (btsnoop(ONE) + struct.pack(">IIIIq", 1, MAX_PACKET_BYTES + 1, 0, 0, 0), 16 + 24 + len(ONE), "means damage"),
    ],
)
def test_btsnoop_that_cannot_be_read_on(data, offset, what):
    with pytest.raises(BadCapture, match=what) as caught:
        packets(data)
    assert caught.value.offset == offset
    assert str(caught.value).startswith(f"byte {offset}: ")


# -- pcap ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ns", [False, True])
def test_pcap_of_either_byte_order_and_resolution(order, ns):
    first, second = packets(pcap(ONE, TWO, link=256, order=order, ns=ns))
    assert first == (24, 1_700_000_000 * 10**9, 256, 0, ONE)
    assert second == (24 + 16 + len(ONE), 1_700_000_000 * 10**9 + 10**6, 256, 0, TWO)


def test_pcap_keeps_the_link_type_apart_from_the_bits_above_it():
    assert packets(pcap(ONE, link=0xF0000000 | 251))[0].link == 251


def test_pcap_damaged():
    good = pcap(ONE)
    for more, what in ((b"\0" * 15, "cut short, 15 bytes"), (struct.pack("<IIII", 0, 0, 1 << 20, 0), "means damage")):
        found, fault = until_damage(good + more)
        assert [packet.data for packet in found] == [ONE]
        assert fault.offset == len(good)
        assert what in str(fault)


# -- pcapng --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_either_byte_order(order):
    data = pcapng(ONE, TWO, link=272, order=order)
    first, second = packets(data)
    assert first == (28 + 20, START_NS, 272, 0, ONE)
    assert (second.at_ns, second.link, second.data) == (START_NS + 10**6, 272, TWO)


@pytest.mark.parametrize(
    ("options", "at_ns"),
    [
        ([], 7_000),
        ([option(9, b"\x06")], 7_000),
        ([option(9, b"\x09")], 7),
        ([option(9, b"\x00")], 7_000_000_000),
        ([option(9, b"\x83")], 875_000_000),
        ([option(2, b"odd"), option(9, b"\x03"), option(0, b""), option(9, b"\x09")], 7_000_000),
        ([option(9, b"\x09"), option(14, struct.pack("<q", -2))], 7 - 2 * 10**9),
        ([option(9, b"\x09\x09"), option(14, b"\x01")], 7_000),
    ],
    ids=["µs unless said", "µs", "ns", "s", "an eighth of a s", "end of options", "offset", "of the wrong size"],
)
def test_pcapng_time_units(options, at_ns):
    data = section() + interface(187, *options) + packet_block(ONE, ticks=7)
    assert packets(data)[0].at_ns == at_ns


def test_pcapng_interfaces_sections_and_blocks_passed_over():
    statistics = block(5, bytes(12))
    data = (
        section() + interface(187) + interface(272) + statistics + packet_block(ONE, number=1)
        + block(0x40000BAD, bytes(200_000)) + packet_block(TWO, number=0)
        + section(">") + interface(251, order=">") + packet_block(TWO, order=">")
    )  # fmt: skip
    assert [(packet.interface, packet.link, packet.data) for packet in packets(data)] == [
        (1, 272, ONE), (0, 187, TWO), (0, 251, TWO),
    ]  # fmt: skip


def test_pcapng_packets_without_a_time_come_after_the_one_before():
    simple = block(3, struct.pack("<I", len(TWO)) + TWO)
    old = block(2, struct.pack("<HHIIII", 0, 0, START_US >> 32, START_US & 0xFFFFFFFF, len(ONE), len(ONE)) + ONE)
    first, second = packets(section() + interface(187) + old + simple)
    assert first[1:] == (START_NS, 187, 0, ONE)
    assert second.at_ns == START_NS
    assert second.data[: len(TWO)] == TWO


HEAD = section() + interface(187) + packet_block(ONE)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (packet_block(TWO)[:-1], "the block that begins here is cut short"),
        (struct.pack("<II", 6, 8), "a block of 8 bytes"),
        (struct.pack("<II", 6, 33), "a block of 33 bytes"),
        (struct.pack("<II", 6, 1 << 30), "means damage"),
        (packet_block(TWO)[:-4] + b"\1\0\0\0", "at its head and 1 at its end"),
        (packet_block(TWO, number=1), "contradicts itself"),
        (block(6, bytes(8)), "contradicts itself"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5) + bytes(4)), "contradicts itself"),
        (block(1, b""), "contradicts itself"),
        (section()[:8] + b"\1\2\3\4" + section()[12:], "byte order mark is 01020304"),
        (section(major=2), "version 2"),
        (block(0x0A0D0D0A, struct.pack("<IHH", 0x1A2B3C4D, 1, 0)), "a section header of 20 bytes"),
        (section()[:-4] + b"\1\0\0\0", "at its head and 1 at its end"),
        (b"".join([interface(187)] * 1024), "more than 1024 interfaces"),
    ],
)
def test_pcapng_damaged_keeps_what_was_before_and_says_where(more, what):
    found, fault = until_damage(HEAD + more)
    assert [packet.data for packet in found] == [ONE]
    assert what in str(fault)
    last = len(HEAD) + (1023 * len(interface(187)) if "interfaces" in what else 0)
    assert fault.offset == last


# -- frames --------------------------------------------------------------------------------------------------------


def test_frames_are_read_line_by_line():
    found = packets(FRAME + b"\n" + b"no frame\n" + FRAME.replace(b"5", b"70"))
    assert [(packet.at_ns, packet.link) for packet in found] == [
        (5_000_000, LINES), (5_000_000, LINES), (70_000_000, LINES),
    ]  # fmt: skip
    assert found[1].offset == len(FRAME) + 1


@pytest.mark.parametrize(
    ("data", "offset", "what"),
    [
        (FRAME + FRAME[:-5], len(FRAME), "cut short"),
        (b'{"trace":1,"name":"x"}\n', 0, "a trace of sightings already"),
        (b"{" + bytes(1_000_001), 0, "more than 1000000 bytes"),
        (FRAME + b" " * 1_000_001 + b"\n", len(FRAME), "more than 1000000 bytes"),
    ],
)
def test_frames_damaged(data, offset, what):
    with pytest.raises(BadCapture, match=what) as caught:
        packets(data)
    assert caught.value.offset == offset


def test_a_last_line_without_an_end_is_read():
    assert len(packets(FRAME + FRAME[:-1])) == 2


# -- any file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", gzip.compress(b"", mtime=0), lzma.compress(b"")])
def test_an_empty_file(data):
    with pytest.raises(BadCapture, match="the file is empty"):
        packets(data)


def test_a_file_of_another_kind_is_refused_with_what_is_read():
    with pytest.raises(BadCapture, match=r"begins with 50 4b 03 04.*btsnoop, pcapng, pcap, or frames"):
        packets(b"PK\3\4")


WHOLE = {"btsnoop": btsnoop(ONE, COMMAND, TWO), "pcap": pcap(ONE, TWO), "pcapng": pcapng(ONE, TWO), "frames": FRAME}


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
@pytest.mark.parametrize("name", WHOLE)
def test_packed_files_are_told_by_their_first_bytes(name, pack):
    file = Source(io.BufferedReader(io.BytesIO(pack(WHOLE[name]))))
    found, reading = recognise(file)
    assert found == name
    assert list(reading) == packets(WHOLE[name])


@pytest.mark.parametrize("name", ["btsnoop", "pcap", "pcapng"])
def test_a_file_cut_anywhere_gives_its_whole_records_and_the_byte_where_the_next_begins(name):
    data = WHOLE[name]
    whole = packets(data)
    ends = [packet.offset for packet in whole[1:]] + [len(data)]
    for length in range(32, len(data)):
        found, fault = until_damage(data[:length])
        assert found == whole[: sum(end <= length for end in ends)]
        if fault is not None:
            assert fault.offset <= length


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_packed_file_cut_short_keeps_what_was_before(pack):
    data = pack(btsnoop(*[bytes((number % 251,)) * 90 for number in range(5000)]))
    found, fault = until_damage(data[: len(data) * 2 // 3])
    assert len(found) > 1000
    assert found == packets(pack(btsnoop(*[bytes((number % 251,)) * 90 for number in range(5000)])))[: len(found)]
    assert "ends too early" in str(fault)
    assert fault.offset >= found[-1].offset


@pytest.mark.parametrize(("pack", "place"), [(gzip.compress, -6), (lzma.compress, 600)])
def test_a_packed_file_that_is_damaged_says_so(pack, place):
    data = bytearray(pack(btsnoop(*[bytes((number % 251,)) * 90 for number in range(5000)])))
    data[place] ^= 255  # the checksum of gzip, the data of xz
    _, fault = until_damage(bytes(data))
    assert f"the {pack.__module__.replace('lzma', 'xz')} file is damaged" in str(fault)


class Endless(io.RawIOBase):
    """A capture that goes on for ever, as a pipe does."""

    def __init__(self):
        self.waiting = btsnoop()

    def readable(self):
        return True

    def readinto(self, buffer):
        self.waiting = self.waiting or btsnoop(*[ONE] * 500)[16:]
        taken = self.waiting[: len(buffer)]
        buffer[: len(taken)] = taken
        self.waiting = self.waiting[len(taken) :]
        return len(taken)


def test_memory_does_not_grow_with_the_capture():
    _, reading = recognise(Source(io.BufferedReader(Endless())))
    next(reading)
    tracemalloc.start()
    try:
        for _ in range(30_000):
            next(reading)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000  # 2 MB went through
