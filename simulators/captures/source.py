"""A capture as a stream of bytes with offsets, unpacked on the way. Memory stays constant whatever the file holds."""

import gzip
import lzma
import zlib
from io import BufferedReader
from typing import Protocol

from wire.errors import BadCapture

CHUNK_BYTES = 65_536
"""Read at once: what was unpacked before a damaged place is still delivered, less than this much of it is not."""

XZ, GZIP = b"\xfd7zXZ\x00", b"\x1f\x8b"


class _Stream(Protocol):
    def read1(self, size: int, /) -> bytes: ...


class Source:
    """Bytes in order. `offset` counts those taken, in the unpacked file."""

    def __init__(self, file: BufferedReader) -> None:
        """`file` may be a pipe: it is never sought."""
        head = file.peek(len(XZ))
        self.packed = ""
        self._stream: _Stream = file
        if head.startswith(XZ):
            self.packed, self._stream = "xz", lzma.LZMAFile(file)  # noqa: SIM115, the caller closes the file
        elif head.startswith(GZIP):
            self.packed, self._stream = "gzip", gzip.GzipFile(fileobj=file)
        self._held = bytearray()
        self._ended = False
        self._damage = ""
        self.offset = 0

    def peek(self, count: int) -> bytes:
        """The next bytes without taking them; fewer at the end."""
        self._fill(count)
        return bytes(self._held[:count])

    def at_end(self) -> bool:
        """Whether nothing is left.

        Raises:
            BadCapture: nothing is left because the packed file is damaged.
        """
        if self.peek(1):
            return False
        if self._damage:
            raise BadCapture(self.offset, self._damage)
        return True

    def take(self, count: int, start: int, what: str) -> bytes:
        """Exactly `count` bytes of the thing `what` that began at `start`.

        Raises:
            BadCapture: at `start`, when the file ends before.
        """
        self._fill(count)
        if len(self._held) < count:
            raise self._short(start, what)
        taken = bytes(self._held[:count])
        del self._held[:count]
        self.offset += count
        return taken

    def skip(self, count: int, start: int, what: str) -> None:
        """Pass over `count` bytes, however many; see `take`."""
        while count > 0:
            step = min(count, CHUNK_BYTES)
            self.take(step, start, what)
            count -= step

    def line(self, max_bytes: int) -> bytes:
        """The next line with its end; without one at the end of the file.

        Raises:
            BadCapture: it is longer than `max_bytes`.
        """
        searched = 0
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            if searched > max_bytes or self._ended:
                break
            self._fill(searched + 1)
        length = end + 1 if end >= 0 else len(self._held)
        if length > max_bytes:
            raise BadCapture(self.offset, f"a line of more than {max_bytes} bytes")
        return self.take(length, self.offset, "line")

    def _short(self, start: int, what: str) -> BadCapture:
        left = self.offset + len(self._held) - start
        reason = f"the {what} that begins here is cut short, {left} bytes of it are left"
        return BadCapture(start, f"{reason} ({self._damage})" if self._damage else reason)

    def _fill(self, count: int) -> None:
        while len(self._held) < count and not self._ended:
            try:
                chunk = self._stream.read1(CHUNK_BYTES)
            except EOFError:
                chunk, self._damage = b"", f"the {self.packed} file ends too early"
            except (lzma.LZMAError, zlib.error, gzip.BadGzipFile) as exc:
                chunk, self._damage = b"", f"the {self.packed} file is damaged: {exc}"
            self._ended = not chunk
            self._held += chunk
