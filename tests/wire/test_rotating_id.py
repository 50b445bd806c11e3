"""Rotating identities: derived from first principles here, and compared."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import BadFrame
from wire.ibeacon import Beacon, decode, encode
from wire.rotating_id import (
    EPHEMERAL_BYTES,
    INDEX_BYTES,
    TOLERANCE_WINDOWS,
    WINDOW_S,
    WINDOWS_PER_DAY,
    SealedToken,
    day_key,
    derived_id,
    ephemeral_of,
    open_block,
    sealed_block,
    to_beacon,
    window_at,
)

ROOT = bytes(range(32))
PREFIX = bytes.fromhex("d00dc41e")
WINDOW = 1_785_315_605 // 900

keys = st.binary(min_size=32, max_size=32)
windows = st.integers(0, 2**32 - 1)
ephemerals = st.binary(min_size=16, max_size=16)
prefixes = st.binary(min_size=4, max_size=4)
serials = st.integers(0, 2**40 - 1)


def sha256_hmac(key: bytes, message: bytes) -> bytes:
    """RFC 2104 spelled out, so that not even `hmac` is taken on trust."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


def expected_id(root: bytes, window: int) -> bytes:
    key_of_day = hmac.new(root, b"dc1-day" + (window // 96).to_bytes(4, "big"), "sha256").digest()
    return hmac.new(key_of_day, b"dc1-eid" + window.to_bytes(4, "big"), "sha256").digest()[:16]


def test_a_window_lasts_15_minutes_and_a_day_has_96() -> None:
    assert WINDOW_S * WINDOWS_PER_DAY == 86_400
    assert INDEX_BYTES * 2 == EPHEMERAL_BYTES == 16


@pytest.mark.parametrize(("unix_s", "window"), [(0, 0), (899, 0), (900, 1), (86_399, 95), (86_400, 96)])
def test_the_window_of_a_second(unix_s: int, window: int) -> None:
    assert window_at(unix_s) == window


@given(st.integers(0, 2**41))
def test_each_second_lies_in_its_window(unix_s: int) -> None:
    assert 0 <= unix_s - window_at(unix_s) * WINDOW_S < WINDOW_S


def test_known_values_of_a_fixed_root_key() -> None:
    assert day_key(ROOT, WINDOW).hex() == "91f27033215b504532eaa8d15ae4667906f2c2c1f08d39688b4a06464dfbe790"
    assert derived_id(day_key(ROOT, WINDOW), WINDOW).hex() == "6b5e7686e6b2961163be2045a286aa4d"


def test_the_derivation_is_hmac_sha256_as_rfc_2104_spells_it() -> None:
    key_of_day = sha256_hmac(ROOT, b"dc1-day" + (WINDOW // 96).to_bytes(4, "big"))
    assert day_key(ROOT, WINDOW) == key_of_day
    assert derived_id(key_of_day, WINDOW) == sha256_hmac(key_of_day, b"dc1-eid" + WINDOW.to_bytes(4, "big"))[:16]


@given(keys, windows)
def test_any_key_and_window_give_the_identity_derived_independently(root: bytes, window: int) -> None:
    assert derived_id(day_key(root, window), window) == expected_id(root, window)


@given(keys, st.integers(0, 40_000))
def test_the_day_key_is_the_same_all_day_and_another_the_next(root: bytes, day: int) -> None:
    first = day * WINDOWS_PER_DAY
    assert day_key(root, first) == day_key(root, first + WINDOWS_PER_DAY - 1)
    assert day_key(root, first) != day_key(root, first + WINDOWS_PER_DAY)


def test_the_identities_of_a_day_all_differ() -> None:
    first = WINDOW // WINDOWS_PER_DAY * WINDOWS_PER_DAY
    key = day_key(ROOT, first)
    ids = {derived_id(key, first + i) for i in range(WINDOWS_PER_DAY)}
    assert len(ids) == len({one[:INDEX_BYTES] for one in ids}) == WINDOWS_PER_DAY


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_root_key_that_is_not_32_bytes_is_refused(size: int) -> None:
    with pytest.raises(BadFrame, match=f"{size} bytes, not 32"):
        day_key(bytes(size), WINDOW)


def test_a_refused_root_key_is_not_repeated() -> None:
    with pytest.raises(BadFrame) as caught:
        day_key(b"secret" * 3, WINDOW)
    assert "secret" not in str(caught.value)
    assert b"secret".hex() not in str(caught.value)


def test_a_sealed_block_has_serial_window_and_seven_zero_bytes() -> None:
    assert sealed_block(SealedToken(0x0102030405, 0x0A0B0C0D)).hex() == "01020304050a0b0c0d00000000000000"


@given(serials, windows, st.integers(-5, 5))
def test_a_sealed_block_opens_within_the_tolerance_and_not_beyond(serial: int, window: int, off: int) -> None:
    token = SealedToken(serial, window)
    opened = open_block(sealed_block(token), window + off)
    assert opened == (token if abs(off) <= TOLERANCE_WINDOWS else None)


def test_the_tolerance_is_one_window_on_either_side() -> None:
    block = sealed_block(SealedToken(7, 1000))
    opened = [open_block(block, now) is not None for now in (998, 999, 1000, 1001, 1002)]
    assert opened == [False, True, True, True, False]


@given(serials, windows, st.integers(9, 15), st.integers(1, 255))
def test_a_block_whose_padding_is_not_zero_is_not_ours(serial: int, window: int, at: int, byte: int) -> None:
    block = bytearray(sealed_block(SealedToken(serial, window)))
    block[at] = byte
    assert open_block(bytes(block), window) is None


@given(st.binary(max_size=40), windows)
def test_any_bytes_give_a_token_none_or_bad_frame(block: bytes, now: int) -> None:
    try:
        token = open_block(block, now)
    except BadFrame:
        assert len(block) != EPHEMERAL_BYTES
        return
    assert len(block) == EPHEMERAL_BYTES
    assert token is None or sealed_block(token) == block


@pytest.mark.parametrize("size", [0, 1, 15, 17, 32])
def test_a_block_that_is_not_16_bytes_is_refused(size: int) -> None:
    with pytest.raises(BadFrame, match=f"{size} bytes, not 16"):
        open_block(bytes(size), WINDOW)


@pytest.mark.parametrize("serial", [-1, 2**40])
def test_a_serial_that_does_not_fit_five_bytes_is_refused(serial: int) -> None:
    with pytest.raises(BadFrame, match="does not fit 5 bytes"):
        sealed_block(SealedToken(serial, WINDOW))


def test_prefix_and_ephemeral_bytes_fill_uuid_major_and_minor_in_order() -> None:
    beacon = to_beacon(PREFIX, bytes(range(16)), -59)
    assert beacon == Beacon(PREFIX + bytes(range(12)), 0x0C0D, 0x0E0F, -59)


@given(prefixes, ephemerals, st.integers(-128, 127))
def test_the_ephemeral_bytes_survive_the_way_through_the_air(prefix: bytes, ephemeral: bytes, power_dbm: int) -> None:
    beacon = decode(encode(to_beacon(prefix, ephemeral, power_dbm)))
    assert ephemeral_of(beacon) == ephemeral
    assert beacon.uuid[:4] == prefix
    assert beacon.power_dbm == power_dbm
    assert to_beacon(prefix, ephemeral_of(beacon), power_dbm) == beacon


@pytest.mark.parametrize(("prefix_size", "size"), [(0, 16), (3, 16), (5, 16), (4, 0), (4, 15), (4, 17), (16, 4)])
def test_a_prefix_or_an_ephemeral_part_of_another_length_is_refused(prefix_size: int, size: int) -> None:
    with pytest.raises(BadFrame, match="prefix must have 4 bytes and the ephemeral part 16"):
        to_beacon(bytes(prefix_size), bytes(size), -59)
