"""What real, unmodified bleak sees of the fake, whichever bus is between them. Inherited once per bus."""

import asyncio

import pytest
from bleak import BleakScanner
from bleak.exc import BleakBluetoothNotAvailableError, BleakDBusError, BleakError
from dbus_fast import DBusError
from dbus_fast.aio import MessageBus

from simulators.bluez import FakeBlueZ, Heal
from wire.ibeacon import Beacon, encode_ad

IBEACON = {"scanning_mode": "passive", "bluez": {"or_patterns": [(0, 0xFF, b"\x4c\x00\x02\x15")]}}
EVERY_RSSI = {"bluez": {"filters": {"RSSI": -127}}}
BATTERY = bytes.fromhex("03030f180416") + b"\x0f\x18\x64"
NAMED = bytes.fromhex("0201060409") + b"abc" + bytes.fromhex("020af40319c103")

WITHIN_S = 60


def adv(number=1):
    return encode_ad(Beacon(bytes(range(16)), 1, number, -59))


def address(number=1):
    return f"C0:00:00:00:{number >> 8:02X}:{number & 255:02X}"


class Ears:
    """A scanner of bleak's, and what it called back."""

    def __init__(self, **options):
        self.heard = []
        self.scanner = BleakScanner(self._hear, **options)

    def _hear(self, device, advertisement):
        self.heard.append((device.address, advertisement))

    async def __aenter__(self):
        await self.scanner.start()
        return self

    async def __aexit__(self, *_):
        await self.scanner.stop()

    @property
    def levels(self):
        return [one.rssi for _, one in self.heard]


async def settled(radio, ears, mode=None):
    """Every client has read everything; a passive scanner's monitor is active."""
    async with asyncio.timeout(WITHIN_S):
        await radio.until(lambda: radio.scanning(mode=mode))
        await radio.delivered()


