"""Advertisement monitors: registered, matched, found and lost, without a bus."""

import pytest

from simulators.bluez import names
from tests.simulators.bluez.build import HCI0, Desk

DEVICE = HCI0 + "/dev_C0_00_00_00_00_01"
BATTERY = bytes.fromhex("03030f18")


def test_a_monitor_is_activated_hears_its_pattern_and_leaves_with_its_client():
    desk = Desk()
    assert desk.asked(desk.watch((0, 0xFF, b"\x4c\x00\x02\x15"))) == [(":1.1", "Activate", None)]
    assert desk.asked(desk.hear(1)) == [(":1.1", "DeviceFound", DEVICE)]
    assert not desk.hear(2, BATTERY)
    desk.take(desk.model.left(":1.1", desk.now_ms))
    assert desk.hci0.mode is None


def test_monitors_are_registered_and_unregistered_once():
    desk = Desk()
    where = {"interface": names.MONITOR_MANAGER}
    desk.watch((0, 0xFF, b"\x4c"))
    assert desk.answer("RegisterMonitor", "/m", **where) == "AlreadyExists"
    assert desk.answer("UnregisterMonitor", "/m", **where) is None
    assert desk.answer("UnregisterMonitor", "/m", **where) == "DoesNotExist"
    assert desk.hci0.mode is None


def test_a_registration_is_answered_when_the_client_has_listed_its_objects():
    desk = Desk()
    events = desk.call("RegisterMonitor", "/m", interface=names.MONITOR_MANAGER)
    assert desk.asked(events) == [(":1.1", "GetManagedObjects", None)]
    shown = {"/m/1": {names.MONITOR: {"Type": "or_patterns", "Patterns": [(0, 0xFF, b"\x4c")]}}}
    reply, *asks = desk.model.listed(":1.1", "/m", shown, 0)
    assert reply.token.client == ":1.1"
    assert desk.asked(asks) == [(":1.1", "Activate", None)]
    assert [key for key in desk.hci0.monitors] == [(":1.1", "/m/1")]
    assert desk.model.withdrawn(":1.1", "/m", "/m/1") == []
    assert not desk.hci0.monitors


@pytest.mark.parametrize(
    "shown",
    [
        {"Type": "and_patterns"},
        {"Patterns": []},
        {"Patterns": [(0, 0xFF, b"")]},
        {"Patterns": [(0, 0xFF, 10**12)]},
        {"Patterns": 7},
        {"RSSILowTimeout": "long"},
        {"Patterns": [(30, 0xFF, b"ab")]},
        {"RSSIHighThreshold": -80, "RSSILowThreshold": -60},
        {"RSSILowTimeout": 301},
    ],
)
def test_a_monitor_that_cannot_be_is_released(shown):
    desk = Desk()
    assert desk.asked(desk.watch((0, 0xFF, b"\x4c"), **shown)) == [(":1.1", "Release", None)]
    assert desk.hci0.mode is None


def test_found_and_lost_by_thresholds():
    desk = Desk()
    limits = {"RSSIHighThreshold": -60, "RSSIHighTimeout": 2, "RSSILowThreshold": -70, "RSSILowTimeout": 3}
    desk.watch((0, 0xFF, b"\x4c"), **limits)

    def heard(level, after_ms):
        return [member for _, member, _ in desk.asked(desk.hear(rssi_dbm=level, after_ms=after_ms))]

    assert [heard(-50, 1000), heard(-50, 1000), heard(-50, 1000)] == [[], [], ["DeviceFound"]]
    assert [heard(-75, 1000), heard(-75, 1000), heard(-65, 1000)] == [[], [], []]  # in between it was strong again
    assert [heard(-75, 1000), heard(-75, 1500), heard(-75, 1500)] == [[], [], ["DeviceLost"]]
    assert [heard(-50, 1000), heard(-50, 2000)] == [[], ["DeviceFound"]]
    due_ms = desk.model.due_ms()
    assert due_ms == desk.now_ms + 3000
    assert desk.asked(desk.take(desk.model.expire(due_ms))) == [(":1.1", "DeviceLost", DEVICE)]


def test_switching_off_loses_what_was_found_and_keeps_the_monitor():
    desk = Desk()
    desk.watch((0, 0xFF, b"\x4c"), RSSIHighThreshold=-60, RSSIHighTimeout=1)
    desk.hear(rssi_dbm=-50)
    assert desk.asked(desk.hear(rssi_dbm=-50, after_ms=1000)) == [(":1.1", "DeviceFound", DEVICE)]
    off = desk.take(desk.hci0.power(False, desk.now_ms))
    assert desk.asked(off) == [(":1.1", "DeviceLost", DEVICE)]
    desk.take(desk.hci0.power(True, desk.now_ms))
    assert desk.told()


def test_without_experimental_there_are_no_monitors():
    desk = Desk(experimental=False)
    assert desk.answer("RegisterMonitor", "/m", interface=names.MONITOR_MANAGER) == "UnknownMethod"
