"""One adapter: who scans, what its kernel and controller let through, and what bluetoothd then says about it.

Rules read in BlueZ's src/adapter.c (`btd_adapter_device_found` and around it) and in the kernel's net/bluetooth.
"""

from collections import Counter
from dataclasses import dataclass, field

from simulators.bluez.advertising import Advertisement
from simulators.bluez.behaviour import Behaviour, Heal, Mode, Stall
from simulators.bluez.device import RSSI_STEP_DB, Device
from simulators.bluez.events import Added, Ask, Changed, Event, Properties, Removed
from simulators.bluez.filters import DiscoveryFilter, merge
from simulators.bluez.monitors import Monitor
from simulators.bluez.names import ADAPTER, DEVICE, MONITOR, MONITOR_MANAGER

SCAN_MS = 10_240
"""Length of one scan of a discovery (kernel `DISCOV_LE_TIMEOUT`), ms."""

GAP_MS = 5_000
"""Pause of an unfiltered discovery between two scans (BlueZ `IDLE_DISCOV_TIMEOUT`), ms; a filtered one has none."""

DEVICES_MAX = 20_000
"""Objects per adapter; beyond it the longest unheard goes, and is counted. A full shop has some hundred."""


@dataclass
class Adapter:
    """Adapter1 and everything below its path. Methods take the time in ms and return what goes onto the bus.

    `counts`: heard, and what became of it: told, kept (BlueZ saw no reason to tell), filtered, duplicate, stalled,
    unscanned (nobody scans, or the scan pauses), evicted.
    """

    name: str
    address: str
    behaviour: Behaviour
    powered: bool = True
    blocked: bool = False
    alias: str = "fake"
    discoverable: bool = False
    pairable: bool = False
    stall: Stall | None = None
    rejects_stops: int = 0
    """So many StopDiscovery calls meet a kernel that has just ended the scan by itself."""
    stuck: bool = False
    """bluetoothd believes that the kernel scans, and it does not."""
    sessions: dict[str, DiscoveryFilter | None] = field(default_factory=dict)
    preset: dict[str, DiscoveryFilter] = field(default_factory=dict)
    monitors: dict[tuple[str, str], Monitor] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _found: set[str] = field(default_factory=set)
    _scan_from_ms: int = 0
    _reported: set[str] = field(default_factory=set)
    _reported_in: int = -1

    @property
    def path(self) -> str:
        """Of its object."""
        return f"/org/bluez/{self.name}"

    @property
    def mode(self) -> Mode | None:
        """How it scans now; None: nobody asks it to, or it is off."""
        if not self.powered:
            return None
        if self.sessions:
            return "active"
        return "passive" if self.monitors else None

    def interfaces(self) -> dict[str, Properties]:
        """What GetManagedObjects shows at its path."""
        state = "off-blocked" if self.blocked else "on" if self.powered else "off"
        shown: dict[str, Properties] = {
            ADAPTER: {
                "Address": self.address,
                "AddressType": "public",
                "Name": "fake",
                "Alias": self.alias,
                "Class": 0,
                "Powered": self.powered,
                "PowerState": state,
                "Discoverable": self.discoverable,
                "DiscoverableTimeout": 180,
                "Pairable": self.pairable,
                "PairableTimeout": 0,
                "Discovering": bool(self.sessions) or self.stuck,
                "UUIDs": [],
                "Roles": ["central", "peripheral"],
            }
        }
        if self.behaviour.experimental:
            shown[MONITOR_MANAGER] = {"SupportedMonitorTypes": ["or_patterns"], "SupportedFeatures": []}
        return shown

    # -- who scans -------------------------------------------------------------------------------------------------

    def start(self, client: str, now_ms: int) -> list[Event]:
        """A client's discovery begins, with the filter it set before."""
        first = not self.sessions
        self.sessions[client] = self.preset.pop(client, None)
        if not first or self.stuck:
            return []
        self._scan_anew(now_ms)
        return [Changed(self.path, ADAPTER, {"Discovering": True})]

    def stop(self, client: str, now_ms: int) -> list[Event]:
        """A client's discovery ends; with the last one the RSSI of all that was found is no longer known."""
        del self.sessions[client]
        if self.sessions:
            return []
        self.stuck = False
        self._scan_anew(now_ms)
        return [*self.invalidate(), Changed(self.path, ADAPTER, {"Discovering": False})]

    def reject(self, client: str, now_ms: int) -> list[Event] | None:
        """A StopDiscovery that fails with InProgress and ends the discovery (bluez/bluez#807); None: it does not fail.

        Up to 5.87 bluetoothd does not notice that nothing scans any more. A further StartDiscovery then succeeds and
        hears nothing; the StopDiscovery after it puts things right.
        """
        if not self.rejects_stops or len(self.sessions) > 1:
            return None
        self.rejects_stops -= 1
        if not self.behaviour.forgets_to_stop:
            return self.stop(client, now_ms)
        del self.sessions[client]
        self.stuck = True
        return self.invalidate()

    def invalidate(self) -> list[Event]:
        """RSSI and TxPower of what was found are withdrawn; temporary devices that nobody can connect to go."""
        events: list[Event] = []
        for address in sorted(self._found & self.devices.keys()):
            device = self.devices[address]
            gone = device.invalidate()
            if gone:
                events.append(Changed(device.path, DEVICE, {}, gone))
        self._found.clear()
        for device in [one for one in self.devices.values() if one.temporary and not one.connectable]:
            events += self.forget(device.address)
        return events

    def watch(self, monitor: Monitor, now_ms: int) -> list[Event]:
        """A client's monitor takes effect."""
        if not self.monitors and not self.sessions:
            self._scan_anew(now_ms)
        self.monitors[monitor.client, monitor.path] = monitor
        return [Ask(monitor.client, monitor.path, MONITOR, "Activate")]

    def leave(self, client: str, now_ms: int) -> list[Event]:
        """A client left the bus."""
        self.preset.pop(client, None)
        for key in [key for key in self.monitors if key[0] == client]:
            del self.monitors[key]
        return self.stop(client, now_ms) if client in self.sessions else []

    def _scan_anew(self, now_ms: int) -> None:
        self._scan_from_ms = now_ms
        self._reported.clear()
        self.heal(Heal.SCAN)

    # -- power and faults ------------------------------------------------------------------------------------------

    def power(self, on: bool, now_ms: int) -> list[Event]:
        """Switch. Off: discoveries end, temporary devices go; monitors stay and go on when it is on again."""
        if on == self.powered:
            return []
        if on:
            self.powered = True
            self.heal(Heal.POWER)
            self._scan_anew(now_ms)
            return [Changed(self.path, ADAPTER, {"Powered": True, "PowerState": "on"})]
        events: list[Event] = [
            Ask(monitor.client, monitor.path, MONITOR, member, device)
            for monitor in self.monitors.values()
            for member, device in monitor.power_down()
        ]
        for device in [one for one in self.devices.values() if one.temporary]:
            events += self.forget(device.address)
        events += self.invalidate()
        if self.sessions:
            events.append(Changed(self.path, ADAPTER, {"Discovering": False}))
        self.sessions.clear()
        self.powered = self.stuck = False
        state = "off-blocked" if self.blocked else "off"
        return [*events, Changed(self.path, ADAPTER, {"Powered": False, "PowerState": state})]

    def heal(self, remedy: Heal) -> None:
        """End a stall that this remedy can end."""
        if self.stall is not None and remedy.ends(self.stall.heals):
            self.stall = None

    def renew(self, remedy: Heal) -> None:
        """It starts anew: healed as far as that goes, and switched on unless rfkill forbids it (`AutoEnable`)."""
        self.heal(remedy)
        self.powered = not self.blocked

    # -- the air ---------------------------------------------------------------------------------------------------

    def hear(
        self, address: str, address_type: str, adv: Advertisement, rssi_dbm: int, connectable: bool, now_ms: int
    ) -> list[Event]:
        """One advertisement reaches the antenna."""
        self.counts["heard"] += 1
        lost = self._lost_below(address, adv, rssi_dbm, now_ms)
        if lost is not None:
            self.counts[lost] += 1
            return []
        matched = [one for one in self.monitors.values() if one.matches(adv.structures)]
        if not self.sessions and not matched:
            self.counts["filtered"] += 1
            return []
        filtered = self._filtered
        shown = self._discoverable(address, adv, filtered)
        device = self.devices.get(address)
        fresh = device is None
        if device is None:
            if not shown and not matched:
                self.counts["filtered"] += 1
                return []
            device = self._new_device(address, address_type)
        events = self._make_room() if fresh else []
        device.seen_at_ms, device.connectable = now_ms, connectable
        self.devices[address] = self.devices.pop(address, device)  # the longest unheard stands first
        told: set[str] = set()
        wanted = shown and (not filtered or self._asked_for(adv, rssi_dbm))
        if matched or wanted:
            told = device.hear(adv, rssi_dbm, self._step_db(filtered), self._duplicates)
        if fresh:
            events.append(Added(device.path, {DEVICE: device.properties(self.behaviour.experimental)}))
        elif told:
            now = device.properties(self.behaviour.experimental)
            gone = ("RSSI",) if "RSSI" in told and "RSSI" not in now else ()
            changed = {name: now[name] for name in sorted(told) if name in now}
            if changed or gone:
                events.append(Changed(device.path, DEVICE, changed, gone))
        self.counts["told" if fresh or told else "kept" if matched or wanted else "filtered"] += 1
        if self.sessions and (matched or wanted):
            self._found.add(address)
        return events + [
            Ask(monitor.client, monitor.path, MONITOR, member, path)
            for monitor in matched
            for member, path in monitor.hear(device.path, rssi_dbm, now_ms)
        ]

    def _lost_below(self, address: str, adv: Advertisement, rssi_dbm: int, now_ms: int) -> str | None:
        """Why the controller or the kernel keeps it to itself, if it does."""
        mode = self.mode
        if mode is None:
            return "unscanned"
        if mode == "active" and not self._in_scan(now_ms):
            return "unscanned"
        if (mode == "active" and self.stuck) or (self.stall is not None and self.stall.only in (None, mode)):
            return "stalled"
        if mode == "passive":
            return None
        if self.behaviour.controller_drops_duplicates and not self.monitors:
            period = (now_ms - self._scan_from_ms) // SCAN_MS
            if period != self._reported_in:
                self._reported.clear()
                self._reported_in = period
            if address in self._reported:
                return "duplicate"
            self._reported.add(address)
        kernel = merge(self.sessions.values(), self._le_only)
        return None if kernel is None or kernel.lets_in(adv, rssi_dbm) else "filtered"

    def _in_scan(self, now_ms: int) -> bool:
        if all(one is not None and one.transport == "bredr" for one in self.sessions.values()):
            return False
        return self._filtered or (now_ms - self._scan_from_ms) % (SCAN_MS + GAP_MS) < SCAN_MS

    @property
    def _le_only(self) -> bool:
        return self.behaviour.controller_mode == "le"

    @property
    def _filtered(self) -> bool:
        """Any running discovery is a filtered one."""
        return any(one is not None and not one.is_regular(self._le_only) for one in self.sessions.values())

    @property
    def _duplicates(self) -> bool:
        return any(one is not None and one.duplicate_data for one in self.sessions.values())

    def _step_db(self, filtered: bool) -> int:
        if self.behaviour.reports_every_rssi_when_filtered:
            return 0 if filtered else RSSI_STEP_DB
        near = any(one is not None and one.proximity for one in self.sessions.values())
        return 0 if near else RSSI_STEP_DB

    def _discoverable(self, address: str, adv: Advertisement, filtered: bool) -> bool:
        """As `device_is_discoverable`: an unfiltered discovery shows only what says it is discoverable."""
        if not self.sessions and not adv.discoverable:
            return False
        patterns = [one.pattern for one in self.sessions.values() if one is not None and one.pattern is not None]
        if patterns:
            return any(address.startswith(one) or (adv.name or "").startswith(one) for one in patterns)
        return filtered or adv.discoverable

    def _asked_for(self, adv: Advertisement, rssi_dbm: int) -> bool:
        return any(one is None or one.lets_in(adv, rssi_dbm) for one in self.sessions.values())

    # -- devices ---------------------------------------------------------------------------------------------------

    def _new_device(self, address: str, address_type: str) -> Device:
        path = f"{self.path}/dev_{address.replace(':', '_')}"
        return Device(path, self.path, address, address_type)

    def keep(self, address: str, name: str | None, paired: bool, adv: Advertisement, now_ms: int) -> list[Event]:
        """An object that is there without having been heard: paired, or left over from somebody else's scan."""
        device = self._new_device(address, "random")
        device.temporary, device.seen_at_ms, device.name = not paired, now_ms, name
        device.hear(adv, 0, 0, True)
        device.invalidate()
        self.devices[address] = device
        return [Added(device.path, {DEVICE: device.properties(self.behaviour.experimental)})]

    def forget(self, address: str) -> list[Event]:
        """The object goes."""
        device = self.devices.pop(address, None)
        self._found.discard(address)
        if device is None:
            return []
        for monitor in self.monitors.values():
            monitor.forget(device.path)
        return [Removed(device.path, (DEVICE,))]

    def _make_room(self) -> list[Event]:
        if len(self.devices) < DEVICES_MAX:
            return []
        self.counts["evicted"] += 1
        return self.forget(next(iter(self.devices)))

    def expire(self, now_ms: int) -> list[Event]:
        """What time alone brings about: silent temporary devices go, monitors lose devices."""
        events: list[Event] = [
            Ask(monitor.client, monitor.path, MONITOR, member, device)
            for monitor in self.monitors.values()
            for member, device in monitor.expire(now_ms)
        ]
        timeout_ms = int(self.behaviour.temporary_timeout_s * 1000)
        if timeout_ms:
            for device in list(self.devices.values()):
                if now_ms - device.seen_at_ms < timeout_ms:
                    break
                if device.temporary:
                    events += self.forget(device.address)
        return events

    def due_ms(self) -> int | None:
        """When `expire` may next have something to say."""
        due = [at_ms for one in self.monitors.values() if (at_ms := one.due_ms()) is not None]
        timeout_ms = int(self.behaviour.temporary_timeout_s * 1000)
        first = next((one for one in self.devices.values() if one.temporary), None)
        if timeout_ms and first is not None:
            due.append(first.seen_at_ms + timeout_ms)
        return min(due, default=None)

    def vanish(self) -> list[Event]:
        """Everything it has on the bus goes, monitors are released; paired devices are remembered."""
        events: list[Event] = [Ask(one.client, one.path, MONITOR, "Release") for one in self.monitors.values()]
        events += [Removed(one.path, (DEVICE,)) for one in self.devices.values()]
        self.reset()
        return [*events, Removed(self.path, tuple(self.interfaces()))]

    def reset(self) -> None:
        """Forget what a daemon forgets that ends; say nothing."""
        self.stuck = False
        self.sessions.clear()
        self.preset.clear()
        self.monitors.clear()
        self._found.clear()
        self.devices = {address: one for address, one in self.devices.items() if not one.temporary}
        for device in self.devices.values():
            device.invalidate()

    def appear(self) -> list[Event]:
        """It is on the bus, with the devices it remembers."""
        shown: list[Event] = [Added(self.path, self.interfaces())]
        for device in self.devices.values():
            shown.append(Added(device.path, {DEVICE: device.properties(self.behaviour.experimental)}))
        return shown
