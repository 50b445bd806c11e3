"""One remote device as bluetoothd keeps it, and which properties a new advertisement changes (BlueZ src/device.c)."""

from dataclasses import dataclass, field
from typing import TypeVar

from simulators.bluez.advertising import Advertisement
from simulators.bluez.events import Properties

Key = TypeVar("Key")

RSSI_STEP_DB = 8
"""`RSSI_THRESHOLD` of BlueZ: a change of RSSI smaller than this is kept to itself, dB."""


@dataclass
class Device:
    """A Device1 object. `temporary`: not paired, so it goes when it is silent for TemporaryTimeout."""

    path: str
    adapter_path: str
    address: str
    address_type: str
    temporary: bool = True
    connectable: bool = True
    name: str | None = None
    alias: str | None = None
    seen_at_ms: int = 0
    rssi_dbm: int | None = None
    tx_power_dbm: int | None = None
    appearance: int | None = None
    flags: int | None = None
    trusted: bool = False
    blocked: bool = False
    uuids: list[str] = field(default_factory=list)
    manufacturer: dict[int, bytes] = field(default_factory=dict)
    service_data: dict[str, bytes] = field(default_factory=dict)
    other: dict[int, bytes] = field(default_factory=dict)

    def properties(self, experimental: bool) -> Properties:
        """What GetAll and InterfacesAdded show; a property without a value does not exist."""
        shown: Properties = {
            "Address": self.address,
            "AddressType": self.address_type,
            "Alias": self.alias or self.name or self.address.replace(":", "-"),
            "Paired": not self.temporary,
            "Bonded": not self.temporary,
            "Trusted": self.trusted,
            "Blocked": self.blocked,
            "LegacyPairing": False,
            "Connected": False,
            "UUIDs": list(self.uuids),
            "Adapter": self.adapter_path,
            "ServicesResolved": False,
        }
        maybe: Properties = {
            "Name": self.name,
            "RSSI": self.rssi_dbm,
            "TxPower": self.tx_power_dbm,
            "Appearance": self.appearance,
            "ManufacturerData": dict(self.manufacturer) or None,
            "ServiceData": dict(self.service_data) or None,
            "AdvertisingFlags": None if self.flags is None else bytes([self.flags]),
            "AdvertisingData": (dict(self.other) or None) if experimental else None,
        }
        return shown | {name: value for name, value in maybe.items() if value is not None}

    def hear(self, adv: Advertisement, rssi_dbm: int, step_db: int, duplicates: bool) -> set[str]:
        """Take an advertisement in.

        Args:
            rssi_dbm: 0 = not known, as BlueZ has it.
            step_db: least change of RSSI that is told; 0 tells every one, also an unchanged one.
            duplicates: data are told as often as they are heard, not only when new.

        Returns:
            Names of the properties that BlueZ signals.
        """
        told = set()
        level = rssi_dbm or None
        if level is None or self.rssi_dbm is None:
            if level != self.rssi_dbm:
                told.add("RSSI")
            self.rssi_dbm = level
        elif abs(self.rssi_dbm - level) >= step_db:
            self.rssi_dbm = level
            told.add("RSSI")
        if adv.tx_power_dbm is not None and adv.tx_power_dbm != self.tx_power_dbm:
            self.tx_power_dbm = adv.tx_power_dbm
            told.add("TxPower")
        if adv.appearance and adv.appearance != self.appearance:
            self.appearance = adv.appearance
            told.add("Appearance")
        if adv.name and (adv.name_complete or self.name is None) and adv.name != self.name:
            self.name = adv.name
            told |= {"Name"} if self.alias else {"Name", "Alias"}
        fresh = [one for one in adv.uuids if one not in self.uuids]
        if fresh:
            self.uuids += fresh
            told.add("UUIDs")
        if adv.flags is not None and adv.flags != self.flags:
            self.flags = adv.flags
            told.add("AdvertisingFlags")
        if _take(self.manufacturer, adv.manufacturer, duplicates):
            told.add("ManufacturerData")
        if _take(self.service_data, adv.service_data, duplicates):
            told.add("ServiceData")
        if _take(self.other, adv.other, duplicates):
            told.add("AdvertisingData")
        return told

    def invalidate(self) -> tuple[str, ...]:
        """RSSI and TxPower cease to be known; the names of those that were."""
        gone = []
        if self.rssi_dbm is not None:
            self.rssi_dbm = None
            gone.append("RSSI")
        if self.tx_power_dbm is not None:
            self.tx_power_dbm = None
            gone.append("TxPower")
        return tuple(gone)


def _take(kept: dict[Key, bytes], heard: dict[Key, bytes], duplicates: bool) -> bool:
    """True when it is told. Without `duplicates` what was once heard stays, key by key."""
    if not heard:
        return False
    if duplicates:
        kept.clear()
    elif all(kept.get(key) == value for key, value in heard.items()):
        return False
    kept.update(heard)
    return True
