"""The packet reader: whatever the chopping, and whatever the bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.chaos.packets import (
    MAX_PACKET_BYTES,
    PUBACK,
    PUBLISH,
    PacketReader,
    Publish,
    kind_of,
    read_puback,
    read_publish,
    write_publish,
)
from wire.errors import BadMessage

topics = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)
publishes = st.builds(
    lambda topic, payload, qos, packet_id, dup, retain: Publish(
        topic, payload, qos, packet_id if qos else None, dup, retain
    ),
    topics, st.binary(max_size=400), st.integers(0, 2), st.integers(1, 65_535), st.booleans(), st.booleans(),
)  # fmt: skip
PINGREQ = b"\xc0\x00"
CONNECT = bytes.fromhex("101000044d51545404020017000464312d31")


def chopped(data, cuts):
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@given(publishes)
def test_what_is_written_is_read(publish):
    packet = write_publish(publish)
    assert kind_of(packet) == PUBLISH
    assert read_publish(packet) == publish


@given(st.lists(publishes, max_size=5), st.lists(st.integers(0, 3_000), max_size=12))
def test_a_stream_is_cut_where_its_packets_end_however_it_comes(sent, cuts):
    packets = [CONNECT, *(write_publish(one) for one in sent), PINGREQ]
    reader, found = PacketReader(), []
    for part in chopped(b"".join(packets), cuts):
        found += reader.feed(part)
    assert found == packets
    assert reader.waiting == 0


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_no_bytes_whatever_do_more_than_be_refused(parts):
    reader = PacketReader()
    try:
        for part in parts:
            for packet in reader.feed(part):
                read_publish(packet) if kind_of(packet) == PUBLISH else read_puback(packet)
    except BadMessage:
        pass
    assert reader.waiting <= sum(map(len, parts))


@given(publishes, st.data())
def test_a_damaged_publish_is_read_or_refused(publish, data):
    packet = bytearray(write_publish(publish))
    packet[data.draw(st.integers(0, len(packet) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        for one in PacketReader().feed(bytes(packet)):
            read_publish(one)
    except BadMessage:
        pass
    else:
        assert packet != write_publish(publish)


def test_the_bytes_are_those_of_the_standard():
    # §3.3: topic a/b, packet id 10, QoS 1, DUP; §3.4: its PUBACK
    packet = bytes.fromhex("3a09 0003 612f62 000a 6869")
    assert read_publish(packet) == Publish("a/b", b"hi", 1, 10, dup=True)
    assert write_publish(Publish("a/b", b"hi", 1, 10, dup=True)) == packet
    assert read_puback(bytes.fromhex("4002 000a")) == 10
    assert kind_of(bytes.fromhex("4002 000a")) == PUBACK


def test_a_length_of_several_bytes_is_the_standards_example():
    # §2.2.3: 321 is 0xC1 0x02
    packet = write_publish(Publish("t", b"x" * 318, 0, None))
    assert packet[:3] == bytes.fromhex("30c102")
    assert PacketReader().feed(packet) == [packet]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x00\x00", "reserved"),
        (b"\xf0\x00", "reserved"),
        (b"\x30\xff\xff\xff\xff\x01", "four bytes"),
        (b"\x30\xff\xff\xff\x7f", str(MAX_PACKET_BYTES)),
    ],
)
def test_what_cannot_be_mqtt_is_refused_at_once(data, why):
    with pytest.raises(BadMessage, match=why):
        PacketReader().feed(data)


@pytest.mark.parametrize("packet", ["3600", "3001ff", "320500036161", "3003000180", PINGREQ.hex()])
def test_a_publish_whose_parts_do_not_fit_is_refused(packet):
    with pytest.raises(BadMessage):
        read_publish(bytes.fromhex(packet))


def test_a_puback_of_another_length_is_none():
    with pytest.raises(BadMessage):
        read_puback(bytes.fromhex("4000"))
