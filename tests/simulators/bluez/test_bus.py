"""The contract of a bus, once for ours and once for the real one; and what only ours has."""

import asyncio

import pytest

from simulators.bluez import bus as limits
from simulators.bluez.address import unix_address
from simulators.bluez.bus import Bus, Denied
from simulators.bluez.daemon import DaemonBus
from simulators.bluez.line import bus_call
from simulators.bluez.standalone import StandaloneBus
from simulators.bluez.wire import Packet
from tests.simulators.bluez.bus_contract import BusContract, Client
from wire.errors import BadConfig, LocalFault


class TestStandalone(BusContract):
    """Ours."""

    @pytest.fixture
    async def bus(self, tmp_path):
        found = StandaloneBus(tmp_path / "bus")
        await found.start()
        yield found
        await found.stop()


@pytest.mark.dbus
class TestDaemon(BusContract):
    """Debian's dbus-daemon: the contract is its behaviour, not our opinion."""

    @pytest.fixture
    async def bus(self, tmp_path):
        found = DaemonBus(tmp_path / "bus")
        await found.start()
        yield found
        await found.stop()


async def test_a_client_that_does_not_read_is_dropped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(StandaloneBus, "buffer_max_bytes", 100_000)
    bus = StandaloneBus(tmp_path / "bus")
    await bus.start()
    speaker, deaf = await Client().connect(bus), await Client().connect(bus)
    await deaf.ask("AddMatch", "s", "member='M'")
    deaf.line._reader._transport.pause_reading()
    async with asyncio.timeout(60):
        while not bus.counts["slow"]:
            speaker.signal(signature="s", body=(50_000).to_bytes(4, "little") + b"x" * 50_000 + b"\0")
            await speaker.ask("GetId")
    assert await speaker.ask("NameHasOwner", "s", deaf.line.unique) == 0
    await speaker.line.close()
    await deaf.line.close()
    await bus.stop()


def test_limits_are_errors_not_memory():
    bus = Bus("0" * 32)
    number = bus.connect(0, 0)
    bus.receive(number, numbered(bus_call("Hello"), 1))
    for at in range(limits.MAX_RULES):
        bus.receive(number, numbered(bus_call("AddMatch", "s", f"member='M{at}'"), at + 2))
    assert error(bus.receive(number, numbered(bus_call("AddMatch", "s", "member='X'"), 9999))) == "LimitsExceeded"
    for at in range(limits.MAX_NAMES):
        bus.receive(number, numbered(bus_call("RequestName", "su", f"x.n{at}", 0), at + 2))
    assert error(bus.receive(number, numbered(bus_call("RequestName", "su", "x.y", 0), 9999))) == "LimitsExceeded"
    while len(bus._connections) < limits.MAX_CONNECTIONS:
        bus.connect(0, 0)
    with pytest.raises(Denied):
        bus.connect(0, 0)


def numbered(packet, serial):
    return Packet(**{**packet.__dict__, "serial": serial})


def error(out):
    return out[0][1].error_name.rsplit(".", 1)[-1]


async def test_a_path_that_cannot_be_a_socket(tmp_path):
    with pytest.raises(BadConfig, match="107"):
        StandaloneBus(tmp_path / ("x" * 120))
    with pytest.raises(LocalFault):
        await StandaloneBus(tmp_path / "missing" / "bus").start()


def test_an_address_escapes_what_d_bus_does_not_allow(tmp_path):
    assert unix_address(tmp_path / "a b,c").endswith("a%20b%2Cc")


@pytest.mark.dbus
async def test_a_daemon_that_cannot_start_says_where(tmp_path):
    with pytest.raises(LocalFault, match="missing"):
        await DaemonBus(tmp_path / "missing" / "bus").start()
    (tmp_path / "bus").mkdir()
    with pytest.raises(LocalFault, match="does not start on"):
        await DaemonBus(tmp_path / "bus").start()