class BluezContract:
    """Derive, and give `bus`."""

    bus = ""

    @pytest.fixture
    async def radio(self, monkeypatch):
        async with FakeBlueZ(bus=self.bus) as radio:
            monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.address)
            yield radio

    # -- what is heard ---------------------------------------------------------------------------------------------

    async def test_an_advertisement_arrives_with_everything_in_it(self, radio):
        async with Ears(**EVERY_RSSI) as ears:
            radio.advertise(address(), adv(), -71)
            radio.advertise(address(2), BATTERY, -50)
            radio.advertise(address(3), NAMED, -40)
            await radio.delivered()
        (who, beacon), (_, battery), (_, named) = ears.heard
        assert (who, beacon.rssi) == (address(), -71)
        assert bytes([0x1A, 0xFF, 0x4C, 0]) + beacon.manufacturer_data[0x4C] in adv()
        assert battery.service_uuids == ["0000180f-0000-1000-8000-00805f9b34fb"]
        assert battery.service_data == {"0000180f-0000-1000-8000-00805f9b34fb": b"\x64"}
        assert (named.local_name, named.tx_power) == ("abc", -12)

    @pytest.mark.parametrize(
        ("options", "after", "until"),
        [
            ({}, 10, 1000),
            ({"bluez": {"filters": {"DuplicateData": True}}}, 1000, 1000),
            (EVERY_RSSI, 1000, 1000),
            (IBEACON, 10, 10),
        ],
        ids=["defaults", "DuplicateData", "RSSI", "passive"],
    )
    @pytest.mark.parametrize("release", ["5.88", "5.87"])
    async def test_callbacks_for_1000_advertisements_of_10_beacons_that_do_not_move(
        self, radio, options, after, until, release
    ):
        radio.behave(release=release)
        ears = Ears(**options)
        async with ears:
            await settled(radio, ears)
            for step in range(1000):
                radio.advertise(address(step % 10), adv(step % 10), -60 - step % 4)
            await radio.delivered()
            assert len(ears.heard) == (after if release == "5.88" else until)

    async def test_duplicate_data_alone_brings_stale_levels_and_an_rssi_filter_exact_ones(self, radio):
        for options, expected in (
            ({"bluez": {"filters": {"DuplicateData": True}}}, [-60, -60, -60, -68]),
            (EVERY_RSSI, [-60, -63, -67, -68]),
        ):
            async with Ears(**options) as ears:
                for level in (-60, -63, -67, -68):
                    radio.advertise(address(), adv(), level)
                await radio.delivered()
                assert ears.levels == expected
            radio.forget(address())

    async def test_a_kernel_filter_keeps_the_weak_out(self, radio):
        async with Ears(bluez={"filters": {"RSSI": -70}}) as ears:
            for level in (-69, -70, -71):
                radio.advertise(address(), adv(), level)
            await radio.delivered()
        assert ears.levels == [-69, -70]

    async def test_a_passive_scan_hears_only_what_matches(self, radio):
        async with Ears(**IBEACON) as ears:
            await settled(radio, ears, "passive")
            radio.advertise(address(), adv(), -60)
            radio.advertise(address(2), BATTERY, -60)
            await radio.delivered()
        assert [who for who, _ in ears.heard] == [address()]

    async def test_nobody_scans_nothing_is_said(self, radio):
        radio.advertise(address(), adv())
        assert radio.devices == []
        assert radio.counts == {"heard": 1, "unscanned": 1}

    # -- several clients -------------------------------------------------------------------------------------------

    async def test_the_end_of_an_active_scan_calls_a_passive_one_back_with_minus_127(self, radio):
        async with Ears(**IBEACON) as passive:
            await settled(radio, passive, "passive")
            async with Ears(**EVERY_RSSI):
                radio.advertise(address(), adv(), -60)
                await radio.delivered()
            await radio.delivered()
            assert passive.levels == [-60, -127]

    # -- what is there at the start --------------------------------------------------------------------------------

    async def test_a_device_known_from_before_is_no_sighting(self, radio):
        radio.keep(address(9), name="speaker")
        async with Ears(**EVERY_RSSI) as ears:
            await radio.delivered()
            assert ears.heard == []
            radio.advertise(address(9), adv(), -60)
            await radio.delivered()
        assert ears.levels == [-60]

    # -- devices come and go ---------------------------------------------------------------------------------------

    async def test_a_silent_device_leaves_bleak_too(self, radio):
        radio.behave(temporary_timeout_s=0.2)
        async with Ears(**EVERY_RSSI) as ears:
            radio.advertise(address(), adv())
            await radio.delivered()
            assert [one.address for one in ears.scanner.discovered_devices] == [address()]
            async with asyncio.timeout(WITHIN_S):
                await radio.until(lambda: not radio.devices)
            await radio.delivered()
            assert ears.scanner.discovered_devices == []

    async def test_who_rotates_is_a_new_device_each_time(self, radio):
        async with Ears(**EVERY_RSSI) as ears:
            for turn in range(3):
                radio.advertise(address(turn), adv())
            await radio.delivered()
        assert [who for who, _ in ears.heard] == [address(0), address(1), address(2)]
        assert len({bytes(one.manufacturer_data[0x4C]) for _, one in ears.heard}) == 1

    # -- another client --------------------------------------------------------------------------------------------

    async def test_a_proxy_made_from_introspection_switches_the_adapter(self, radio):
        bus = await MessageBus(bus_address=radio.address).connect()
        node = await bus.introspect("org.bluez", "/org/bluez")
        assert [child.name for child in node.nodes] == ["hci0"]
        described = await bus.introspect("org.bluez", "/org/bluez/hci0")
        proxy = bus.get_proxy_object("org.bluez", "/org/bluez/hci0", described)
        adapter = proxy.get_interface("org.bluez.Adapter1")
        assert await adapter.get_address() == "00:00:5E:00:53:00"
        async with Ears(**EVERY_RSSI) as ears:
            await adapter.set_powered(False)
            assert not radio.scanning()
            with pytest.raises(DBusError, match="Not Ready"):
                await adapter.call_start_discovery()
            await adapter.set_powered(True)
            radio.advertise(address(), adv())
            await radio.delivered()
            with pytest.raises(BleakDBusError):
                await ears.scanner.stop()
        assert ears.heard == []
        bus.disconnect()
        await bus.wait_for_disconnect()

    async def test_a_restart_of_the_daemon_is_seen_by_the_owner_of_its_name(self, radio):
        bus = await MessageBus(bus_address=radio.address).connect()
        described = await bus.introspect("org.freedesktop.DBus", "/org/freedesktop/DBus")
        proxy = bus.get_proxy_object("org.freedesktop.DBus", "/org/freedesktop/DBus", described)
        daemon, owners, seen = proxy.get_interface("org.freedesktop.DBus"), [], asyncio.Event()

        def changed(name, old, new):
            if name == "org.bluez":
                owners.append((bool(old), bool(new)))
                seen.set()

        daemon.on_name_owner_changed(changed)
        assert await daemon.call_name_has_owner("org.bluez")
        await radio.kill_daemon()
        async with asyncio.timeout(WITHIN_S):
            await seen.wait()
        assert not await daemon.call_name_has_owner("org.bluez")
        with pytest.raises(DBusError):
            await bus.introspect("org.bluez", "/org/bluez")
        await radio.start_daemon()
        assert await daemon.call_name_has_owner("org.bluez")
        assert owners == [(True, False), (False, True)]
        bus.disconnect()
        await bus.wait_for_disconnect()

    # -- faults ----------------------------------------------------------------------------------------------------

    async def test_switched_off_bleak_says_so(self, radio):
        radio.power(on=False)
        with pytest.raises(BleakBluetoothNotAvailableError):
            await BleakScanner(lambda _device, _adv: None).start()

    @pytest.mark.parametrize("error", ["InProgress", "NotReady"])
    async def test_start_fails_as_often_as_it_shall(self, radio, error):
        radio.fail("StartDiscovery", error, times=2)
        for _ in range(2):
            with pytest.raises(BleakDBusError, match=error):
                await BleakScanner(lambda _device, _adv: None).start()
        async with Ears():
            assert radio.scanning("hci0", "active")

    @pytest.mark.parametrize("remedy", [Heal.SCAN, Heal.POWER, Heal.DAEMON])
    async def test_a_silent_stall_ends_with_its_remedy_and_not_before(self, radio, remedy):
        ears = Ears(**EVERY_RSSI)

        async def hears():
            ears.heard.clear()
            async with ears:
                radio.advertise(address(), adv(), -60)
                await radio.delivered()
                return bool(ears.heard)

        assert await hears()
        radio.stall(heals=remedy)
        if remedy is not Heal.SCAN:
            assert not await hears()
            radio.power(on=False)
            radio.power(on=True)
            await radio.delivered()
        if remedy is Heal.DAEMON:
            assert not await hears()
            await radio.restart_daemon()
            await radio.delivered()
        assert await hears()

    async def test_a_crash_of_the_daemon_leaves_a_scanner_that_is_silent_for_ever(self, radio):
        async with Ears(**EVERY_RSSI) as ears:
            await radio.restart_daemon(orderly=False)
            radio.advertise(address(), adv())
            await radio.delivered()
            with pytest.raises(BleakDBusError, match="No discovery started"):
                await ears.scanner.stop()
        async with Ears(**EVERY_RSSI) as again:
            radio.advertise(address(), adv())
            await radio.delivered()
        assert (ears.heard, again.levels) == ([], [-60])

    async def test_a_stuck_daemon_does_not_answer(self, radio):
        radio.hang("StartDiscovery")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await BleakScanner(lambda _device, _adv: None).start()
        assert radio.calls["StartDiscovery"] == 1
        async with Ears():
            assert radio.scanning()

    @pytest.mark.parametrize("release", ["5.87", "5.88"])
    async def test_bleak_recovers_from_a_rejected_stop(self, radio, release):
        radio.behave(release=release)
        radio.reject_stop()
        async with Ears(**EVERY_RSSI):
            pass
        async with Ears(**EVERY_RSSI) as again:
            radio.advertise(address(), adv())
            await radio.delivered()
        assert again.levels == [-60]

    async def test_without_experimental_a_passive_scan_says_what_is_missing(self, radio):
        radio.behave(experimental=False)
        with pytest.raises(BleakError, match="experimental"):
            await BleakScanner(lambda _device, _adv: None, **IBEACON).start()

    async def test_a_second_adapter_hears_when_the_first_is_dead(self, radio):
        radio.plug("hci1")
        radio.stall("hci0", heals=Heal.NEVER)
        async with Ears(bluez={"adapter": "hci1", "filters": {"RSSI": -127}}) as second:
            radio.advertise(address(), adv(), -60)
            await radio.delivered()
        assert second.levels == [-60]

    async def test_an_adapter_vanishes_and_returns(self, radio):
        ears = Ears(bluez={"adapter": "hci0", **EVERY_RSSI["bluez"]})
        async with ears:
            radio.advertise(address(), adv(), -60)
            await radio.delivered()
            radio.unplug()
            await radio.delivered()
            with pytest.raises(BleakError, match="not found"):
                await BleakScanner(lambda _device, _adv: None, bluez={"adapter": "hci0"}).start()
            radio.plug("hci0")
            await radio.delivered()
            radio.advertise(address(), adv(), -61)
            await radio.delivered()
            assert ears.levels == [-60]  # its discovery went with the adapter, and nobody told it
            with pytest.raises(BleakDBusError):
                await ears.scanner.stop()
        async with Ears(**EVERY_RSSI) as again:
            radio.advertise(address(), adv(), -62)
            await radio.delivered()
        assert again.levels == [-62]

    async def test_the_bus_is_lost_and_only_a_new_scanner_hears_again(self, radio):
        ears = Ears(**EVERY_RSSI)
        await ears.scanner.start()
        await radio.lose_bus()
        await radio.restore_bus()
        radio.advertise(address(), adv(), -60)
        await radio.delivered()
        with pytest.raises((BleakError, OSError, EOFError)):
            await ears.scanner.stop()
        async with Ears(**EVERY_RSSI) as again:
            radio.advertise(address(), adv(), -61)
            await radio.delivered()
        assert ears.heard == []
        assert again.levels == [-61]
