"""Discoveries and their filters: what reaches bluetoothd, and what it tells, without a bus."""

import pytest

from simulators.bluez import names
from simulators.bluez.adapter import GAP_MS, SCAN_MS
from simulators.bluez.filters import PATHLOSS_MAX
from tests.simulators.bluez.build import FLAGS, HCI0, Desk, beacon

BATTERY = bytes.fromhex("03030f18")
POWERED_BEACON = bytes.fromhex("020af4") + beacon()  # TxPower −12 dBm
NAMED = FLAGS + b"\x04\x09abc"


# -- discovery -----------------------------------------------------------------------------------------------------


def test_a_discovery_belongs_to_its_client():
    desk = Desk()
    assert desk.answer("StopDiscovery") == "Failed"
    desk.scan(RSSI=-127)
    assert desk.answer("StartDiscovery") == "InProgress"
    desk.scan(":1.2", RSSI=-127)
    assert desk.answer("StopDiscovery") is None
    assert desk.hci0.interfaces()[names.ADAPTER]["Discovering"]
    assert desk.told()
    desk.take(desk.model.left(":1.2", desk.now_ms))
    assert not desk.mirror.objects[HCI0][names.ADAPTER]["Discovering"]
    assert not desk.told()


def test_a_filter_holds_until_its_discovery_ends():
    desk = Desk()
    desk.scan(RSSI=-127)
    desk.answer("StopDiscovery")
    desk.answer("StartDiscovery")
    assert desk.hci0.sessions == {":1.1": None}


def test_a_filter_may_change_while_it_scans():
    desk = Desk()
    desk.scan(RSSI=-70)
    assert not desk.told(rssi_dbm=-80)
    assert desk.filter(RSSI=-90) is None
    assert desk.told(rssi_dbm=-80)


@pytest.mark.parametrize(
    ("given", "types"),
    [
        ({"Colour": "red"}, {"Colour": "s"}),
        ({"RSSI": -200}, {"RSSI": "n"}),
        ({"RSSI": 30}, {"RSSI": "n"}),
        ({"RSSI": -60}, {"RSSI": "i"}),
        ({"Pathloss": PATHLOSS_MAX + 1}, {"Pathloss": "q"}),
        ({"Pathloss": 60}, {"Pathloss": "n"}),  # as bleak sends it
        ({"RSSI": -60, "Pathloss": 60}, {"RSSI": "n", "Pathloss": "q"}),
        ({"Transport": "usb"}, {"Transport": "s"}),
        ({"UUIDs": ["nonsense"]}, {"UUIDs": "as"}),
    ],
)
def test_filters_that_bluez_refuses(given, types):
    assert Desk().answer("SetDiscoveryFilter", given, types=types) == "InvalidArguments"


def test_what_a_client_may_ask_for_is_listed():
    assert Desk().answer("GetDiscoveryFilters") == [
        "UUIDs", "RSSI", "Pathloss", "Transport", "DuplicateData", "Discoverable", "Pattern",
    ]  # fmt: skip


# -- what is told --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "release", "steps"),
    [
        ({"Transport": "le"}, "5.88", [(-60, -60), (-67, None), (-68, -68), (-61, None)]),
        ({"Transport": "le"}, "5.87", [(-60, -60), (-60, -60), (-61, -61)]),
        ({"RSSI": -127}, "5.88", [(-60, -60), (-60, -60), (-61, -61)]),
        ({"Pathloss": 137}, "5.88", [(-60, -60), (-60, -60), (-61, -61)]),
        ({"Pattern": ""}, "5.88", [(-60, -60), (-61, None)]),
    ],
)
def test_which_changes_of_rssi_are_told(given, release, steps):
    desk = Desk(release=release)
    desk.scan(**given)
    for level, told in steps:
        assert desk.told(adv=POWERED_BEACON, rssi_dbm=level).get("RSSI") == told


@pytest.mark.parametrize("release", ["5.49", "5.87", "5.88", "6.0"])
def test_a_passive_scan_always_knows_the_8_db(release):
    desk = Desk(release=release)
    desk.watch((0, 0xFF, b"\x4c\x00"))
    assert desk.told()["RSSI"] == -60
    assert not desk.told(rssi_dbm=-67)
    assert desk.told(rssi_dbm=-68) == {"RSSI": -68}


def test_data_are_told_when_new_or_every_time():
    desk = Desk()
    desk.scan(Transport="le", DuplicateData=False)
    assert desk.told()["ManufacturerData"] == {0x4C: beacon()[4:]}
    assert desk.told() == {}
    assert set(desk.told(1, beacon(2))) == {"ManufacturerData"}
    desk.filter(DuplicateData=True)
    assert set(desk.told(1, beacon(2))) == {"ManufacturerData"}


