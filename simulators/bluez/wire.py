"""D-Bus messages as a bus sees them: the header is read and written, a body is passed on as it came.

Format: D-Bus specification, "Message Format". Bytes in, messages out; the body is decoded only where a match rule asks.
"""

import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

MAX_MESSAGE_BYTES = 128 * 1024 * 1024
"""Largest message, as the specification has it. GetManagedObjects with all devices that an adapter may have: 12 MB."""

MAX_DEPTH = 32
"""Containers within containers, as the specification limits arrays; deeper ones are an error."""

NO_REPLY_EXPECTED = 1

_FIXED = 16  # bytes up to and with the length of the header's array


class Kind(IntEnum):
    """Message types."""

    CALL = 1
    RETURN = 2
    ERROR = 3
    SIGNAL = 4


class BadMessage(Exception):
    """Bytes that are no D-Bus message: the connection is closed, as every bus does."""


@dataclass(frozen=True)
class Packet:
    """A message: its header, and its body as bytes in the byte order `order` (`<` or `>`)."""

    kind: int
    serial: int
    flags: int = 0
    path: str | None = None
    interface: str | None = None
    member: str | None = None
    error_name: str | None = None
    reply_serial: int | None = None
    destination: str | None = None
    sender: str | None = None
    signature: str = ""
    body: bytes = b""
    order: str = "<"

    @property
    def expects_reply(self) -> bool:
        """A call that somebody waits for."""
        return self.kind == Kind.CALL and not self.flags & NO_REPLY_EXPECTED

    def args(self) -> list[tuple[str, Any]]:
        """The body: type code and value of each argument.

        Raises:
            BadMessage: it is not what its signature says.
        """
        reader = _Reader(self.body, self.order)
        return [(one[0], reader.value(one)) for one in split(self.signature)]

    def sent_by(self, sender: str) -> "Packet":
        """The same with its sender set, which only a bus may."""
        return replace(self, sender=sender)


_FIELDS = {
    1: ("path", "o"),
    2: ("interface", "s"),
    3: ("member", "s"),
    4: ("error_name", "s"),
    5: ("reply_serial", "u"),
    6: ("destination", "s"),
    7: ("sender", "s"),
    8: ("signature", "g"),
}
_REQUIRED = {
    Kind.CALL: ("path", "member"),
    Kind.RETURN: ("reply_serial",),
    Kind.ERROR: ("error_name", "reply_serial"),
    Kind.SIGNAL: ("path", "interface", "member"),
}


def length_of(head: bytes) -> int:
    """Bytes of the whole message, from its first 16.

    Raises:
        BadMessage: they do not begin a message of protocol version 1, or it is too long.
    """
    order = {0x6C: "<", 0x42: ">"}.get(head[0])
    if order is None or head[3] != 1:
        raise BadMessage("not a D-Bus message")
    body, _, fields = struct.unpack_from(order + "III", head, 4)
    whole = int(_FIXED + (fields + 7 & ~7) + body)
    if whole > MAX_MESSAGE_BYTES:
        raise BadMessage(f"a message of {whole} bytes")
    return whole


def read(raw: bytes) -> Packet:
    """One whole message.

    Raises:
        BadMessage: its header is damaged or lacks what its type needs.
    """
    order = "<" if raw[0] == 0x6C else ">"
    body_bytes, serial, fields_bytes = struct.unpack_from(order + "III", raw, 4)
    end = _FIXED + fields_bytes
    reader = _Reader(raw, order, _FIXED, end)
    found: dict[str, Any] = {}
    while reader.at < end:
        reader.align(8)
        code = reader.byte()
        signature = reader.signature()
        name, expected = _FIELDS.get(code, ("", ""))
        if (name and signature != expected) or (not name and len(split(signature)) != 1):
            raise BadMessage(f"header field {code} has the type {signature!r}")
        value = reader.value(signature)
        if name:
            found[name] = value
    kind, flags = raw[1], raw[2]
    if kind in _REQUIRED and any(found.get(name) is None for name in _REQUIRED[Kind(kind)]):
        raise BadMessage("a required header field is missing")
    if not serial or not kind:
        raise BadMessage("serial number or message type is 0")
    body_at = end + 7 & ~7
    return Packet(kind, serial, flags, body=raw[body_at : body_at + body_bytes], order=order, **found)


def write(packet: Packet) -> bytes:
    """The message as bytes, in the byte order of its body."""
    order = packet.order
    fields = bytearray()
    for code, (name, signature) in _FIELDS.items():
        value = getattr(packet, name)
        if value is None or value == "":
            continue
        fields += b"\0" * (-len(fields) % 8)
        fields += bytes((code, 1, ord(signature), 0))  # the code, then a variant: its signature, then its value
        if signature == "u":
            fields += struct.pack(order + "I", value)
        elif signature == "g":
            fields += bytes((len(value),)) + value.encode() + b"\0"
        else:
            text = value.encode()
            fields += struct.pack(order + "I", len(text)) + text + b"\0"
    head = struct.pack(
        order + "BBBBIII", 0x6C if order == "<" else 0x42, packet.kind, packet.flags, 1, len(packet.body),
        packet.serial, len(fields),
    )  # fmt: skip
    return head + fields + b"\0" * (-len(fields) % 8) + packet.body


class Variant(NamedTuple):
    """A value that brings its type along."""

    signature: str
    value: Any


def plain(value: Any) -> Any:
    """The same without variants."""
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return tuple(plain(one) for one in value) if isinstance(value, tuple) else value


def pack(signature: str, *values: Any) -> bytes:
    """A little-endian body. Dictionaries are dict, structs tuple, arrays list, `ay` bytes, variants `Variant`.

    Raises:
        ValueError: as many values as types are needed.
    """
    out = bytearray()
    for kind, value in zip(split(signature), values, strict=True):
        _put(out, kind, value)
    return bytes(out)


