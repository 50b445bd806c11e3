"""A bleak backend that hears what a file or a unix socket tells it: the same shell runs in a shop and in a test.

Lines are `wire.trace.Frame`. From a socket they are heard as they come: the edge says `{"scanner": "<id>"}` first and
gets the frames meant for it; a `t_ms` other than 0 is when it was sent, on the clock of the rehearsal. A file is played
in real time by `t_ms`. A connection that ends is made again for ever.
"""

import asyncio
import json
import lzma
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner

from wire.errors import BadTrace
from wire.ibeacon import MANUFACTURER_AD_TYPE
from wire.trace import MAX_LINE_BYTES, Frame, TraceReader

RECONNECT_S = 2.0
"""Upper end of the pause before the next connection, full jitter, s: a simulator restarts within this."""

_DEVICE = BLEDevice("00:00:00:00:00:00", None, None)  # one for all: an address is never kept


class ReplayScanner(BaseBleakScanner):
    """See the module. `path` and `scanner` are given by the closure of `replay_backend`."""

    path: Path
    scanner: str
    only: str | None
    boot_ms: Callable[[], int]
    behind: Callable[[int], None]

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: str,
        **_others: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen; a file that does not exist is an error at once, a socket may appear later."""
        self.seen_devices.clear()
        is_file = self.path.is_file()
        if not is_file and self.path.suffix in (".jsonl", ".xz"):
            raise FileNotFoundError(self.path)
        work = self._play() if is_file else self._listen()
        self._task = asyncio.create_task(work, name="replay")

    async def stop(self) -> None:
        """End; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self.path, limit=MAX_LINE_BYTES)
            except OSError:
                await asyncio.sleep(random.uniform(0, RECONNECT_S))  # not a wait for a state: the other end may be gone
                continue
            try:
                writer.write(json.dumps({"scanner": self.scanner}).encode() + b"\n")
                async for line in reader:
                    self._hear_line(line)
            except (OSError, ValueError):
                pass  # the line broke, or was longer than any frame
            finally:
                writer.close()
            await asyncio.sleep(random.uniform(0, RECONNECT_S))

    async def _play(self) -> None:
        opened = lzma.open if self.path.suffix == ".xz" else open
        with opened(self.path, "rb") as lines:
            start_ms: int | None = None
            reader = TraceReader(lines)
            while True:
                try:
                    frame = next(reader)
                except StopIteration:
                    return
                except BadTrace:
                    continue
                if not isinstance(frame, Frame) or (self.only is not None and frame.scanner != self.only):
                    continue
                now_ms = self.boot_ms()
                start_ms = now_ms - frame.t_ms if start_ms is None else start_ms
                if (wait_ms := start_ms + frame.t_ms - now_ms) > 0:
                    await asyncio.sleep(wait_ms / 1000)
                self._hear(frame)

    def _hear_line(self, line: bytes) -> None:
        try:
            frame = Frame.model_validate_json(line, extra="ignore")
        except ValueError:
            return
        if frame.t_ms:
            self.behind(self.boot_ms() - frame.t_ms)
        self._hear(frame)

    def _hear(self, frame: Frame) -> None:
        data = AdvertisementData(
            local_name=None,
            manufacturer_data=manufacturer_data(bytes.fromhex(frame.adv)),
            service_data={},
            service_uuids=[],
            tx_power=None,
            rssi=round(frame.rssi_dbm),
            platform_data=(),
        )
        self.call_detection_callbacks(_DEVICE, data)


def manufacturer_data(adv: bytes) -> dict[int, bytes]:
    """Company id → payload, as a Bluetooth stack reports it; what runs past the end is left out, as a stack does."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(adv) and adv[at] and at + 1 + adv[at] <= len(adv):
        body = adv[at + 1 : at + 1 + adv[at]]
        if body[0] == MANUFACTURER_AD_TYPE and len(body) >= 3:
            found[int.from_bytes(body[1:3], "little")] = bytes(body[3:])
        at += 1 + adv[at]
    return found


def replay_backend(
    path: Path,
    scanner: str,
    only: str | None,
    boot_ms: Callable[[], int],
    behind: Callable[[int], None] = lambda _: None,
) -> type[BaseBleakScanner]:
    """A backend class bound to one source: bleak makes the instance itself, so what it needs sits on the class.

    `behind` is told how many ms after its sending each stamped frame arrived.
    """
    return type("BoundReplayScanner", (ReplayScanner,), {
        "path": path, "scanner": scanner, "only": only, "boot_ms": staticmethod(boot_ms),
        "behind": staticmethod(behind),
    })  # fmt: skip
