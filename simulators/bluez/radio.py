"""The fake as one object: a bus, bluetoothd on it, and an air that the caller fills.

    async with FakeBlueZ() as radio:
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = radio.address
        async with BleakScanner(heard):
            radio.advertise("C0:11:22:33:44:55", adv, rssi_dbm=-60)
            await radio.delivered()

Methods without `await` take effect at once; what they say on the bus is on its way.
"""

import re
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from simulators import clock
from simulators.bluez.adapter import Adapter
from simulators.bluez.advertising import read
from simulators.bluez.behaviour import Behaviour, Heal, Mode, Stall
from simulators.bluez.bluetoothd import Bluetoothd, Fault
from simulators.bluez.daemon import DaemonBus
from simulators.bluez.endpoint import Endpoint
from simulators.bluez.standalone import StandaloneBus
from wire.errors import BadConfig

ADAPTERS_MAX = 16
"""hci0 to hci15, as many as a kernel has."""

_ADDRESS = re.compile(r"([0-9A-F]{2}:){5}[0-9A-F]{2}")
_HCI = re.compile(r"hci\d{1,2}")


class MessageBusProcess(Protocol):
    """A bus that can be started and lost."""

    path: Path
    address: str

    async def start(self) -> None:
        """Listen."""

    async def stop(self) -> None:
        """Break every connection; idempotent."""


