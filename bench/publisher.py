"""A load generator faster than what it loads: MQTT 3.1.1 QoS 1 publishes, many in flight, on one blocking socket.

paho publishes 5,000 to 7,000 messages a second; a benchmark whose generator is slower than the program under test
measures the generator.
"""

import select
import socket
from collections.abc import Iterable
from typing import NamedTuple

from wire.errors import LocalFault

WINDOW = 2_000
"""Most publishes without PUBACK: enough to keep a broker busy, and far below the 65,535 message ids of MQTT."""

ANSWER_S = 60.0
"""Longest silence of the broker while publishes wait for it, s."""

KEEPALIVE_S = 0
"""None: a generator may pause for as long as a measurement takes."""


class Out(NamedTuple):
    """One message to publish."""

    topic: str
    payload: bytes


class Publisher:
    """One MQTT session that only publishes. Not for two threads at once."""

    def __init__(self, port: int, client_id: str, host: str = "127.0.0.1") -> None:
        self._mid = 0
        self._waiting = 0
        self._rest = b""
        self._socket = socket.create_connection((host, port), 10)
        self._socket.settimeout(ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = b"\x00\x04MQTT\x04\x02" + KEEPALIVE_S.to_bytes(2, "big") + _text(client_id)
        self._socket.sendall(b"\x10" + _length(len(hello)) + hello)
        answer = self._socket.recv(4)
        if answer != b"\x20\x02\x00\x00":
            raise LocalFault(f"the broker refused the load generator: CONNACK {answer.hex()}")

    def send(self, message: Out) -> None:
        """Publish one message now; its PUBACK is read some time later."""
        self._socket.sendall(self._packet(message))
        while select.select([self._socket], [], [], 0)[0]:
            self._read()

    def send_all(self, messages: Iterable[Out]) -> int:
        """Publish all of them; return, with their number, when the broker has acknowledged every one."""
        burst: list[bytes] = []
        count = 0
        for message in messages:
            count += 1
            burst.append(self._packet(message))
            if len(burst) >= 100:
                self._socket.sendall(b"".join(burst))
                burst.clear()
                while self._waiting > WINDOW:
                    self._read()
        self._socket.sendall(b"".join(burst))
        while self._waiting:
            self._read()
        return count

    def close(self) -> None:
        """DISCONNECT."""
        self._socket.sendall(b"\xe0\x00")
        self._socket.close()

    def _packet(self, message: Out) -> bytes:
        self._mid = self._mid % 65_535 + 1
        self._waiting += 1
        body = _text(message.topic) + self._mid.to_bytes(2, "big") + message.payload
        return b"\x32" + _length(len(body)) + body

    def _read(self) -> None:
        """Count PUBACKs, four bytes each: nothing else is sent to a client that has subscribed to nothing."""
        found = self._socket.recv(65_536)
        if not found:
            raise LocalFault("the broker closed the load generator's connection")
        found = self._rest + found
        whole = len(found) // 4
        self._rest = found[whole * 4 :]
        if found[0 : whole * 4 : 4] != b"\x40" * whole:
            raise LocalFault("the broker sent the load generator something else than PUBACKs")
        self._waiting -= whole


def _text(value: str) -> bytes:
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _length(value: int) -> bytes:
    found = bytearray()
    while True:
        value, digit = divmod(value, 128)
        found.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(found)
