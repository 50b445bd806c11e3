"""The scanner on BlueZ as it misbehaves in the field."""

import asyncio

import pytest

from edge.adapters.scanner import BeaconScanner, bluez_arguments
from simulators.bluez import FakeBlueZ
from wire.errors import LocalFault
from wire.ibeacon import Beacon, encode_ad

PREFIX = bytes.fromhex("d0c41e02")
OURS = encode_ad(Beacon(PREFIX + bytes(12), 1, 2, -59))
ADDRESS = "C0:11:22:33:44:55"


@pytest.fixture
async def radio(monkeypatch):
    async with FakeBlueZ() as found:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", found.address)
        yield found


class Ears:
    def __init__(self):
        self.levels, self.signs = [], 0
        self.scanner = BeaconScanner(
            [PREFIX], None, lambda heard: self.levels.append(heard.rssi_dbm), self._alive,
            bluez=bluez_arguments("bluez", -110),
        )  # fmt: skip

    def _alive(self):
        self.signs += 1


async def test_every_advertisement_of_a_beacon_that_stands_still_is_heard(radio):
    ears = Ears()
    await ears.scanner.start()
    for _ in range(20):
        radio.advertise(ADDRESS, OURS, -60)
    await radio.delivered()
    assert ears.levels == [-60] * 20
    await ears.scanner.stop()


async def test_a_level_that_bluez_no_longer_knows_is_no_sighting_and_no_sign_of_life(radio):
    ears = Ears()
    await ears.scanner.start()
    radio.advertise(ADDRESS, OURS, -60)
    await radio.delivered()
    signs = ears.signs
    radio.advertise(ADDRESS, OURS, -127)
    await radio.delivered()
    assert (ears.levels, ears.signs) == ([-60], signs)
    await ears.scanner.stop()


async def test_a_bluetooth_daemon_that_hangs_keeps_nobody_from_ending(radio):
    ears = Ears()
    await ears.scanner.start()
    radio.hang("StopDiscovery")
    async with asyncio.timeout(10):  # what systemd is promised
        await ears.scanner.stop()
        await ears.scanner.stop()


async def test_a_bus_that_is_lost_and_comes_back_is_used_again(radio):
    ears = Ears()
    await ears.scanner.start()
    await radio.lose_bus()
    await ears.scanner.stop()
    with pytest.raises(LocalFault, match="does not start"):
        await ears.scanner.start()
    await radio.restore_bus()
    await ears.scanner.start()
    radio.advertise(ADDRESS, OURS, -60)
    await radio.delivered()
    assert ears.levels == [-60]
    await ears.scanner.stop()