class FakeBlueZ:
    """See the module.

    Args:
        path: unix socket of the bus; without it one in a folder of its own, which goes with the fake.
        bus: `standalone` (this process is the bus too) or `daemon` (a private dbus-daemon, from Debian's `dbus`).
        adapters: names of the adapters present.
        behaviour: which BlueZ.
        now_ms: a clock of the caller's; without it real time. With it, what is due happens at the next advertisement
            or at `tick`.

    Raises:
        BadConfig: an argument that cannot be.
    """

    def __init__(
        self,
        *,
        path: Path | None = None,
        bus: Literal["standalone", "daemon"] = "standalone",
        adapters: Sequence[str] = ("hci0",),
        behaviour: Behaviour | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._folder = None
        if path is None:
            self._folder = Path(tempfile.gettempdir()) / f"bluez-{secrets.token_hex(8)}"
            path = self._folder / "bus"
        self._bus: MessageBusProcess = StandaloneBus(path) if bus == "standalone" else DaemonBus(path)
        self._model = Bluetoothd(behaviour or Behaviour())
        self._unplugged: dict[str, Adapter] = {}
        clock_ms = now_ms or (lambda: clock.steady_ns() // 1_000_000)
        self._endpoint = Endpoint(self._model, clock_ms, keeps_time=now_ms is None)
        self._bus_is_up = False
        for name in adapters:
            self.plug(name)

    @property
    def address(self) -> str:
        """What DBUS_SYSTEM_BUS_ADDRESS must be."""
        return self._bus.address

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Bring up the bus, and bluetoothd on it as it was prepared; idempotent.

        Raises:
            LocalFault: the socket cannot be used, or dbus-daemon is missing.
        """
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        await self._restore(None)

    async def stop(self) -> None:
        """Take everything away; idempotent."""
        await self.lose_bus()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- the air ---------------------------------------------------------------------------------------------------

    def advertise(
        self,
        address: str,
        adv: bytes,
        rssi_dbm: int = -60,
        *,
        adapter: str | None = None,
        address_type: Literal["public", "random"] = "random",
        connectable: bool = True,
    ) -> None:
        """One advertisement is in the air: AD structures `adv`, heard at `rssi_dbm` by one adapter or by all.

        Raises:
            BadConfig: no address, no adapter, or no RSSI (int8) that there could be.
        """
        address = _checked(address)
        if not -127 <= rssi_dbm <= 127:
            raise BadConfig(f"rssi_dbm {rssi_dbm}: give -127 to 127")
        here = self._adapters_named(adapter)
        for one in here:
            self._endpoint.say(
                self._model.advertise(one, address, address_type, adv, rssi_dbm, connectable, self._endpoint.now_ms())
            )

    async def delivered(self) -> None:
        """Return when every client has read what was sent so far (each is pinged; a dead one is not waited for)."""
        await self._endpoint.delivered()

    def tick(self) -> None:
        """What is due by the caller's clock happens."""
        self._endpoint.tick()

    # -- what is known ---------------------------------------------------------------------------------------------

    def scanning(self, adapter: str | None = None, mode: Mode | None = None) -> bool:
        """Whether any adapter (or this one) is asked to scan, in this mode if one is given."""
        modes = [one.mode for one in self._model.adapters.values() if adapter in (None, one.name)]
        return any(one is not None and mode in (None, one) for one in modes)

    async def until(self, holds: Callable[[], Any]) -> None:
        """Return when the condition holds; it is looked at after everything that happens on the bus."""
        await self._endpoint.until(holds)

    @property
    def counts(self) -> Counter[str]:
        """What became of the advertisements, over all adapters; see `Adapter.counts`."""
        total: Counter[str] = Counter()
        for one in [*self._model.adapters.values(), *self._unplugged.values()]:
            total += one.counts
        return total

    @property
    def scanners(self) -> set[str]:
        """Unique names of the clients that scan, in either mode."""
        found: set[str] = set()
        for one in self._model.adapters.values():
            found |= set(one.sessions) | {client for client, _ in one.monitors}
        return found

    @property
    def calls(self) -> Counter[str]:
        """Method calls received, by member."""
        return self._model.call_counts

    @property
    def devices(self) -> list[str]:
        """Addresses of all Device1 objects, adapter by adapter."""
        return [address for one in self._model.adapters.values() for address in one.devices]

    # -- behaviour and faults --------------------------------------------------------------------------------------

    @property
    def behaviour(self) -> Behaviour:
        """Which BlueZ it is."""
        return self._model.behaviour

    def behave(self, **changes: Any) -> None:
        """Another BlueZ from now on: fields of `Behaviour`."""
        try:
            self._model.behave(replace(self._model.behaviour, **changes))
        except TypeError as exc:
            raise BadConfig(f"no such behaviour: {', '.join(changes)}") from exc

    def stall(self, adapter: str = "hci0", *, heals: Heal = Heal.SCAN, only: Mode | None = None) -> None:
        """The radio falls silent and says nothing about it, until `heals` (or something stronger) is done to it."""
        for one in self._adapters_named(adapter):
            one.stall = Stall(heals, only)

    def unstall(self, adapter: str = "hci0") -> None:
        """It hears again, by itself."""
        for one in self._adapters_named(adapter):
            one.stall = None

    def stalled(self, adapter: str = "hci0") -> bool:
        """Whether a stall is in force."""
        return any(one.stall is not None for one in self._adapters_named(adapter))

    def fail(self, member: str, error: str = "InProgress", times: int | None = 1) -> None:
        """Calls of a method fail, so many times (None: until `mend`). `error`: `NotReady`, or a full name."""
        self._model.faults.append(Fault(member, error, times))

    def hang(self, member: str, times: int | None = 1) -> None:
        """Calls of a method are never answered."""
        self._model.faults.append(Fault(member, None, times))

    def reject_stop(self, adapter: str = "hci0", *, times: int = 1) -> None:
        """The next StopDiscovery calls fail with InProgress, and up to BlueZ 5.87 leave the adapter stuck."""
        for one in self._adapters_named(adapter):
            one.rejects_stops = times

    def mend(self) -> None:
        """No method fails or hangs any more."""
        self._model.faults.clear()

    def power(self, adapter: str = "hci0", *, on: bool) -> None:
        """Somebody else switches an adapter."""
        for one in self._adapters_named(adapter):
            if not (on and one.blocked):
                self._endpoint.say(one.power(on, self._endpoint.now_ms()))

    def block(self, adapter: str = "hci0", *, blocked: bool = True) -> None:
        """rfkill: it is off and cannot be switched on until it is unblocked."""
        for one in self._adapters_named(adapter):
            one.blocked = blocked
        if blocked:
            self.power(adapter, on=False)

    def invalidate(self, adapter: str = "hci0") -> None:
        """RSSI of all that was found is withdrawn (bleak then calls back with −127)."""
        for one in self._adapters_named(adapter):
            self._endpoint.say(one.invalidate())

    def forget(self, address: str) -> None:
        """The objects of an address go."""
        for one in self._model.adapters.values():
            self._endpoint.say(one.forget(_checked(address)))

    def keep(
        self, address: str, *, name: str | None = None, paired: bool = True, adv: bytes = b"", adapter: str = "hci0"
    ) -> None:
        """An object is there that was not heard: a paired device, or what another program's scan left (not paired)."""
        for one in self._adapters_named(adapter):
            self._endpoint.say(one.keep(_checked(address), name, paired, read(adv), self._endpoint.now_ms()))

    def plug(self, adapter: str) -> None:
        """An adapter appears, or comes back.

        Raises:
            BadConfig: it is there, or its name is not hciN.
        """
        if not _HCI.fullmatch(adapter) or adapter in self._model.adapters:
            raise BadConfig(f"adapter {adapter!r}: give the name of an absent adapter, as hci1")
        number = int(adapter[3:])
        if number >= ADAPTERS_MAX:
            raise BadConfig(f"adapter {adapter!r}: there are at most {ADAPTERS_MAX}")
        fresh = Adapter(adapter, f"00:00:5E:00:53:{number:02X}", self._model.behaviour)
        self._endpoint.say(self._model.plug(self._unplugged.pop(adapter, fresh)))

    def unplug(self, adapter: str = "hci0") -> None:
        """An adapter vanishes, with its devices, discoveries and monitors."""
        (gone,) = self._adapters_named(adapter)
        self._endpoint.say(self._model.unplug(adapter))
        self._unplugged[adapter] = gone

    # -- bluetoothd and the bus ------------------------------------------------------------------------------------

    async def kill_daemon(self, *, orderly: bool = False) -> None:
        """bluetoothd ends: org.bluez has no owner. Orderly, it takes its objects off the bus before."""
        if orderly:
            self._endpoint.say(self._model.quit())
            await self.delivered()
        self._model.crash()
        await self._endpoint.disconnect(bus_goes=False)

    async def start_daemon(self) -> None:
        """bluetoothd starts, with everything forgotten but paired devices."""
        await self._endpoint.connect(self._bus.path, Heal.DAEMON)

    async def restart_daemon(self, *, orderly: bool = True) -> None:
        """`systemctl restart bluetooth`; not orderly: it crashes, and systemd starts it again."""
        await self.kill_daemon(orderly=orderly)
        await self.start_daemon()

    async def lose_bus(self) -> None:
        """The message bus ends, every connection breaks; bluetoothd ends with it."""
        self._model.crash()
        await self._endpoint.disconnect(bus_goes=True)
        if self._bus_is_up:
            self._bus_is_up = False
            await self._bus.stop()

    async def restore_bus(self) -> None:
        """The bus and bluetoothd are there again."""
        await self._restore(Heal.DAEMON)

    async def reboot(self) -> None:
        """The machine is restarted: of all stalls only those that nothing heals remain."""
        await self.lose_bus()
        await self._restore(Heal.REBOOT)

    async def _restore(self, remedy: Heal | None) -> None:
        if not self._bus_is_up:
            await self._bus.start()
            self._bus_is_up = True
        await self._endpoint.connect(self._bus.path, remedy)

    def _adapters_named(self, name: str | None) -> list[Adapter]:
        if name is None:
            return list(self._model.adapters.values())
        found = self._model.adapters.get(name)
        if found is None:
            raise BadConfig(f"adapter {name!r} is not there; there are: {', '.join(self._model.adapters) or 'none'}")
        return [found]


def is_address(text: str) -> bool:
    """Six bytes, as `C0:11:22:33:44:55`."""
    return _ADDRESS.fullmatch(text.upper()) is not None


def _checked(address: str) -> str:
    if not is_address(address):
        raise BadConfig(f"address {address!r}: write six bytes, as C0:11:22:33:44:55")
    return address.upper()
