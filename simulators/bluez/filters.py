"""Discovery filters: what SetDiscoveryFilter accepts, and what a filtered discovery lets through.

Rules read in BlueZ's src/adapter.c (`parse_discovery_filter_dict`, `merge_discovery_filters`, `is_filter_match`) and in
the kernel's net/bluetooth/mgmt.c (`is_filter_match`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from simulators.bluez.advertising import Advertisement, full_uuid

PATHLOSS_MAX = 137
"""Largest Pathloss accepted, dB: from +10 dBm sent to −127 dBm heard."""

TYPES = {
    "UUIDs": "as",
    "RSSI": "n",
    "Pathloss": "q",
    "Transport": "s",
    "DuplicateData": "b",
    "Discoverable": "b",
    "Pattern": "s",
}
"""Keys of a filter, in BlueZ's order, and their D-Bus types."""


@dataclass(frozen=True)
class DiscoveryFilter:
    """What one client asked for. None and empty = not asked for."""

    uuids: frozenset[str] = frozenset()
    rssi_dbm: int | None = None
    pathloss_db: int | None = None
    transport: Literal["auto", "le", "bredr"] = "auto"
    duplicate_data: bool = False
    pattern: str | None = None

    @property
    def proximity(self) -> bool:
        """It asks about nearness: since 5.88 the only reason to report every RSSI."""
        return self.rssi_dbm is not None or self.pathloss_db is not None

    def is_regular(self, adapter_is_le_only: bool) -> bool:
        """It asks for nothing beyond what the adapter does anyway: BlueZ runs an unfiltered discovery, with gaps."""
        whole = self.transport == "auto" or (self.transport == "le" and adapter_is_le_only)
        return whole and not (self.uuids or self.proximity or self.duplicate_data or self.pattern is not None)

    def lets_in(self, adv: Advertisement, rssi_dbm: int) -> bool:
        """As bluetoothd judges. With `RSSI` alone it relies on the kernel, and lets everything in."""
        if self.uuids and not self.uuids & set(adv.uuids):
            return False
        if self.rssi_dbm is None or self.rssi_dbm <= rssi_dbm or self.pathloss_db is None:
            return self.pathloss_db is None or self._within_pathloss(adv, rssi_dbm)
        return self._within_pathloss(adv, rssi_dbm)

    def _within_pathloss(self, adv: Advertisement, rssi_dbm: int) -> bool:
        assert self.pathloss_db is not None
        return adv.tx_power_dbm is not None and adv.tx_power_dbm - rssi_dbm <= self.pathloss_db


def parse(given: Mapping[str, Any], types: Mapping[str, str]) -> DiscoveryFilter | None:
    """The argument of SetDiscoveryFilter; an empty one removes the filter.

    Raises:
        ValueError: BlueZ answers `InvalidArguments`: a key or type it does not know, a value out of its range.
    """
    if not given:
        return None
    for key in given:
        if TYPES.get(key) != types.get(key):
            raise ValueError(f"{key}: {types.get(key)}, expected {TYPES.get(key)}")
    rssi_dbm, pathloss_db = given.get("RSSI"), given.get("Pathloss")
    if rssi_dbm is not None and pathloss_db is not None:
        raise ValueError("RSSI and Pathloss exclude each other")
    if rssi_dbm is not None and not -127 <= rssi_dbm <= 20:
        raise ValueError("RSSI out of -127..20")
    if pathloss_db is not None and pathloss_db > PATHLOSS_MAX:
        raise ValueError("Pathloss too large")
    transport = given.get("Transport", "auto")
    if transport not in ("auto", "le", "bredr"):
        raise ValueError("Transport is auto, le or bredr")
    return DiscoveryFilter(
        uuids=frozenset(full_uuid(one) for one in given.get("UUIDs", ())),
        rssi_dbm=rssi_dbm,
        pathloss_db=pathloss_db,
        transport=transport,
        duplicate_data=given.get("DuplicateData", False),
        pattern=given.get("Pattern"),
    )


@dataclass(frozen=True)
class KernelFilter:
    """What the kernel keeps from bluetoothd while all running discoveries are filtered."""

    rssi_dbm: int | None
    uuids: frozenset[str]

    def lets_in(self, adv: Advertisement, rssi_dbm: int) -> bool:
        """As the kernel judges one report."""
        if self.rssi_dbm is not None and rssi_dbm < self.rssi_dbm:
            return False
        return not self.uuids or bool(self.uuids & set(adv.uuids))


def merge(filters: Iterable[DiscoveryFilter | None], adapter_is_le_only: bool) -> KernelFilter | None:
    """One filter for the kernel; None: there is nothing to filter, at least one discovery wants everything."""
    every = list(filters)
    if not every or any(one is None or one.is_regular(adapter_is_le_only) for one in every):
        return None
    some = [one for one in every if one is not None]
    levels = [one.rssi_dbm for one in some]
    rssi_dbm = None if None in levels else min(level for level in levels if level is not None)
    wanted = [one.uuids for one in some]
    uuids = frozenset[str]().union(*wanted) if all(wanted) else frozenset[str]()
    return KernelFilter(rssi_dbm, uuids)
