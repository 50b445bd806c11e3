"""Packets of sniffers: PDU types, CRC, the three encapsulations, extended advertising."""

import pytest

from simulators.captures import linklayer
from simulators.captures.packet import Decoded, Left, Report
from tests.simulators.captures.builders import (
    ADDRESS,
    FLAGS_AD,
    IBEACON,
    SPELLED,
    air,
    crc24,
    extended_pdu,
    nordic,
    pdu,
    phdr,
)

HEARD = Decoded((Report(SPELLED, -60, IBEACON),))
BROKEN, OTHER, MALFORMED = (Decoded(left=left) for left in (Left.CRC_BROKEN, Left.OTHER, Left.MALFORMED))


def read(packet, **more):
    return linklayer.read(packet, -60, **{"crc_said": None, **more})


@pytest.mark.parametrize("pdu_bytes", [b"", b"\0", pdu(), pdu(0, ADDRESS), bytes(range(256))])
def test_the_crc_is_the_one_drawn_in_the_specification(pdu_bytes):
    assert linklayer.crc(pdu_bytes) == crc24(pdu_bytes)


@pytest.mark.parametrize("kind", [0, 2, 4, 6])
def test_advertisements_and_scan_responses(kind):
    assert read(air(pdu(kind))) == HEARD
    assert read(air(pdu(kind, ADDRESS))) == Decoded((Report(SPELLED, -60, b""),))


@pytest.mark.parametrize(
    ("kind", "left"),
    [(3, Left.SCAN_REQUEST), (5, Left.CONNECTION_REQUEST), (1, Left.OTHER), (8, Left.OTHER), (15, Left.OTHER)],
)
def test_other_kinds_of_pdu(kind, left):
    assert read(air(pdu(kind, bytes(12)))) == Decoded(left=left)


def test_one_wrong_bit_anywhere_breaks_the_crc():
    right = air()
    for place in range(8 * 4, 8 * len(right)):
        wrong = bytearray(right)
        wrong[place // 8] ^= 1 << place % 8
        assert read(bytes(wrong)) == BROKEN, place


def test_what_the_sniffer_says_of_the_crc_is_believed():
    assert read(air(crc=bytes(3)), crc_said=True) == HEARD
    assert read(air()[:-3], crc_said=True) == HEARD
    assert read(air(), crc_said=False) == BROKEN
    assert read(air(crc=bytes(3)), crc_said=None) == BROKEN
    assert read(air()[:-3], crc_said=None) == BROKEN


def test_connections_have_another_access_address():
    assert read(air(access=b"\1\2\3\4")) == OTHER


def test_the_coding_indicator_is_passed_over():
    assert read(air(coded=True), coded=True) == HEARD
    assert read(air(coded=True)) == BROKEN


@pytest.mark.parametrize(
    "packet",
    [air()[:4], air()[:5], air(pdu(2, ADDRESS[:5])), air(pdu(0, b"")), air(pdu(2, bytes(38)))],
    ids=["no header", "half a header", "half an address", "no address", "too long"],
)
def test_packets_that_cannot_be(packet):
    assert read(packet) == MALFORMED


def test_a_packet_cut_short_is_malformed_even_if_the_sniffer_says_that_it_was_whole():
    assert read(air()[:-4], crc_said=True) == MALFORMED


# -- encapsulations ------------------------------------------------------------------------------------------------


def test_bare_packets_have_no_level():
    assert linklayer.read_bare(air()) == Decoded((Report(SPELLED, None, IBEACON),))
    assert linklayer.read_bare(air(crc=b"\1\2\3")) == BROKEN


def test_the_pseudo_header_as_ubertooth_writes_it_leaves_the_crc_to_us():
    assert linklayer.read_with_header(phdr(air())) == HEARD
    assert linklayer.read_with_header(phdr(air(crc=b"\1\2\3"))) == BROKEN


def test_where_the_pseudo_header_says_that_the_crc_was_checked_it_decides():
    assert linklayer.read_with_header(phdr(air(crc=bytes(3)), flags=0x0C03)) == HEARD
    assert linklayer.read_with_header(phdr(air(), flags=0x0403)) == BROKEN
    assert linklayer.read_with_header(phdr(air(crc=bytes(3)), flags=0x0803)) == BROKEN  # valid, yet never checked


def test_a_signal_that_is_not_valid_is_no_level():
    assert linklayer.read_with_header(phdr(air(), flags=0x0035)) == Decoded((Report(SPELLED, None, IBEACON),))


def test_coded_packets_behind_a_pseudo_header():
    assert linklayer.read_with_header(phdr(air(coded=True), flags=0x8003)) == HEARD


def test_a_pseudo_header_cut_short():
    assert linklayer.read_with_header(phdr(b"")[:9]) == MALFORMED
    assert linklayer.read_with_header(phdr(b"")) == MALFORMED


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_every_header_version_of_the_nordic_sniffer(version):
    assert linklayer.read_nordic(nordic(air(), version=version)) == HEARD
    assert linklayer.read_nordic(nordic(air(crc=bytes(3)), version=version)) == HEARD  # its flag says that it was right
    assert linklayer.read_nordic(nordic(air(crc=bytes(3)), version=version, flags=0)) == BROKEN
    assert linklayer.read_nordic(nordic(air(coded=True), version=version, flags=0x21)) == HEARD
    assert linklayer.read_nordic(nordic(b"", version=version, packet_id=0x0E)) == OTHER
    for length in range(len(nordic(air(), version=version)) - 6):
        assert not linklayer.read_nordic(nordic(air(), version=version)[:length]).reports


def test_a_packet_that_the_nordic_sniffer_calls_broken_and_is_right_is_kept():
    assert linklayer.read_nordic(nordic(air(), flags=0)) == HEARD


def test_packets_of_version_3_that_were_advertised_have_an_id_of_their_own():
    assert linklayer.read_nordic(nordic(air(), version=3, packet_id=2)) == HEARD
    assert linklayer.read_nordic(nordic(air(access=b"\1\2\3\4"), version=3, packet_id=6)) == OTHER


# -- extended advertising ------------------------------------------------------------------------------------------

SET = b"\x34\x12"


def extended(*args, **more):
    return read(air(extended_pdu(*args, **more)))


def test_a_pointer_an_auxiliary_packet_and_its_chain():
    assert extended(address=ADDRESS, adi=SET, pointer=True) == Decoded(
        (Report(SPELLED, -60, b"", SET, more=True, starts=True),)
    )
    assert extended(FLAGS_AD, address=ADDRESS, adi=SET, pointer=True).reports[0].more
    assert extended(IBEACON, adi=SET) == Decoded((Report("", -60, IBEACON, SET),))


def test_an_auxiliary_packet_alone():
    whole = extended(FLAGS_AD, address=ADDRESS, adi=SET, target=True)
    assert whole == Decoded((Report(SPELLED, -60, FLAGS_AD, SET, more=False, starts=True),))
    assert extended(FLAGS_AD, address=ADDRESS) == Decoded((Report(SPELLED, -60, FLAGS_AD, None, starts=True),))


def test_extended_packets_that_cannot_be_tied_to_anything():
    assert extended(FLAGS_AD) == OTHER
    assert extended(FLAGS_AD, address=ADDRESS, pointer=True) == OTHER


def test_extended_packets_that_cannot_be():
    assert read(air(pdu(7, b""))) == MALFORMED
    assert read(air(pdu(7, b"\x05\x00"))) == MALFORMED  # a header longer than the packet
    assert read(air(pdu(7, b"\x03\x01\x22\x33"))) == MALFORMED  # an address longer than the header
