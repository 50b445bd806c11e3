"""Advertisements from the air, through bleak. What is not ours is dropped here, as the first act, and only counted."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from bleak import BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import BleakError

from wire.errors import BadFrame, LocalFault
from wire.ibeacon import APPLE_COMPANY_ID, PREFIX, key_of

ANSWER_S = 3.0
"""Longest wait for the Bluetooth stack, s. It answers within one; a daemon that hangs must not keep the edge from
ending within its 10 s."""

INVALID_DBM = -127
"""What BlueZ says of a device whose level it no longer knows: a memory, never a sighting, and no sign of life."""


class Heard(NamedTuple):
    """One advertisement of our fleet: 20 identifying bytes, RSSI in dBm."""

    key: bytes
    rssi_dbm: float


class Scanner(Protocol):
    """A radio. `counts` (adverts_heard, adverts_dropped_private, adverts_canary, adverts_bad) only grow."""

    counts: Counter[str]

    async def start(self) -> None:
        """Begin to scan.

        Raises:
            LocalFault: there is no radio, or it refuses.
        """

    async def stop(self) -> None:
        """End; idempotent."""


class BeaconScanner:
    """Hears iBeacons of our prefixes through any bleak backend.

    Args:
        prefixes: fleet prefixes, 4 bytes each.
        canary: UUID of the store's own beacon, 16 bytes, or None.
        heard: takes each advertisement of our fleet; called on the event loop, must not block.
        alive: called for every advertisement whatsoever, so that a dead radio can be told from an empty shop.
        backend: a bleak backend in place of the platform's (replay).
        bluez: arguments for bleak's BlueZ backend.
    """

    def __init__(
        self,
        prefixes: Sequence[bytes],
        canary: bytes | None,
        heard: Callable[[Heard], None],
        alive: Callable[[], None],
        *,
        backend: type[BaseBleakScanner] | None = None,
        bluez: dict[str, Any] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._prefixes, self._canary = frozenset(prefixes), canary
        self._heard, self._alive = heard, alive
        options: dict[str, Any] = {} if bluez is None else {"bluez": bluez}
        self._make = partial(BleakScanner, self._detected, backend=backend, **options)
        self._scanner = self._make()

    async def start(self) -> None:
        """See `Scanner.start`."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._scanner.start()
        except (BleakError, OSError, TimeoutError) as exc:
            self._scanner = self._make()
            raise LocalFault(f"the radio does not start: {type(exc).__name__}") from exc

    async def stop(self) -> None:
        """See `Scanner.stop`."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._scanner.stop()
        except (BleakError, OSError, TimeoutError):
            self._scanner = self._make()  # not running, or its bus is gone: that one is of no more use

    def _detected(self, _device: BLEDevice, advertisement: AdvertisementData) -> None:
        """First act: whose is it? Nothing about anybody else outlives this call."""
        self.counts["adverts_heard"] += 1
        if advertisement.rssi <= INVALID_DBM:
            self.counts["adverts_bad"] += 1
            return
        self._alive()
        payload = advertisement.manufacturer_data.get(APPLE_COMPANY_ID, b"")
        ours = payload[PREFIX] in self._prefixes
        if not ours and (self._canary is None or payload[2:18] != self._canary):
            self.counts["adverts_dropped_private"] += 1
            return
        try:
            key = key_of(payload)
        except BadFrame:
            self.counts["adverts_bad"] += 1
            return
        if not ours or (self._canary is not None and key.startswith(self._canary)):
            self.counts["adverts_canary"] += 1
            return
        self._heard(Heard(key, advertisement.rssi))


BLUEZ_FILTERS = {"RSSI": -127, "DuplicateData": True, "Transport": "le"}
"""With any filter BlueZ scans without gaps; `DuplicateData` brings every advertisement, not only changes."""


def bluez_arguments(radio: str, floor_dbm: float) -> dict[str, Any]:
    """bleak's BlueZ arguments for `bluez` or `bluez:hciN`; signals below `floor_dbm` stay in the kernel."""
    _, _, adapter = radio.partition(":")
    filters = {**BLUEZ_FILTERS, "RSSI": int(floor_dbm)}
    return {"filters": filters, **({"adapter": adapter} if adapter else {})}
