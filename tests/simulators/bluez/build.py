"""Calls, clients and advertisements for tests of the model."""

from itertools import count

from simulators.bluez import names
from simulators.bluez.adapter import Adapter
from simulators.bluez.behaviour import Behaviour
from simulators.bluez.bluetoothd import Bluetoothd
from simulators.bluez.events import Added, Ask, Call, Changed, Refusal, Removed, Reply, Token
from wire.ibeacon import Beacon, encode_ad

HCI0 = "/org/bluez/hci0"
FLAGS = bytes.fromhex("020106")


def beacon(number=1):
    return encode_ad(Beacon(bytes(range(16)), 1, number, -59))


def mac(number=1):
    return f"C0:00:00:00:{number >> 8:02X}:{number & 255:02X}"


class Mirror:
    """What a client knows that listens from the start: the objects as the signals tell them."""

    def __init__(self):
        self.objects = {}

    def see(self, event):
        match event:
            case Added(path, interfaces):
                known = self.objects.setdefault(path, {})
                for interface, properties in interfaces.items():
                    known[interface] = dict(properties)
            case Removed(path, interfaces):
                for interface in interfaces:
                    del self.objects[path][interface]
                if not self.objects[path]:
                    del self.objects[path]
            case Changed(path, interface, changed, invalidated):
                known = self.objects[path][interface]
                assert changed.keys().isdisjoint(invalidated)
                known |= changed
                for name in invalidated:
                    del known[name]  # what was never told cannot be withdrawn


class Desk:
    """A model, a clock, and clients that call it; every event passes the mirror."""

    def __init__(self, adapters=("hci0",), **behaviour):
        self.model = Bluetoothd(Behaviour(**behaviour))
        self.mirror, self.now_ms, self.serials = Mirror(), 1000, count(1)
        for number, name in enumerate(adapters):
            self.take(self.model.plug(Adapter(name, f"00:00:5E:00:53:{number:02X}", self.model.behaviour)))

    def take(self, events):
        for event in events:
            self.mirror.see(event)
        return events

    @property
    def hci0(self):
        return self.model.adapters["hci0"]

    def call(self, member, *body, client=":1.1", path=HCI0, interface=names.ADAPTER, types=None):
        signature = names.METHODS[interface][member][0]
        call = Call(Token(client, next(self.serials)), path, interface, member, body, signature, types or {})
        return self.take(self.model.call(call, self.now_ms))

    def answer(self, member, *body, **where):
        """The one answer: `None` for an empty reply, its value, or the last word of the error."""
        events = self.call(member, *body, **where)
        (answer,) = [one for one in events if isinstance(one, Reply | Refusal)]
        if isinstance(answer, Refusal):
            return answer.name.rsplit(".", 1)[-1]
        return answer.body[-1] if answer.body else None

    def filter(self, client=":1.1", **given):
        types = {"RSSI": "n", "Pathloss": "q", "Transport": "s", "DuplicateData": "b", "UUIDs": "as", "Pattern": "s"}
        used = {name: types[name] for name in given}
        return self.answer("SetDiscoveryFilter", given, client=client, types=used)

    def scan(self, client=":1.1", **given):
        assert self.filter(client, **given) is None
        assert self.answer("StartDiscovery", client=client) is None

    def watch(self, *patterns, client=":1.1", path="/m", adapter=HCI0, **more):
        """A registered and active monitor."""
        self.call("RegisterMonitor", path, client=client, path=adapter, interface=names.MONITOR_MANAGER)
        self.take(self.model.listed(client, path, {}, self.now_ms))
        shown = {"Type": "or_patterns", "Patterns": list(patterns), **more}
        return self.take(self.model.exported(client, path, path, {names.MONITOR: shown}, self.now_ms))

    def hear(self, number=1, adv=None, rssi_dbm=-60, after_ms=0, connectable=True):
        self.now_ms += after_ms
        adv = beacon(number) if adv is None else adv
        events = []
        for adapter in list(self.model.adapters.values()):
            events += self.model.advertise(adapter, mac(number), "random", adv, rssi_dbm, connectable, self.now_ms)
        return self.take(events)

    def told(self, *args, **kwargs):
        """What an advertisement changes, as a client sees it: property → value; "added" or "removed" for objects."""
        found = {}
        for event in self.hear(*args, **kwargs):
            if isinstance(event, Added):
                found |= event.interfaces[names.DEVICE]
            elif isinstance(event, Changed):
                found |= event.changed | dict.fromkeys(event.invalidated)
        return found

    def asked(self, events):
        return [(one.client, one.member, one.device) for one in events if isinstance(one, Ask)]