def test_without_duplicates_data_of_several_companies_pile_up_and_with_them_only_the_last_stay():
    other = bytes.fromhex("05ff590001ff")
    desk = Desk()
    desk.scan(Transport="le")
    desk.hear()
    assert set(desk.told(1, other)["ManufacturerData"]) == {0x4C, 0x59}
    desk.filter(DuplicateData=True)
    assert set(desk.told(1, other)["ManufacturerData"]) == {0x59}


def test_names_uuids_and_flags():
    desk = Desk()
    desk.scan(Transport="le")
    desk.hear(1, FLAGS + b"\x03\x08ab")
    assert desk.told(1, NAMED) == {"Name": "abc", "Alias": "abc"}
    assert desk.told(1, FLAGS + b"\x03\x08ab") == {}  # a short name does not replace a whole one
    assert desk.told(1, BATTERY) == {"UUIDs": ["0000180f-0000-1000-8000-00805f9b34fb"]}
    assert desk.told(1, bytes.fromhex("02011a")) == {"AdvertisingFlags": b"\x1a"}
    assert desk.told(1, POWERED_BEACON)["TxPower"] == -12


def test_an_rssi_that_is_not_known_is_withdrawn():
    desk = Desk()
    desk.scan(RSSI=-127)
    desk.hear()
    assert desk.told(rssi_dbm=0) == {"RSSI": None}


def test_unparsed_ad_types_are_experimental():
    for experimental in (True, False):
        desk = Desk(experimental=experimental)
        desk.scan(RSSI=-127)
        assert ("AdvertisingData" in desk.told(1, b"\x03\x26\x01\x02")) is experimental


# -- what is let in ------------------------------------------------------------------------------------------------


def test_an_unfiltered_discovery_shows_only_what_says_it_is_discoverable_and_pauses():
    desk = Desk()
    desk.answer("StartDiscovery")
    assert not desk.told(1)
    assert desk.told(2, FLAGS + beacon(2))
    desk.now_ms += SCAN_MS
    assert not desk.told(3, FLAGS + beacon(3))
    assert desk.told(3, FLAGS + beacon(3), after_ms=GAP_MS)


def test_bleaks_default_filter_is_none_for_an_adapter_that_has_only_le():
    gaps = []
    for mode in ("dual", "le"):
        desk = Desk(controller_mode=mode)
        desk.scan(Transport="le", DuplicateData=False)
        desk.now_ms += SCAN_MS
        gaps.append(not desk.told(2, FLAGS + beacon(2)))
    assert gaps == [False, True]


def test_the_weakest_wish_counts_where_several_clients_scan():
    desk = Desk()
    desk.scan(":1.1", RSSI=-60)
    desk.scan(":1.2", RSSI=-80)
    assert desk.told(1, rssi_dbm=-80)
    assert not desk.told(1, rssi_dbm=-81)
    desk.scan(":1.3", DuplicateData=True)
    assert desk.told(1, rssi_dbm=-100)


def test_uuids_are_wanted_or_not():
    desk = Desk()
    desk.scan(UUIDs=["180F"])
    assert not desk.told(1)
    assert desk.told(2, BATTERY)


def test_pathloss_needs_the_power_it_was_sent_with():
    desk = Desk()
    desk.scan(Pathloss=50)
    assert "RSSI" not in desk.told(2, beacon(2), rssi_dbm=-30)
    assert desk.told(1, POWERED_BEACON, rssi_dbm=-62)["RSSI"] == -62
    assert not desk.told(1, POWERED_BEACON, rssi_dbm=-63)


def test_a_pattern_is_the_beginning_of_an_address_or_a_name():
    for pattern, heard in (("C0:00", True), ("D0", False), ("ab", True), ("abcd", False), ("", True)):
        desk = Desk()
        desk.scan(Pattern=pattern)
        assert bool(desk.told(1, NAMED)) is heard


def test_classic_discovery_hears_no_beacons():
    desk = Desk()
    desk.scan(Transport="bredr")
    assert not desk.told()


def test_a_strict_controller_reports_an_address_once_a_scan_unless_a_monitor_is_registered():
    desk = Desk(controller_drops_duplicates=True)
    desk.scan(RSSI=-127)
    assert [bool(desk.told()) for _ in range(3)] == [True, False, False]
    assert desk.told(after_ms=SCAN_MS)
    desk.watch((0, 0xFF, b"\x4c\x00"))
    assert [bool(desk.told()) for _ in range(3)] == [True, True, True]
