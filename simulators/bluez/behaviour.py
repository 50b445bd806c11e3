"""What can be switched while the fake runs: which BlueZ it is, and what is broken about it."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from wire.errors import BadConfig

Mode = Literal["active", "passive"]


class Heal(StrEnum):
    """What ends a stall, from the weakest to the strongest."""

    SCAN = "scan"
    """The scan is stopped and started again."""
    POWER = "power"
    """The adapter is powered off and on."""
    DAEMON = "daemon"
    """bluetoothd is restarted."""
    REBOOT = "reboot"
    """The machine is restarted."""
    NEVER = "never"
    """Nothing: only another adapter helps."""

    def ends(self, wanted: "Heal") -> bool:
        """Whether this remedy ends a stall that wants that one: a stronger one does too."""
        ladder = list(Heal)
        return ladder.index(self) >= ladder.index(wanted)


@dataclass(frozen=True)
class Stall:
    """A radio that says it scans and hears nothing. `only`: of these two ways to scan, the one that is struck."""

    heals: Heal
    only: Mode | None = None


@dataclass(frozen=True)
class Behaviour:
    """A BlueZ, its settings, its kernel and its controller.

    Raises:
        BadConfig: a value that no BlueZ has.
    """

    release: str = "5.88"
    """Up to 5.87 any filtered discovery reports every RSSI; later only one with an RSSI or Pathloss filter does."""

    experimental: bool = True
    """bluetoothd runs with `--experimental`: AdvertisementMonitorManager1 and AdvertisingData exist."""

    temporary_timeout_s: float = 30
    """`TemporaryTimeout` of main.conf: a device unheard for so long is removed, s; 0 = never."""

    controller_mode: Literal["dual", "le"] = "dual"
    """`ControllerMode` of main.conf. With `le` a discovery filtered by `Transport=le` alone is an unfiltered one."""

    controller_drops_duplicates: bool = False
    """A strict controller: one report per address until the scan starts anew, unless a monitor is registered."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d{1,2}\.\d{1,3}", self.release):
            raise BadConfig(f"release {self.release!r}: write a BlueZ release, for example 5.66")
        if not 0 <= self.temporary_timeout_s <= 86_400:
            raise BadConfig(f"temporary_timeout_s {self.temporary_timeout_s}: give 0 to 86400 seconds")
        if self.controller_mode not in ("dual", "le"):
            raise BadConfig(f"controller_mode {self.controller_mode!r}: it is dual or le")

    @property
    def forgets_to_stop(self) -> bool:
        """Up to 5.87: a rejected StopDiscovery leaves the adapter stuck (bluez/bluez#807)."""
        return self._until_5_87

    @property
    def reports_every_rssi_when_filtered(self) -> bool:
        """Up to 5.87. Changed in BlueZ by commit e004414a1 (2026-07-15)."""
        return self._until_5_87

    @property
    def _until_5_87(self) -> bool:
        major, minor = self.release.split(".")
        return (int(major), int(minor)) <= (5, 87)
