"""bluetoothd as its clients see it: the object tree, method calls, monitors of clients. No I/O, no clock.

Every method takes the time in ms and returns events in the order in which they go onto the bus.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulators.bluez import filters, monitors, names
from simulators.bluez.adapter import Adapter
from simulators.bluez.advertising import Advertisement, read
from simulators.bluez.behaviour import Behaviour, Heal
from simulators.bluez.events import Ask, Call, Changed, Event, Properties, Refusal, Reply, Token
from simulators.bluez.introspection import describe

CALLS_KEPT = 1_000
"""Method calls remembered for whoever wants to look; older ones are forgotten, the counts stay."""

APPS_MAX = 256
"""RegisterMonitor calls in force at once; controllers offer fewer monitors than that."""

ADVERTISEMENTS_KEPT = 4_096
"""Advertisements remembered as read; when there are more, all are forgotten."""

Objects = Mapping[str, Mapping[str, Properties]]


class App(NamedTuple):
    """One RegisterMonitor in force: monitors of this client, at or below `root`, on this adapter."""

    client: str
    root: str
    adapter: str


@dataclass
class Fault:
    """Calls of `member` fail with `error`, or are never answered (None), `left` times (None: until further notice)."""

    member: str
    error: str | None
    left: int | None


class Refused(Exception):
    """The call is answered with an error."""

    def __init__(self, error: str, text: str = "") -> None:
        super().__init__(error)
        self.name = names.error_name(error)
        self.text = text or names.ERRORS.get(error, error)


class Bluetoothd:
    """Adapters by name, and what clients may do with them. `calls`: (client, path, member), newest last."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.adapters: dict[str, Adapter] = {}
        self.faults: list[Fault] = []
        self.calls: deque[tuple[str, str, str]] = deque(maxlen=CALLS_KEPT)
        self.call_counts: Counter[str] = Counter()
        self._apps: dict[App, Token | None] = {}  # None: its registration is answered
        self._known: dict[bytes, Advertisement] = {}

    # -- calls -----------------------------------------------------------------------------------------------------

    def call(self, call: Call, now_ms: int) -> list[Event]:
        """Answer a method call, now or later."""
        self.calls.append((call.token.client, call.path, call.member))
        self.call_counts[call.member] += 1
        fault = self._fault(call.member)
        if fault is not None:
            if fault.error is None:
                return []
            refused = Refused(fault.error)
            return [Refusal(call.token, refused.name, refused.text)]
        try:
            return self._answer(call, now_ms)
        except Refused as refusal:
            return [Refusal(call.token, refusal.name, refusal.text)]

    def _fault(self, member: str) -> Fault | None:
        fault = next((one for one in self.faults if one.member == member), None)
        if fault is not None and fault.left is not None:
            fault.left -= 1
            if fault.left <= 0:
                self.faults.remove(fault)
        return fault

    def _answer(self, call: Call, now_ms: int) -> list[Event]:
        tree = self.tree()
        interface = call.interface or next((one for one, them in names.METHODS.items() if call.member in them), "")
        if interface == names.INTROSPECTABLE and call.member == "Introspect":
            return [Reply(call.token, "s", (describe(call.path, tree),))]
        if call.path == names.ROOT and (interface, call.member) == (names.OBJECTS, "GetManagedObjects"):
            return [Reply(call.token, "a{oa{sa{sv}}}", (tree,))]
        if call.path not in tree:
            raise Refused(names.UNKNOWN_OBJECT, f"Method {call.member!r} on {call.path!r}: no such object")
        signature = names.METHODS.get(interface, {}).get(call.member, (None,))[0]
        if signature is None or (interface != names.PROPERTIES and interface not in tree[call.path]):
            text = f'Method "{call.member}" with signature "{call.signature}" on interface "{interface}" doesn\'t exist'
            raise Refused(names.UNKNOWN_METHOD, text)
        if signature != call.signature:
            raise Refused("InvalidArguments" if interface.startswith(names.BLUEZ) else names.INVALID_ARGS)
        if interface == names.PROPERTIES:
            return self._property(call, tree[call.path], now_ms)
        if interface == names.DEVICE:
            raise Refused("NotSupported", "The fake has no connections")
        adapter = next(one for one in self.adapters.values() if one.path == call.path)
        act: dict[str, Callable[[Adapter, Call, int], list[Event]]] = {
            "GetDiscoveryFilters": self._get_filters,
            "RemoveDevice": self._remove_device,
            "SetDiscoveryFilter": self._set_filter,
            "StartDiscovery": self._start,
            "StopDiscovery": self._stop,
            "RegisterMonitor": self._register,
            "UnregisterMonitor": self._unregister,
        }
        return act[call.member](adapter, call, now_ms)

    def tree(self) -> dict[str, dict[str, Properties]]:
        """Every object: path → interface → properties."""
        found: dict[str, dict[str, Properties]] = {names.BLUEZ_ROOT: {}} if self.adapters else {}
        for adapter in self.adapters.values():
            found[adapter.path] = adapter.interfaces()
            for device in adapter.devices.values():
                found[device.path] = {names.DEVICE: device.properties(self.behaviour.experimental)}
        return found

    # -- Adapter1 --------------------------------------------------------------------------------------------------

    def _get_filters(self, adapter: Adapter, call: Call, now_ms: int) -> list[Event]:
        return [Reply(call.token, "as", (list(filters.TYPES),))]

    def _set_filter(self, adapter: Adapter, call: Call, now_ms: int) -> list[Event]:
        if not adapter.powered:
            raise Refused("NotReady")
        try:
            wanted = filters.parse(call.body[0], call.types)
        except ValueError:
            raise Refused("InvalidArguments") from None
        client = call.token.client
        if client in adapter.sessions:
            adapter.sessions[client] = wanted
        elif wanted is None:
            adapter.preset.pop(client, None)
        else:
            adapter.preset[client] = wanted
        return [Reply(call.token)]

    def _start(self, adapter: Adapter, call: Call, now_ms: int) -> list[Event]:
        if not adapter.powered:
            raise Refused("NotReady")
        if call.token.client in adapter.sessions:
            raise Refused("InProgress")
        return [Reply(call.token), *adapter.start(call.token.client, now_ms)]

    def _stop(self, adapter: Adapter, call: Call, now_ms: int) -> list[Event]:
        if not adapter.powered:
            raise Refused("NotReady")
        if call.token.client not in adapter.sessions:
            raise Refused("Failed", "No discovery started")
        rejected = adapter.reject(call.token.client, now_ms)
        if rejected is not None:
            return [Refusal(call.token, names.error_name("InProgress"), names.ERRORS["InProgress"]), *rejected]
        return [Reply(call.token), *adapter.stop(call.token.client, now_ms)]

    def _remove_device(self, adapter: Adapter, call: Call, now_ms: int) -> list[Event]:
        address = next((key for key, one in adapter.devices.items() if one.path == call.body[0]), None)
        if address is None:
            raise Refused("DoesNotExist")
        if not adapter.powered:
            raise Refused("NotReady")
        return [Reply(call.token), *adapter.forget(address)]

    # -- Properties ------------------------------------------------------------------------------------------------

    def _property(self, call: Call, interfaces: Mapping[str, Properties], now_ms: int) -> list[Event]:
        interface = call.body[0]
        if interface not in interfaces:
            raise Refused(names.INVALID_ARGS, f"No such interface '{interface}'")
        if call.member == "GetAll":
            return [Reply(call.token, "a{sv}", (interfaces[interface],))]
        name = call.body[1]
        known = interfaces[interface]
        if name not in known:
            raise Refused(names.INVALID_ARGS, f"No such property '{name}'")
        if call.member == "Get":
            return [Reply(call.token, "v", (name, known[name]))]
        if name not in names.WRITABLE.get(interface, set()):
            raise Refused(names.READ_ONLY, f"Property '{name}' is not writable")
        if call.types.get("") != names.SIGNATURES[name]:
            raise Refused("InvalidArguments")
        return self._set(call, interface, name, call.body[2], now_ms)

    def _set(self, call: Call, interface: str, name: str, value: Any, now_ms: int) -> list[Event]:
        done: list[Event] = [Reply(call.token)]
        adapter = next(one for one in self.adapters.values() if f"{call.path}/".startswith(f"{one.path}/"))
        if name == "Powered":
            if value and adapter.blocked:
                raise Refused("Blocked")
            return done + adapter.power(value, now_ms)
        if interface == names.DEVICE:
            device = next(one for one in adapter.devices.values() if one.path == call.path)
            setattr(device, name.lower(), value)
        elif name in ("Alias", "Discoverable", "Pairable"):
            setattr(adapter, name.lower(), value)
        return [*done, Changed(call.path, interface, {name: value})]

    # -- AdvertisementMonitorManager1 ------------------------------------------------------------------------------

    def _register(self, adapter: Adapter, call: Call, now_ms: int) -> list[Event]:
        """As BlueZ: look for monitors below the path; what is exported later says so by InterfacesAdded."""
        app = App(call.token.client, call.body[0], adapter.name)
        if app in self._apps:
            raise Refused("AlreadyExists")
        if len(self._apps) >= APPS_MAX:
            raise Refused("Failed", "Too many monitors")
        self._apps[app] = call.token
        return [Ask(app.client, app.root, names.OBJECTS, "GetManagedObjects")]

    def _unregister(self, adapter: Adapter, call: Call, now_ms: int) -> list[Event]:
        app = App(call.token.client, call.body[0], adapter.name)
        if app not in self._apps:
            raise Refused("DoesNotExist")
        del self._apps[app]
        for key in [key for key in adapter.monitors if key[0] == app.client and _below(key[1], app.root)]:
            del adapter.monitors[key]
        return [Reply(call.token)]

    def listed(self, client: str, root: str, objects: Objects | None, now_ms: int) -> list[Event]:
        """The client answered GetManagedObjects (None: with an error): it is registered, with what it has by now."""
        events: list[Event] = []
        for app, token in self._apps.items():
            if (app.client, app.root) == (client, root) and token is not None:
                self._apps[app] = None
                events.append(Reply(token))
        for path, interfaces in (objects or {}).items():
            events += self.exported(client, root, path, interfaces, now_ms)
        return events

    def exported(
        self, client: str, root: str, path: str, interfaces: Mapping[str, Properties], now_ms: int
    ) -> list[Event]:
        """A client says by InterfacesAdded, sent from `root`, that it has an object; is it a monitor we wait for?"""
        events: list[Event] = []
        for app in self._apps:
            if (app.client, app.root) != (client, root) or not _below(path, root) or names.MONITOR not in interfaces:
                continue
            adapter = self.adapters[app.adapter]
            if (client, path) in adapter.monitors:
                continue
            try:
                monitor = monitors.parse(client, path, interfaces[names.MONITOR])
            except (ValueError, TypeError):
                events.append(Ask(client, path, names.MONITOR, "Release"))
            else:
                events += adapter.watch(monitor, now_ms)
        return events

    def withdrawn(self, client: str, root: str, path: str) -> list[Event]:
        """A client says by InterfacesRemoved that an object is gone."""
        for app in self._apps:
            if (app.client, app.root) == (client, root):
                self.adapters[app.adapter].monitors.pop((client, path), None)
        return []

    # -- what happens to it ----------------------------------------------------------------------------------------

    def left(self, client: str, now_ms: int) -> list[Event]:
        """A client left the bus: its discoveries, filters and monitors go with it."""
        for app in [app for app in self._apps if app.client == client]:
            del self._apps[app]
        return [event for adapter in self.adapters.values() for event in adapter.leave(client, now_ms)]

    def advertise(
        self, adapter: Adapter, address: str, address_type: str, adv: bytes, rssi_dbm: int, connectable: bool,
        now_ms: int,
    ) -> list[Event]:  # fmt: skip
        """An advertisement reaches an adapter; what time alone brought about comes first."""
        return self.expire(now_ms) + adapter.hear(address, address_type, self._read(adv), rssi_dbm, connectable, now_ms)

    def _read(self, adv: bytes) -> Advertisement:
        """Beacons repeat themselves."""
        found = self._known.get(adv)
        if found is None:
            if len(self._known) >= ADVERTISEMENTS_KEPT:
                self._known.clear()
            found = self._known[adv] = read(adv)
        return found

    def expire(self, now_ms: int) -> list[Event]:
        """Everything that is due by now."""
        return [event for adapter in self.adapters.values() for event in adapter.expire(now_ms)]

    def due_ms(self) -> int | None:
        """When `expire` may next have something to say."""
        return min((at_ms for one in self.adapters.values() if (at_ms := one.due_ms()) is not None), default=None)

    def behave(self, behaviour: Behaviour) -> None:
        """Another BlueZ from now on."""
        self.behaviour = behaviour
        for adapter in self.adapters.values():
            adapter.behaviour = behaviour

    def plug(self, adapter: Adapter) -> list[Event]:
        """An adapter appears. What stalled it is over if a power cycle would have ended it."""
        adapter.renew(Heal.POWER)
        adapter.behaviour = self.behaviour
        self.adapters[adapter.name] = adapter
        return adapter.appear()

    def unplug(self, name: str) -> list[Event]:
        """An adapter vanishes, with everything below it."""
        for app in [app for app in self._apps if app.adapter == name]:
            del self._apps[app]
        return self.adapters.pop(name).vanish()

    def quit(self) -> list[Event]:
        """It ends in an orderly way, and takes everything off the bus first."""
        self._apps.clear()
        return [event for adapter in self.adapters.values() for event in adapter.vanish()]

    def crash(self) -> None:
        """It ends without a word."""
        self._apps.clear()
        for adapter in self.adapters.values():
            adapter.reset()

    def rise(self, remedy: Heal | None) -> list[Event]:
        """It starts: None for the first time, DAEMON or REBOOT when it was there before."""
        events: list[Event] = []
        for adapter in self.adapters.values():
            if remedy is not None:
                adapter.renew(remedy)
            events += adapter.appear()
        return events


def _below(path: str, root: str) -> bool:
    return path.startswith(root)
