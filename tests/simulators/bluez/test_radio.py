"""The fake as an object: arguments, clocks, what comes after what."""

import asyncio

import pytest

from simulators.bluez import FakeBlueZ
from simulators.bluez.line import bus_call, open_line
from simulators.bluez.wire import Kind, Packet, pack
from wire.errors import BadConfig, LocalFault

ADV = bytes.fromhex("0201060303aafe")
ADDRESS = "C0:11:22:33:44:55"
WITHIN_S = 60


async def client(radio, got=None):
    return await open_line(radio._bus.path, (got or []).append, lambda: None)


async def ask(line, member, signature="", *values, path="/org/bluez/hci0", interface="org.bluez.Adapter1"):
    call = Packet(
        Kind.CALL, 0, path=path, interface=interface, member=member, destination="org.bluez", signature=signature,
        body=pack(signature, *values),
    )  # fmt: skip
    return await asyncio.wait_for(line.call(call), WITHIN_S)


async def test_time_is_the_callers_if_the_caller_has_one():
    now_ms = [0]
    async with FakeBlueZ(now_ms=lambda: now_ms[0]) as radio:
        line = await client(radio)
        await ask(line, "StartDiscovery")
        radio.advertise(ADDRESS, ADV)
        now_ms[0] = 29_999
        radio.tick()
        assert radio.devices == [ADDRESS]
        now_ms[0] = 30_000
        radio.tick()
        assert radio.devices == []
        await line.close()


async def test_time_alone_expires_a_device():
    async with FakeBlueZ() as radio:
        radio.behave(temporary_timeout_s=0.05)
        line = await client(radio)
        await ask(line, "StartDiscovery")
        radio.advertise(ADDRESS, ADV)
        async with asyncio.timeout(WITHIN_S):
            await radio.until(lambda: not radio.devices)
        await line.close()


async def test_who_scans_is_known_until_they_leave():
    async with FakeBlueZ() as radio:
        first, second = await client(radio), await client(radio)
        await ask(first, "StartDiscovery")
        await ask(second, "StartDiscovery")
        assert radio.scanners == {first.unique, second.unique}
        await first.close()
        async with asyncio.timeout(WITHIN_S):
            await radio.until(lambda: radio.scanners == {second.unique})
        await second.close()
        async with asyncio.timeout(WITHIN_S):
            await radio.until(lambda: not radio.scanning())


async def test_a_client_that_is_deaf_or_dead_is_not_waited_for():
    async with FakeBlueZ() as radio:
        radio._endpoint.ping_s = 0.05
        deaf = await client(radio)
        await ask(deaf, "StartDiscovery")
        deaf._take = lambda packet: None
        await radio.delivered()
        await deaf.close()


async def test_somebody_else_may_be_org_bluez_already():
    async with FakeBlueZ() as radio:
        line = await client(radio)
        await radio.kill_daemon()
        assert (await line.call(bus_call("RequestName", "su", "org.bluez", 4))).args() == [("u", 1)]
        with pytest.raises(LocalFault, match="somebody else"):
            await radio.start_daemon()
        await line.close()


@pytest.mark.parametrize(
    "act",
    [
        lambda radio: radio.advertise("C0:11", ADV),
        lambda radio: radio.advertise(ADDRESS, ADV, -200),
        lambda radio: radio.advertise(ADDRESS, ADV, adapter="hci7"),
        lambda radio: radio.behave(colour="red"),
        lambda radio: radio.behave(release="new"),
        lambda radio: radio.stall("hci7"),
        lambda radio: radio.plug("hci0"),
        lambda radio: radio.plug("usb1"),
        lambda radio: radio.plug("hci16"),
        lambda radio: radio.unplug("hci1"),
        lambda radio: radio.keep("nobody"),
    ],
)
async def test_what_cannot_be_is_said_and_changes_nothing(act):
    async with FakeBlueZ() as radio:
        with pytest.raises(BadConfig):
            act(radio)
        assert radio.devices == []
        assert radio.behaviour.release == "5.88"


async def test_it_starts_as_it_was_prepared():
    radio = FakeBlueZ()
    radio.power(on=False)
    radio.stall(heals="scan")
    radio.keep(ADDRESS, paired=False)
    async with radio:
        line = await client(radio)
        assert (await ask(line, "StartDiscovery")).error_name.endswith(".NotReady")
        assert radio.stalled()
        assert radio.devices == [ADDRESS]
        await line.close()


async def test_everything_works_while_there_is_no_bus():
    radio = FakeBlueZ(adapters=["hci0", "hci1"])
    radio.keep(ADDRESS, name="speaker")
    radio.power(on=False)
    radio.advertise(ADDRESS, ADV)
    radio.tick()
    await radio.delivered()
    await radio.stop()
    assert radio.devices == [ADDRESS]


async def test_start_and_stop_are_idempotent_and_leave_nothing(tmp_path):
    radio = FakeBlueZ(path=tmp_path / "bus")
    for _ in range(2):
        await radio.start()
        await radio.start()
        assert (tmp_path / "bus").is_socket()
        await radio.stop()
        await radio.stop()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.dbus
async def test_a_dbus_daemon_that_is_killed_under_it_can_be_brought_back(tmp_path):
    async with FakeBlueZ(path=tmp_path / "bus", bus="daemon") as radio:
        line = await client(radio)
        await ask(line, "StartDiscovery")
        radio._bus._process.kill()
        async with asyncio.timeout(WITHIN_S):
            await radio.until(lambda: not radio.scanning())
        await radio.lose_bus()
        await radio.restore_bus()
        again = await client(radio)
        assert (await ask(again, "StartDiscovery")).kind == Kind.RETURN
        await line.close()
        await again.close()


async def test_a_reboot_ends_every_stall_but_one():
    async with FakeBlueZ(adapters=["hci0", "hci1"]) as radio:
        radio.stall("hci0", heals="reboot")
        radio.stall("hci1", heals="never")
        await radio.restart_daemon()
        assert radio.stalled("hci0")
        await radio.reboot()
        assert (radio.stalled("hci0"), radio.stalled("hci1")) == (False, True)
        radio.unstall("hci1")
        assert not radio.stalled("hci1")


async def test_rfkill_outlasts_everything_but_its_end():
    async with FakeBlueZ() as radio:
        line = await client(radio)
        radio.block()
        radio.power(on=True)
        await radio.restart_daemon()
        assert (await ask(line, "StartDiscovery")).error_name.endswith(".NotReady")
        radio.block(blocked=False)
        radio.power(on=True)
        assert (await ask(line, "StartDiscovery")).kind == Kind.RETURN
        await line.close()


async def test_faults_by_method_end_by_number_or_by_mending():
    async with FakeBlueZ() as radio:
        line = await client(radio)
        radio.fail("GetDiscoveryFilters", "org.example.Odd", times=1)
        assert (await ask(line, "GetDiscoveryFilters")).error_name == "org.example.Odd"
        radio.fail("GetDiscoveryFilters", "NotAuthorized", times=None)
        for _ in range(3):
            assert (await ask(line, "GetDiscoveryFilters")).error_name.endswith(".NotAuthorized")
        radio.mend()
        assert (await ask(line, "GetDiscoveryFilters")).kind == Kind.RETURN
        assert radio.calls["GetDiscoveryFilters"] == 5
        await line.close()
