"""A client's connection to a message bus.

Not dbus-fast's: that one gives up a connection whose socket is full (altdesktop/python-dbus-next#153), and the fake may
send faster than its clients read.
"""

import asyncio
import contextlib
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from simulators.bluez import names
from simulators.bluez.wire import BadMessage, Kind, Packet, length_of, pack, read, write
from wire.errors import LocalFault

OPEN_S = 15.0
"""A bus that does not greet within this is none, s."""

_HEAD = 16


class Line:
    """Use `open_line`. `lost` is called when the other end breaks it, not at `close`."""

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        received: Callable[[Packet], None],
        lost: Callable[[], None],
    ) -> None:
        self.unique = ""
        self._reader, self._writer = streams
        self._received, self._lost = received, lost
        self._serial = 0
        self._waiting: dict[int, asyncio.Future[Packet]] = {}
        self._task = asyncio.create_task(self._listen(), name="bluez line")

    def send(self, packet: Callable[[int], Packet]) -> int:
        """Send what `packet` makes of a serial number; the number. On a broken line it is lost."""
        self._serial += 1
        if not self._writer.is_closing():
            self._writer.write(write(packet(self._serial)))
        return self._serial

    async def call(self, packet: Packet) -> Packet:
        """Call and wait for the answer, be it an error.

        Raises:
            ConnectionError: the line broke.
        """
        serial = self.send(lambda serial: replace(packet, serial=serial))
        waiter: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._waiting[serial] = waiter
        try:
            if self._task.done():
                raise ConnectionError("the line is broken")
            return await waiter
        finally:
            self._waiting.pop(serial, None)

    async def close(self) -> None:
        """Hang up; idempotent."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _listen(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(_HEAD)
                self._take(read(head + await self._reader.readexactly(length_of(head) - _HEAD)))
        except (asyncio.IncompleteReadError, ConnectionError, BadMessage):
            self._writer.close()
            for waiter in self._waiting.values():
                if not waiter.done():
                    waiter.set_exception(ConnectionError("the line is broken"))
            self._lost()

    def _take(self, packet: Packet) -> None:
        waiter = self._waiting.get(packet.reply_serial or 0)
        if waiter is not None and packet.kind in (Kind.RETURN, Kind.ERROR):
            if not waiter.done():
                waiter.set_result(packet)
        elif packet.kind == Kind.CALL and packet.interface == names.PEER and packet.member == "Ping":
            self.send(lambda serial: Packet(Kind.RETURN, serial, destination=packet.sender, reply_serial=packet.serial))
        else:
            self._received(packet)


async def open_line(path: Path, received: Callable[[Packet], None], lost: Callable[[], None]) -> Line:
    """Connect, authenticate, say Hello.

    Raises:
        LocalFault: no bus answers there.
    """
    try:
        async with asyncio.timeout(OPEN_S):
            streams = await asyncio.open_unix_connection(path)
            await _authenticate(*streams)
            line = Line(streams, received, lost)
            line.unique = (await line.call(bus_call("Hello"))).args()[0][1]
    except (OSError, EOFError, TimeoutError, BadMessage, struct.error) as exc:
        raise LocalFault(f"{path}: no message bus answers there") from exc
    return line


async def _authenticate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
    if not (await reader.readline()).startswith(b"OK "):
        raise ConnectionError("not let in")
    writer.write(b"BEGIN\r\n")


def bus_call(member: str, signature: str = "", *values: object) -> Packet:
    """A call of the bus itself."""
    return Packet(
        Kind.CALL, 0, path=names.DBUS_PATH, interface=names.DBUS, member=member, destination=names.DBUS,
        signature=signature, body=pack(signature, *values),
    )  # fmt: skip
