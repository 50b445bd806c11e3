"""The codec against dbus-fast's, which we did not write; and against nonsense."""

import struct

import pytest
from dbus_fast import Message, MessageType, Variant
from hypothesis import given
from hypothesis import strategies as st

from simulators.bluez import wire

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
NUMBERS = {
    "y": (0, 255),
    "n": (-32768, 32767),
    "q": (0, 65535),
    "i": (-(2**31), 2**31 - 1),
    "u": (0, 2**32 - 1),
    "x": (-(2**63), 2**63 - 1),
    "t": (0, 2**64 - 1),
}
BASIC = st.sampled_from([*NUMBERS, "b", "d", "s", "o", "g"])
SIGNATURES = st.recursive(
    BASIC,
    lambda inner: (
        st.builds(lambda one: f"a{one}", inner)
        | st.builds(lambda some: f"({''.join(some)})", st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda key, value: f"a{{{key}{value}}}", st.sampled_from("sqyo"), inner)
        | st.just("v")
    ),
    max_leaves=5,
)


def values(signature):
    """Values of one complete type, as our codec takes them."""
    kind = signature[0]
    if kind in NUMBERS:
        return st.integers(*NUMBERS[kind])
    if kind == "v":
        return SIGNATURES.flatmap(lambda inner: values(inner).map(lambda value: wire.Variant(inner, value)))
    if signature == "ay":
        return st.binary(max_size=20)
    if signature.startswith("a{"):
        key, value = wire.split(signature[2:-1])
        return st.dictionaries(values(key), values(value), max_size=3)
    if kind == "a":
        return st.lists(values(signature[1:]), max_size=3)
    if kind == "(":
        return st.tuples(*(values(one) for one in wire.split(signature[1:-1])))
    paths = st.lists(st.sampled_from(["a", "B_1"])).map(lambda parts: "/" + "/".join(parts))
    return {"b": st.booleans(), "d": st.floats(allow_nan=False), "s": TEXT, "g": SIGNATURES, "o": paths}[kind]


def theirs(value):
    """The same value as dbus-fast takes it."""
    if isinstance(value, wire.Variant):
        return Variant(value.signature, theirs(value.value))
    if isinstance(value, dict):
        return {key: theirs(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(theirs(one) for one in value)
    return value


BODIES = st.lists(SIGNATURES, max_size=3).flatmap(
    lambda some: st.tuples(st.just("".join(some)), st.tuples(*(values(one) for one in some)))
)


def signal(signature, body):
    return Message(
        message_type=MessageType.SIGNAL, path="/a/b", interface="x.y", member="Z", serial=7, signature=signature,
        body=[theirs(one) for one in body],
    )  # fmt: skip


@given(BODIES)
def test_bytes_are_those_of_dbus_fast_and_are_read_back(case):
    signature, body = case
    raw = bytes(signal(signature, body)._marshall(False))
    packed = wire.pack(signature, *body)
    assert raw.endswith(packed)
    packet = wire.read(raw)
    assert packet == wire.Packet(
        wire.Kind.SIGNAL, 7, path="/a/b", interface="x.y", member="Z", signature=signature, body=packed
    )
    assert wire.length_of(raw[:16]) == len(raw)
    assert [value for _, value in packet.args()] == list(body)
    assert wire.read(wire.write(packet)) == packet


@given(BODIES)
def test_a_bus_adds_the_sender_and_leaves_the_body_as_it_came(case):
    packet = wire.read(bytes(signal(*case)._marshall(False))).sent_by(":1.42")
    again = wire.read(wire.write(packet))
    assert (again.sender, again.body, again.signature) == (":1.42", packet.body, packet.signature)


def test_a_message_in_the_other_byte_order_is_read_and_passed_on():
    body = struct.pack(">I", 3) + b"abc\0" + struct.pack(">I", 500)
    packet = wire.Packet(wire.Kind.CALL, 9, path="/", member="M", signature="su", body=body, order=">")
    raw = wire.write(packet)
    assert raw[:1] == b"B"
    assert wire.read(raw) == packet
    assert [value for _, value in wire.read(raw).args()] == ["abc", 500]


@given(st.binary(max_size=80), BODIES, st.data())
def test_nonsense_is_a_bad_message_and_nothing_else(noise, case, data):
    raw = bytearray(signal(*case)._marshall(False))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + len(noise)] = noise
    try:
        whole = wire.length_of(bytes(raw[:16]).ljust(16, b"\0"))
        wire.read(bytes(raw[:whole]).ljust(whole, b"\0")).args()
    except wire.BadMessage:
        pass


@pytest.mark.parametrize("bad", ["a", "(", "(s", "{sv", "z", "a" * 40 + "s", "(" * 40 + ")" * 40])
def test_what_is_no_signature(bad):
    with pytest.raises(wire.BadMessage):
        wire.split(bad)


def test_a_message_too_long_is_refused_by_its_head():
    head = struct.pack("<BBBBIII", 0x6C, 1, 0, 1, wire.MAX_MESSAGE_BYTES, 1, 0)
    with pytest.raises(wire.BadMessage, match="bytes"):
        wire.length_of(head)
