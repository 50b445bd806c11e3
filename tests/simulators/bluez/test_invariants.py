"""Whatever happens in whatever order: what the signals told is what GetManagedObjects says; and reading never fails."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from simulators.bluez import names
from simulators.bluez.advertising import read, structures
from simulators.bluez.behaviour import Behaviour, Heal, Stall
from simulators.bluez.monitors import PATTERN_MAX_BYTES, Pattern
from tests.simulators.bluez.build import FLAGS, Desk, beacon, mac

CLIENTS = st.sampled_from([":1.1", ":1.2"])
NUMBERS = st.integers(1, 4)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "RSSI": st.sampled_from([-127, -70]),
        "DuplicateData": st.booleans(),
        "Transport": st.sampled_from(["auto", "le", "bredr"]),
        "UUIDs": st.just(["180f"]),
        "Pattern": st.sampled_from(["", "C0", "D0"]),
    },
)
ADVS = st.one_of(
    st.integers(1, 3).map(beacon),
    st.just(FLAGS + beacon()),
    st.sampled_from([bytes.fromhex("03030f18"), bytes.fromhex("020af4"), FLAGS + b"\x04\x09abc", b"\x03\x26\x01\x02"]),
    st.binary(max_size=31),
)
LEVELS = st.sampled_from([-90, -75, -67, -60, 0])


class Bluetoothd(RuleBasedStateMachine):
    """The mirror sees every event from the start."""

    def __init__(self):
        super().__init__()
        self.desk = Desk(adapters=("hci0", "hci1"))

    @rule(client=CLIENTS, given=FILTERS)
    def set_filter(self, client, given):
        self.desk.filter(client, **given)

    @rule(client=CLIENTS, member=st.sampled_from(["StartDiscovery", "StopDiscovery"]), hci=st.sampled_from([0, 1]))
    def discover(self, client, member, hci):
        if f"hci{hci}" in self.desk.model.adapters:
            self.desk.call(member, client=client, path=f"/org/bluez/hci{hci}")

    @rule(client=CLIENTS, more=st.sampled_from([{}, {"RSSIHighThreshold": -70, "RSSIHighTimeout": 1}]))
    def watch(self, client, more):
        if "hci0" in self.desk.model.adapters:
            self.desk.watch((0, 0xFF, b"\x4c\x00"), client=client, path=f"/m{client[3:]}", **more)

    @rule(number=NUMBERS, adv=ADVS, level=LEVELS, after_ms=st.sampled_from([0, 900, 12_000]), connectable=st.booleans())
    def hear(self, number, adv, level, after_ms, connectable):
        self.desk.hear(number, adv, level, after_ms, connectable)

    @rule(after_ms=st.sampled_from([1000, 40_000]))
    def wait(self, after_ms):
        self.desk.now_ms += after_ms
        self.desk.take(self.desk.model.expire(self.desk.now_ms))
        assert (self.desk.model.due_ms() or self.desk.now_ms + 1) > self.desk.now_ms

    @rule(client=CLIENTS)
    def leave(self, client):
        self.desk.take(self.desk.model.left(client, self.desk.now_ms))

    @rule(on=st.booleans())
    def power(self, on):
        for adapter in self.desk.model.adapters.values():
            self.desk.take(adapter.power(on, self.desk.now_ms))

    @rule(number=NUMBERS, paired=st.booleans(), adv=ADVS)
    def keep(self, number, paired, adv):
        for adapter in self.desk.model.adapters.values():
            self.desk.take(adapter.keep(mac(number), "known", paired, read(adv), self.desk.now_ms))

    @rule(heals=st.sampled_from(list(Heal)), stuck=st.booleans())
    def break_it(self, heals, stuck):
        for adapter in self.desk.model.adapters.values():
            adapter.stall, adapter.rejects_stops = Stall(heals), int(stuck)

    @rule(release=st.sampled_from(["5.66", "5.88"]), drops=st.booleans())
    def behave(self, release, drops):
        self.desk.model.behave(Behaviour(release=release, controller_drops_duplicates=drops))

    @rule()
    def replug(self):
        adapter = self.desk.model.adapters["hci1"]
        self.desk.take(self.desk.model.unplug("hci1"))
        assert not [path for path in self.desk.mirror.objects if "hci1" in path]
        self.desk.take(self.desk.model.plug(adapter))

    @rule(remedy=st.sampled_from([Heal.DAEMON, Heal.REBOOT]))
    def restart(self, remedy):
        self.desk.take(self.desk.model.quit())
        assert not self.desk.mirror.objects
        self.desk.take(self.desk.model.rise(remedy))

    @rule()
    def remove(self):
        for path in list(self.desk.mirror.objects):
            if names.DEVICE in self.desk.mirror.objects[path]:
                self.desk.call("RemoveDevice", path, path=path.rsplit("/", 1)[0])

    @invariant()
    def the_mirror_is_the_tree(self):
        assert self.desk.mirror.objects == {path: shown for path, shown in self.desk.model.tree().items() if shown}

    @invariant()
    def every_advertisement_is_accounted_for(self):
        for adapter in self.desk.model.adapters.values():
            counts = adapter.counts
            ends = ("told", "kept", "filtered", "duplicate", "stalled", "unscanned")
            assert counts["heard"] == sum(counts[one] for one in ends)

    @invariant()
    def discovering_is_somebody_discovering(self):
        for adapter in self.desk.model.adapters.values():
            shown = adapter.interfaces()[names.ADAPTER]
            assert shown["Discovering"] == (bool(adapter.sessions) or adapter.stuck)
            assert adapter.powered or not adapter.sessions


TestBluetoothd = Bluetoothd.TestCase


@given(st.binary(max_size=64))
def test_any_bytes_are_read(adv):
    found = read(adv)
    assert list(found.structures) == structures(adv)
    laid_out = b"".join(bytes((len(content) + 1, kind)) + content for kind, content in found.structures)
    assert adv.startswith(laid_out)
    assert found.name is None or "\0" not in found.name


AD = st.lists(st.tuples(st.sampled_from([0x16, 0xFF]), st.binary(max_size=8)), max_size=3)


@given(AD, st.sampled_from([0x16, 0xFF]), st.integers(0, 8), st.binary(min_size=1, max_size=4))
def test_a_pattern_matches_where_its_bytes_stand_and_nowhere_else(ad, kind, offset, content):
    expected = any(
        one == kind
        and len(data) >= offset + len(content)
        and all(data[offset + at] == content[at] for at in range(len(content)))
        for one, data in ad
    )
    assert Pattern(offset, kind, content).matches(ad) is expected


@given(AD.filter(bool), st.data())
def test_a_pattern_cut_out_of_an_advertisement_matches_it(ad, data):
    kind, content = data.draw(st.sampled_from(ad))
    if not content:
        return
    begin = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(begin + 1, len(content)))
    assert end <= PATTERN_MAX_BYTES
    assert Pattern(begin, kind, content[begin:end]).matches(ad)
