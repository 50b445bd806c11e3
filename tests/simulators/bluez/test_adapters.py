"""Devices, power, properties and faults, without a bus."""

import pytest

from simulators.bluez import names
from simulators.bluez.behaviour import Behaviour, Heal, Stall
from simulators.bluez.events import Changed, Removed
from tests.simulators.bluez.build import HCI0, Desk, mac
from wire.errors import BadConfig

DEVICE = HCI0 + "/dev_C0_00_00_00_00_01"


# -- devices come and go -------------------------------------------------------------------------------------------


def test_a_silent_device_goes_after_temporary_timeout_and_one_that_is_heard_stays():
    desk = Desk(temporary_timeout_s=30)
    desk.scan(Transport="le")
    desk.hear(1)
    desk.hear(2, after_ms=20_000)
    desk.hear(1, after_ms=5_000)  # nothing is told, but it is heard
    assert desk.model.due_ms() == desk.now_ms + 25_000
    desk.now_ms += 25_000
    assert desk.take(desk.model.expire(desk.now_ms)) == [Removed(HCI0 + "/dev_C0_00_00_00_00_02", (names.DEVICE,))]
    assert list(desk.hci0.devices) == [mac(1)]


def test_temporary_timeout_0_keeps_everything():
    desk = Desk(temporary_timeout_s=0)
    desk.scan(RSSI=-127)
    desk.hear(1)
    assert desk.model.due_ms() is None
    desk.hear(2, after_ms=10**9)
    assert len(desk.hci0.devices) == 2


def test_the_end_of_the_last_discovery_withdraws_rssi_and_what_nobody_can_connect_to():
    desk = Desk()
    desk.scan(RSSI=-127)
    desk.hear(1)
    desk.hear(2, connectable=False)
    events = desk.call("StopDiscovery")
    assert Changed(DEVICE, names.DEVICE, {}, ("RSSI",)) in events
    assert list(desk.hci0.devices) == [mac(1)]
    assert "RSSI" not in desk.mirror.objects[DEVICE][names.DEVICE]


def test_a_paired_device_outlives_silence_power_and_daemon():
    desk = Desk()
    desk.take(desk.hci0.keep(mac(9), "speaker", True, desk.model._read(b""), desk.now_ms))
    desk.now_ms += 10**6
    desk.take(desk.model.expire(desk.now_ms))
    desk.take(desk.hci0.power(False, desk.now_ms))
    desk.take(desk.model.quit())
    assert desk.mirror.objects == {}
    desk.take(desk.model.rise(Heal.DAEMON))
    assert desk.mirror.objects == {path: shown for path, shown in desk.model.tree().items() if shown}
    assert list(desk.hci0.devices) == [mac(9)]


def test_devices_are_removed_on_demand():
    desk = Desk()
    desk.scan(RSSI=-127)
    desk.hear()
    assert desk.answer("RemoveDevice", "/nowhere") == "DoesNotExist"
    assert desk.answer("RemoveDevice", DEVICE) is None
    assert desk.hci0.devices == {}


# -- power, rfkill, properties -------------------------------------------------------------------------------------


def set_powered(desk, value, type_="b"):
    where = {"interface": names.PROPERTIES, "types": {"": type_}}
    return desk.answer("Set", names.ADAPTER, "Powered", value, **where)


def test_switched_off_nothing_can_be_started():
    desk = Desk()
    desk.scan(RSSI=-127)
    desk.hear()
    assert set_powered(desk, False) is None
    shown = desk.mirror.objects[HCI0][names.ADAPTER]
    assert (shown["Powered"], shown["Discovering"], shown["PowerState"]) == (False, False, "off")
    assert desk.hci0.devices == {}
    answers = [desk.answer("StartDiscovery"), desk.answer("StopDiscovery"), desk.filter(RSSI=-60)]
    assert answers == ["NotReady"] * 3
    assert set_powered(desk, True) is None
    assert not desk.told()  # the discovery went with the power


