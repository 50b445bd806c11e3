"""The iBeacon codec: exact on good frames, `BadFrame` and nothing else on bad ones."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wire.errors import BadFrame
from wire.ibeacon import (
    APPLE_COMPANY_ID,
    FRAME_BYTES,
    Beacon,
    decode,
    decode_ad,
    encode,
    encode_ad,
    format_uuid,
    key_of,
    parse_uuid,
)

UUID_TEXT = "e2c56db5-dffb-48d2-b060-d0f5a71096e0"
UUID = bytes.fromhex("e2c56db5dffb48d2b060d0f5a71096e0")
BEACON = Beacon(UUID, 0x0102, 0xFFFE, -59)
PAYLOAD = bytes.fromhex("0215e2c56db5dffb48d2b060d0f5a71096e00102fffec5")
AD = bytes.fromhex("1aff4c00") + PAYLOAD
FLAGS = bytes.fromhex("020106")

beacons = st.builds(
    Beacon,
    uuid=st.binary(min_size=16, max_size=16),
    major=st.integers(0, 65_535),
    minor=st.integers(0, 65_535),
    power_dbm=st.integers(-128, 127),
)


def structure(ad_type: int, data: bytes) -> bytes:
    return bytes((len(data) + 1, ad_type)) + data


foreign = st.one_of(
    st.builds(structure, st.integers(0, 0xFE), st.binary(max_size=20)),
    st.builds(
        lambda company, data: structure(0xFF, company.to_bytes(2, "little") + data),
        st.integers(0, 0xFFFF).filter(lambda company: company != APPLE_COMPANY_ID),
        st.binary(max_size=20),
    ),
    st.builds(
        lambda kind, data: structure(0xFF, b"\x4c\x00" + bytes((kind,)) + data),
        st.integers(0, 255).filter(lambda kind: kind != 2),
        st.binary(max_size=20),
    ),
)


def test_a_known_frame_is_decoded() -> None:
    assert decode(PAYLOAD) == BEACON


def test_a_known_beacon_is_encoded() -> None:
    assert encode(BEACON) == PAYLOAD
    assert encode_ad(BEACON) == AD


def test_the_key_is_the_20_bytes_between_type_and_power() -> None:
    assert BEACON.key == PAYLOAD[2:22]


@pytest.mark.parametrize(("byte", "power"), [(0x00, 0), (0x7F, 127), (0x80, -128), (0xFF, -1)])
def test_the_measured_power_is_signed_and_never_clamped(byte: int, power: int) -> None:
    assert decode(PAYLOAD[:22] + bytes((byte,))).power_dbm == power


@given(beacons)
def test_encoding_then_decoding_gives_the_same_beacon(beacon: Beacon) -> None:
    assert decode(encode(beacon)) == beacon
    assert decode_ad(encode_ad(beacon)) == beacon
    assert len(encode(beacon)) == FRAME_BYTES
    assert len(encode_ad(beacon)) == 27


@given(st.binary(min_size=21, max_size=21))
def test_decoding_then_encoding_gives_the_same_bytes(body: bytes) -> None:
    assert encode(decode(b"\x02\x15" + body)) == b"\x02\x15" + body


@pytest.mark.parametrize("size", [0, 1, 2, 21, 22, 24, 25, 255])
def test_a_payload_that_is_not_23_bytes_is_refused(size: int) -> None:
    with pytest.raises(BadFrame, match=rf"\b{size} bytes, not 23"):
        decode((PAYLOAD + bytes(255))[:size])


@pytest.mark.parametrize("head", ["0216", "0115", "1502", "0000", "1005", "4c00"])
def test_a_payload_of_23_bytes_of_another_type_is_refused(head: str) -> None:
    with pytest.raises(BadFrame, match=f"{head}, not 0215"):
        decode(bytes.fromhex(head) + PAYLOAD[2:])


@pytest.mark.parametrize(
    "beacon",
    [
        BEACON._replace(uuid=UUID[:15]),
        BEACON._replace(uuid=UUID + b"\0"),
        BEACON._replace(uuid=b""),
        BEACON._replace(major=-1),
        BEACON._replace(major=65_536),
        BEACON._replace(minor=-1),
        BEACON._replace(minor=65_536),
        BEACON._replace(power_dbm=-129),
        BEACON._replace(power_dbm=128),
    ],
)
def test_a_beacon_with_a_field_out_of_range_is_not_encoded(beacon: Beacon) -> None:
    with pytest.raises(BadFrame):
        encode(beacon)
    with pytest.raises(BadFrame):
        encode_ad(beacon)


def test_the_ibeacon_is_found_behind_the_flags() -> None:
    assert decode_ad(FLAGS + AD) == BEACON


def test_the_ibeacon_is_found_behind_other_manufacturers_data() -> None:
    nordic = structure(0xFF, b"\x59\x00\x01\x02\x03")
    nearby = structure(0xFF, bytes.fromhex("4c001005011c2b3c4d"))
    assert decode_ad(FLAGS + nordic + nearby + AD) == BEACON


@given(st.lists(foreign, max_size=6), beacons, st.binary(max_size=8))
def test_the_ibeacon_is_found_behind_any_well_formed_structures(
    before: list[bytes], beacon: Beacon, after: bytes
) -> None:
    assert decode_ad(b"".join(before) + encode_ad(beacon) + after) == beacon


@given(st.lists(foreign, max_size=6))
def test_well_formed_data_without_an_ibeacon_gives_none(structures: list[bytes]) -> None:
    assert decode_ad(b"".join(structures)) is None


def test_no_data_at_all_gives_none() -> None:
    assert decode_ad(b"") is None


def test_the_ibeacon_layout_under_another_company_is_no_ibeacon() -> None:
    assert decode_ad(structure(0xFF, b"\x59\x00" + PAYLOAD)) is None


def test_the_company_identifier_is_little_endian() -> None:
    assert decode_ad(structure(0xFF, b"\x00\x4c" + PAYLOAD)) is None


def test_the_ibeacon_layout_under_another_ad_type_is_no_ibeacon() -> None:
    assert decode_ad(structure(0x16, b"\x4c\x00" + PAYLOAD)) is None


@pytest.mark.parametrize("data", ["", "4c", "4c00"])
def test_apple_data_too_short_to_have_a_type_is_no_ibeacon(data: str) -> None:
    assert decode_ad(structure(0xFF, bytes.fromhex(data))) is None


def test_zero_padding_ends_the_data() -> None:
    assert decode_ad(FLAGS + bytes(8)) is None
    assert decode_ad(FLAGS + b"\0" + AD) is None


def test_a_structure_of_length_1a_is_the_only_one_taken() -> None:
    assert AD[0] == 0x1A
    assert decode_ad(AD) == BEACON


def test_a_structure_of_length_1b_is_refused() -> None:
    with pytest.raises(BadFrame, match="24 bytes"):
        decode_ad(b"\x1b" + AD[1:] + b"\0")


def test_a_structure_of_length_1b_with_26_bytes_left_is_refused_as_truncated() -> None:
    with pytest.raises(BadFrame, match="claims 27 bytes, 26 are left"):
        decode_ad(b"\x1b" + AD[1:])


def test_a_structure_of_length_19_is_refused() -> None:
    with pytest.raises(BadFrame, match="22 bytes"):
        decode_ad(b"\x19" + AD[1:-1])


def test_an_apple_structure_of_type_2_and_another_length_byte_is_refused() -> None:
    with pytest.raises(BadFrame, match="0214"):
        decode_ad(structure(0xFF, b"\x4c\x00\x02\x14" + PAYLOAD[2:]))


@pytest.mark.parametrize("size", range(1, len(AD)))
def test_a_truncated_structure_is_refused(size: int) -> None:
    with pytest.raises(BadFrame, match="AD structure at byte 3"):
        decode_ad(FLAGS + AD[:size])


@given(st.binary(max_size=64))
@example(b"")
@example(b"\x02")
@example(b"\x02\x15")
def test_any_bytes_give_a_beacon_or_bad_frame(payload: bytes) -> None:
    try:
        beacon = decode(payload)
    except BadFrame:
        assert len(payload) != FRAME_BYTES or not payload.startswith(b"\x02\x15")
    else:
        assert encode(beacon) == payload


@given(st.one_of(st.binary(max_size=64), st.binary(min_size=21, max_size=21).map(lambda body: b"\x02\x15" + body)))
@example(b"")
@example(PAYLOAD)
def test_the_key_is_read_as_strictly_as_the_beacon(payload: bytes) -> None:
    try:
        beacon = decode(payload)
    except BadFrame as wrong:
        with pytest.raises(BadFrame, match=re.escape(str(wrong))):
            key_of(payload)
    else:
        assert key_of(payload) == beacon.key


@given(st.one_of(st.binary(max_size=64), st.lists(foreign, max_size=3).map(b"".join), st.just(AD)), st.data())
def test_any_advertising_data_gives_a_beacon_none_or_bad_frame(adv: bytes, data: st.DataObject) -> None:
    if adv:
        at = data.draw(st.integers(0, len(adv) - 1))
        adv = adv[:at] + bytes((data.draw(st.integers(0, 255)),)) + adv[at + 1 :]
    try:
        beacon = decode_ad(adv)
    except BadFrame:
        return
    assert beacon is None or encode_ad(beacon) in adv


def test_a_uuid_is_written_in_lower_case_with_dashes() -> None:
    assert format_uuid(UUID) == UUID_TEXT


@pytest.mark.parametrize("text", [UUID_TEXT, UUID_TEXT.upper(), UUID.hex(), "-" + UUID.hex() + "-"])
def test_dashes_and_case_of_a_uuid_are_free(text: str) -> None:
    assert parse_uuid(text) == UUID


@given(st.binary(min_size=16, max_size=16))
def test_a_uuid_survives_writing_and_reading(uuid: bytes) -> None:
    assert parse_uuid(format_uuid(uuid)) == uuid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        UUID_TEXT[:-1],
        UUID_TEXT[:-2],
        UUID_TEXT + "0",
        UUID_TEXT + "00",
        UUID_TEXT + "\n",
        " " + UUID_TEXT,
        "e2 " + UUID.hex()[2:],
        "e2 " + UUID.hex()[3:],
        "g" + UUID_TEXT[1:],
        "{" + UUID_TEXT + "}",
        "٣" * 32,
        "\ud800" * 32,
    ],
)
def test_text_that_is_not_32_hexadecimal_digits_is_refused(text: str) -> None:
    with pytest.raises(BadFrame):
        parse_uuid(text)


@given(st.one_of(st.text(), st.text(alphabet="0123456789abcdefABCDEF- \n", min_size=30, max_size=40)))
def test_any_text_gives_a_uuid_or_bad_frame(text: str) -> None:
    try:
        uuid = parse_uuid(text)
    except BadFrame:
        return
    assert uuid.hex() == text.replace("-", "").lower()