def _put(out: bytearray, signature: str, value: Any) -> None:
    kind = signature[0]
    if kind in _BASIC:
        out += _PADDING[-len(out) & (_BASIC[kind][1] - 1)]
        out += _PACK[kind](value)
    elif kind in "so":
        raw = value.encode()
        out += _PADDING[-len(out) & 3]
        out += _PACK["u"](len(raw)) + raw + b"\0"
    elif kind == "g":
        out += bytes((len(value),)) + value.encode() + b"\0"
    elif kind == "v":
        _put(out, "g", value.signature)
        _put(out, value.signature, value.value)
    elif kind == "a":
        _put_array(out, signature[1:], value)
    else:
        out += _PADDING[-len(out) & 7]
        for inner, one in zip(split(signature[1:-1]), value, strict=True):
            _put(out, inner, one)


def _put_array(out: bytearray, inner: str, value: Any) -> None:
    out += _PADDING[-len(out) & 3]
    length_at = len(out)
    out += b"\0\0\0\0"
    out += _PADDING[-len(out) & (_alignment(inner) - 1)]
    begin = len(out)
    if inner == "y":
        out += value
    elif inner[0] == "{":
        of_key, of_value = split(inner[1:-1])
        for key, one in value.items():
            out += _PADDING[-len(out) & 7]
            _put(out, of_key, key)
            _put(out, of_value, one)
    else:
        for one in value:
            _put(out, inner, one)
    struct.pack_into("<I", out, length_at, len(out) - begin)


@lru_cache(maxsize=1024)
def split(signature: str) -> tuple[str, ...]:
    """Single complete types.

    Raises:
        BadMessage: it is not a signature.
    """
    found = []
    at = 0
    while at < len(signature):
        end = _type_end(signature, at, 0)
        found.append(signature[at:end])
        at = end
    return tuple(found)


def _type_end(signature: str, at: int, depth: int) -> int:
    if depth > MAX_DEPTH or at >= len(signature):
        raise BadMessage(f"bad signature {signature!r}")
    kind = signature[at]
    if kind in "ybnqiuxtdsogvh":
        return at + 1
    if kind == "a":
        return _type_end(signature, at + 1, depth + 1)
    closing = {"(": ")", "{": "}"}.get(kind)
    if closing is None:
        raise BadMessage(f"bad signature {signature!r}")
    at += 1
    while at < len(signature) and signature[at] != closing:
        at = _type_end(signature, at, depth + 1)
    if at >= len(signature):
        raise BadMessage(f"bad signature {signature!r}")
    return at + 1


_BASIC = {"y": ("B", 1), "b": ("I", 4), "n": ("h", 2), "q": ("H", 2), "i": ("i", 4), "u": ("I", 4), "x": ("q", 8),
          "t": ("Q", 8), "d": ("d", 8), "h": ("I", 4)}  # fmt: skip
_ALIGN = {"s": 4, "o": 4, "a": 4, "g": 1, "v": 1, "(": 8, "{": 8}


_PACK = {kind: struct.Struct("<" + code).pack for kind, (code, _) in _BASIC.items()}
_PADDING = [b"\0" * count for count in range(8)]


def _alignment(signature: str) -> int:
    kind = signature[0]
    return _BASIC[kind][1] if kind in _BASIC else _ALIGN[kind]


class _Reader:
    """Decodes values at a moving position."""

    def __init__(self, data: bytes, order: str, at: int = 0, end: int | None = None) -> None:
        self.data, self.order, self.at = data, order, at
        self._end = len(data) if end is None else end
        self._depth = 0

    def align(self, to: int) -> None:
        """Skip padding."""
        self.at += -self.at % to

    def byte(self) -> int:
        """One byte."""
        return int(self._basic("y"))

    def signature(self) -> str:
        """A signature."""
        return self._text(self.byte())

    def value(self, signature: str) -> Any:
        """A value of one complete type."""
        kind = signature[:1]
        if kind in _BASIC:
            return self._basic(kind)
        self.align(_alignment(kind))
        if kind in ("s", "o"):
            return self._text(int(self._basic("u")))
        if kind == "g":
            return self.signature()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadMessage("containers too deep")
        found = self._container(kind, signature)
        self._depth -= 1
        return found

    def _container(self, kind: str, signature: str) -> Any:
        if kind == "v":
            inner = split(self.signature())
            if len(inner) != 1:
                raise BadMessage("a variant holds one value")
            return Variant(inner[0], self.value(inner[0]))
        if kind == "a":
            return self._array(signature[1:])
        return tuple(self.value(one) for one in split(signature[1:-1]))

    def _array(self, inner: str) -> Any:
        length = int(self._basic("u"))
        self.align(_alignment(inner))
        end = self.at + length
        if end > self._end:
            raise BadMessage("an array reaches past the end")
        if inner == "y":
            raw = self.data[self.at : end]
            self.at = end
            return raw
        found = []
        while self.at < end:
            found.append(self.value(inner))
        return dict(found) if inner[0] == "{" else found

    def _basic(self, kind: str) -> Any:
        code, width = _BASIC[kind]
        self.align(width)
        if self.at + width > self._end:
            raise BadMessage("a value reaches past the end")
        (found,) = struct.unpack_from(self.order + code, self.data, self.at)
        self.at += width
        return found

    def _text(self, length: int) -> str:
        end = self.at + length
        if end >= self._end or self.data[end] != 0:
            raise BadMessage("a string reaches past the end or is not terminated")
        try:
            text = self.data[self.at : end].decode("utf-8")
        except UnicodeDecodeError:
            raise BadMessage("a string is not UTF-8") from None
        self.at = end + 1
        return text