def test_rfkill():
    desk = Desk()
    desk.hci0.blocked = True
    desk.take(desk.hci0.power(False, 0))
    assert set_powered(desk, True) == "Blocked"
    assert desk.mirror.objects[HCI0][names.ADAPTER]["PowerState"] == "off-blocked"


def test_properties_are_read_and_written_as_their_types_allow():
    desk = Desk()
    where = {"interface": names.PROPERTIES}
    assert desk.answer("Get", names.ADAPTER, "Powered", **where) is True
    assert desk.answer("Get", names.ADAPTER, "Colour", **where) == "InvalidArgs"
    assert desk.answer("GetAll", "x.y", **where) == "InvalidArgs"
    assert desk.answer("GetAll", names.ADAPTER, **where)["Name"] == "fake"
    assert set_powered(desk, 1, "i") == "InvalidArguments"
    assert desk.answer("Set", names.ADAPTER, "Address", "x", types={"": "s"}, **where) == "PropertyReadOnly"
    assert desk.answer("Set", names.ADAPTER, "Alias", "shop", types={"": "s"}, **where) is None
    assert desk.mirror.objects[HCI0][names.ADAPTER]["Alias"] == "shop"
    desk.scan(RSSI=-127)
    desk.hear()
    assert desk.answer("Set", names.DEVICE, "Trusted", True, path=DEVICE, types={"": "b"}, **where) is None
    assert desk.mirror.objects[DEVICE][names.DEVICE]["Trusted"] is True


def test_hci1_is_not_hci10():
    desk = Desk(adapters=["hci1", "hci10"])
    where = {"interface": names.PROPERTIES, "path": "/org/bluez/hci10", "types": {"": "b"}}
    assert desk.answer("Set", names.ADAPTER, "Powered", False, **where) is None
    assert [one.powered for one in desk.model.adapters.values()] == [True, False]


def test_there_are_no_connections():
    desk = Desk()
    desk.scan(RSSI=-127)
    desk.hear()
    assert desk.answer("Connect", path=DEVICE, interface=names.DEVICE) == "NotSupported"


def test_what_is_not_there():
    desk = Desk()
    assert desk.answer("StartDiscovery", path="/org/bluez/hci7") == "UnknownObject"
    assert desk.answer("Connect", interface=names.DEVICE) == "UnknownMethod"


# -- faults --------------------------------------------------------------------------------------------------------


def test_a_stall_may_strike_one_way_to_scan_only():
    for only, hears in (("active", [False, True]), ("passive", [True, False]), (None, [False, False])):
        desk = Desk()
        desk.watch((0, 0xFF, b"\x4c"))
        desk.hci0.stall = Stall(Heal.NEVER, only)
        desk.scan(RSSI=-127)
        found = [bool(desk.told())]
        desk.answer("StopDiscovery")
        assert [*found, bool(desk.told(rssi_dbm=-90))] == hears


@pytest.mark.parametrize(("release", "hears"), [("5.87", [False, True]), ("5.88", [True, True])])
def test_a_rejected_stop_leaves_an_adapter_that_says_it_scans_and_does_not(release, hears):
    desk = Desk(release=release)
    desk.scan(RSSI=-127)
    desk.hci0.rejects_stops = 1
    assert desk.answer("StopDiscovery") == "InProgress"
    found = []
    for _ in range(2):
        desk.scan(RSSI=-127)
        found.append(bool(desk.told()))
        assert desk.answer("StopDiscovery") is None
    assert found == hears


@pytest.mark.parametrize("bad", [{"release": "new"}, {"temporary_timeout_s": -1}, {"controller_mode": "usb"}])
def test_no_bluez_is_like_that(bad):
    with pytest.raises(BadConfig):
        Behaviour(**bad)


def test_remedies_have_an_order():
    ladder = list(Heal)
    for number, remedy in enumerate(ladder):
        assert [remedy.ends(wanted) for wanted in ladder] == [at <= number for at in range(len(ladder))]
