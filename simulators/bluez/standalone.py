"""A message bus on a unix socket, in this process: nothing but Python is needed. Speaks to several clients."""

import asyncio
import contextlib
import secrets
import socket
import struct
from collections import Counter
from pathlib import Path

from simulators.bluez.address import unix_address
from simulators.bluez.bus import Bus, Denied, Out
from simulators.bluez.wire import BadMessage, length_of, read, write
from wire.errors import LocalFault

BUFFER_MAX_BYTES = 64 * 1024 * 1024
"""Waiting for one client, above the largest answer; who reads too slowly is disconnected, as dbus-daemon does."""

AUTH_MAX_LINES = 32
"""Lines of an authentication, far above any that succeeds; a line is bounded by the stream's 64 KiB."""

_HEAD = 16


class StandaloneBus:
    """Serves `path`. `counts`: connections, messages, slow (clients that were dropped for it), nonsense."""

    buffer_max_bytes = BUFFER_MAX_BYTES

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = unix_address(path)
        self.counts: Counter[str] = Counter()
        self._bus = Bus("")
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            LocalFault: the path cannot be used.
        """
        self._bus = Bus(secrets.token_hex(16))
        try:
            self._server = await asyncio.start_unix_server(self._serve, self.path)
        except OSError as exc:
            raise LocalFault(f"{self.path}: {exc.strerror or exc}") from exc

    async def stop(self) -> None:
        """Break every connection and remove the socket."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = None
        try:
            pid, uid = _peer(writer)
            if await _authenticate(reader, writer, uid, self._bus.guid):
                number = self._bus.connect(uid, pid)
                self._writers[number] = writer
                self.counts["connections"] += 1
                await self._route(number, reader)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, Denied):
            pass  # it went, or there is no room
        except (BadMessage, ValueError, struct.error):
            self.counts["nonsense"] += 1
        except asyncio.CancelledError:
            pass  # the bus goes
        finally:
            if number is not None:
                del self._writers[number]
                self._send(self._bus.disconnect(number))
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _route(self, number: int, reader: asyncio.StreamReader) -> None:
        while True:
            head = await reader.readexactly(_HEAD)
            packet = read(head + await reader.readexactly(length_of(head) - _HEAD))
            self.counts["messages"] += 1
            self._send(self._bus.receive(number, packet))

    def _send(self, out: Out) -> None:
        for to, packet in out:
            writer = self._writers.get(to)
            if writer is None or writer.is_closing():
                continue
            if writer.transport.get_write_buffer_size() > self.buffer_max_bytes:
                self.counts["slow"] += 1
                writer.transport.abort()
                continue
            writer.write(write(packet))


def _peer(writer: asyncio.StreamWriter) -> tuple[int, int]:
    """Process and user id of the other end."""
    sock = writer.get_extra_info("socket")
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return pid, uid


async def _authenticate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, uid: int, guid: str) -> bool:
    """SASL EXTERNAL, as the specification's "Authentication Protocol" has it; False: the client gave up."""
    if await reader.readexactly(1) != b"\0":
        return False
    waiting = authenticated = False
    for _ in range(AUTH_MAX_LINES):
        line = (await reader.readuntil(b"\r\n")).rstrip(b"\r\n")
        word, _, rest = line.partition(b" ")
        if word == b"BEGIN":
            return authenticated
        if word == b"AUTH" or (word == b"DATA" and waiting):
            answer = _judge(rest if word == b"AUTH" else b"EXTERNAL " + (rest or str(uid).encode().hex().encode()), uid)
            waiting, authenticated = answer == b"DATA", answer == b"OK"
            answer += b" " + guid.encode() if authenticated else b""
        elif word in (b"CANCEL", b"ERROR"):
            answer, waiting, authenticated = b"REJECTED EXTERNAL", False, False
        elif word == b"NEGOTIATE_UNIX_FD":
            answer = b"ERROR File descriptors are not passed"
        else:
            answer = b"ERROR Unknown command"
        writer.write(answer + b"\r\n")
        await writer.drain()
    return False


def _judge(asked: bytes, uid: int) -> bytes:
    """The answer to `mechanism [claim]`: only the user that the kernel names may be claimed."""
    mechanism, _, claim = asked.partition(b" ")
    if mechanism != b"EXTERNAL":
        return b"REJECTED EXTERNAL"
    if not claim:
        return b"DATA"
    try:
        claimed = bytes.fromhex(claim.decode("ascii"))
    except ValueError:
        return b"ERROR Invalid hex encoding"
    return b"OK" if claimed == str(uid).encode() else b"REJECTED EXTERNAL"
