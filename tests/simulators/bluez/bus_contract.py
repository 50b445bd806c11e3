"""What a message bus does for its clients. Inherited by ours and by the real dbus-daemon, which wrote the answers."""

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from simulators.bluez import names
from simulators.bluez.line import bus_call, open_line
from simulators.bluez.wire import Kind, Packet, Variant, pack, write
from wire.errors import LocalFault

WITHIN_S = 60
CHANGES = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='x.y.Z'"


class Client:
    """A line, and what came over it."""

    def __init__(self):
        self.got, self.news, self.lost = [], asyncio.Event(), asyncio.Event()
        self.answers = True

    async def connect(self, bus):
        self.line = await open_line(bus.path, self._receive, self.lost.set)
        return self

    def _receive(self, packet):
        self.got.append(packet)
        self.news.set()
        if packet.kind == Kind.CALL and self.answers:
            self.line.send(lambda serial: Packet(
                Kind.RETURN, serial, destination=packet.sender, reply_serial=packet.serial, signature="s",
                body=pack("s", f"answer of {self.line.unique}"),
            ))  # fmt: skip

    async def ask(self, member, signature="", *values):
        answer = await asyncio.wait_for(self.line.call(bus_call(member, signature, *values)), WITHIN_S)
        value = answer.args()[0][1] if answer.signature else None
        return value if answer.kind == Kind.RETURN else answer.error_name.rsplit(".")[-1]

    def signal(self, **fields):
        base = Packet(Kind.SIGNAL, 0, path="/a", interface="x.y", member="M", signature="s", body=pack("s", "hello"))
        self.line.send(lambda serial: replace(base, serial=serial, **fields))

    async def call(self, destination, **fields):
        return await asyncio.wait_for(
            self.line.call(Packet(Kind.CALL, 0, path="/a", member="M", destination=destination, **fields)), WITHIN_S
        )

    async def signals(self, member, count=1):
        """The first `count` signals of that name."""
        async with asyncio.timeout(WITHIN_S):
            while len(found := [one for one in self.got if one.member == member]) < count:
                self.news.clear()
                await self.news.wait()
        return found

    async def owners(self, count):
        return [tuple(value for _, value in one.args()[1:]) for one in await self.signals("NameOwnerChanged", count)]


@asynccontextmanager
async def raw(bus):
    """A connection without manners."""
    reader, writer = await asyncio.open_unix_connection(bus.path)
    try:
        async with asyncio.timeout(WITHIN_S):
            yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


class BusContract:
    """Derive, and give a fixture `bus`: a bus that runs."""

    @pytest.fixture
    async def clients(self, bus):
        found = [await Client().connect(bus) for _ in range(3)]
        yield found
        for client in found:
            await client.line.close()

    async def test_every_client_has_a_name_of_its_own_and_is_told_it(self, clients):
        assert len({client.line.unique for client in clients}) == 3
        for client in clients:
            (acquired,) = await client.signals("NameAcquired")
            assert acquired.args() == [("s", client.line.unique)]
            assert acquired.sender == names.DBUS

    async def test_a_name_is_owned_queued_for_and_passed_on(self, clients):
        one, two, three = clients
        await three.ask("AddMatch", "s", CHANGES)
        assert await three.ask("GetNameOwner", "s", "x.y.Z") == "NameHasNoOwner"
        assert await one.ask("RequestName", "su", "x.y.Z", 0) == 1
        assert await one.ask("RequestName", "su", "x.y.Z", 0) == 4
        assert await two.ask("RequestName", "su", "x.y.Z", 4) == 3
        assert await two.ask("RequestName", "su", "x.y.Z", 0) == 2
        assert await three.ask("NameHasOwner", "s", "x.y.Z")
        assert await three.ask("GetNameOwner", "s", "x.y.Z") == one.line.unique
        assert "x.y.Z" in await three.ask("ListNames")
        assert await three.ask("ListQueuedOwners", "s", "x.y.Z") == [one.line.unique, two.line.unique]
        assert await three.ask("ReleaseName", "s", "x.y.Z") == 3
        assert await one.ask("ReleaseName", "s", "x.y.Z") == 1
        assert await three.ask("GetNameOwner", "s", "x.y.Z") == two.line.unique
        await two.line.close()
        assert await three.owners(3) == [
            ("", one.line.unique), (one.line.unique, two.line.unique), (two.line.unique, ""),
        ]  # fmt: skip
        assert await three.ask("ReleaseName", "s", "x.y.Z") == 2

    async def test_a_name_can_be_taken_from_who_allows_it(self, clients):
        one, two, _ = clients
        assert await one.ask("RequestName", "su", "x.y.Z", 1) == 1
        assert await two.ask("RequestName", "su", "x.y.Z", 2) == 1
        assert await two.ask("GetNameOwner", "s", "x.y.Z") == two.line.unique
        assert [value for _, value in (await one.signals("NameLost"))[0].args()] == ["x.y.Z"]
        assert await two.ask("ReleaseName", "s", "x.y.Z") == 1
        assert await two.ask("GetNameOwner", "s", "x.y.Z") == one.line.unique

    @pytest.mark.parametrize("name", [":1.99", "org.freedesktop.DBus", "nodots"])
    async def test_what_cannot_be_owned(self, clients, name):
        assert await clients[0].ask("RequestName", "su", name, 0) == "InvalidArgs"

    async def test_signals_go_to_whoever_asked_once_and_say_who_sent_them(self, clients):
        one, two, three = clients
        for rule in ("type='signal',interface='x.y'", "type='signal',path='/a'"):
            await two.ask("AddMatch", "s", rule)
        one.signal()
        one.signal(member="Last")
        (last,) = await two.signals("Last")
        assert last.sender == one.line.unique
        assert len(await two.signals("M")) == 1
        await three.ask("GetId")
        assert not [one for one in three.got if one.interface == "x.y"]

    async def test_a_rule_taken_back_no_longer_counts(self, clients):
        one, two, _ = clients
        await two.ask("AddMatch", "s", "member='M'")
        await two.ask("AddMatch", "s", "member='Last'")
        assert await two.ask("RemoveMatch", "s", "member='M'") is None
        assert await two.ask("RemoveMatch", "s", "member='M'") == "MatchRuleNotFound"
        one.signal()
        one.signal(member="Last")
        await two.signals("Last")
        assert [packet.member for packet in two.got if packet.interface == "x.y"] == ["Last"]
        assert await two.ask("AddMatch", "s", "colour='red'") == "MatchRuleInvalid"

    async def test_a_signal_may_be_meant_for_one(self, clients):
        one, two, three = clients
        await three.ask("AddMatch", "s", "type='signal',interface='x.y',member='Other'")
        one.signal(destination=two.line.unique)
        await two.signals("M")
        assert not [packet for packet in three.got if packet.interface == "x.y"]

    async def test_calls_are_answered_by_their_destination_by_either_name(self, clients):
        one, two, _ = clients
        await two.ask("RequestName", "su", "x.y.Z", 0)
        for destination in (two.line.unique, "x.y.Z"):
            answer = await one.call(destination)
            assert answer.args() == [("s", f"answer of {two.line.unique}")]
            assert answer.sender == two.line.unique

    async def test_nobody_is_there(self, clients):
        assert (await clients[0].call("x.y.Z")).error_name.endswith(".ServiceUnknown")
        assert (await clients[0].call(":1.9999")).error_name.endswith(".ServiceUnknown")

    async def test_who_leaves_without_an_answer_leaves_an_error(self, clients):
        one, two, _ = clients
        two.answers = False
        calling = asyncio.create_task(one.call(two.line.unique))
        await two.signals("M")
        await two.line.close()
        assert (await calling).error_name.endswith(".NoReply")

    async def test_an_answer_that_nobody_asked_for_is_dropped(self, clients):
        one, two, _ = clients
        two.line.send(lambda serial: Packet(Kind.RETURN, serial, destination=one.line.unique, reply_serial=77))
        await two.ask("GetId")
        await one.ask("GetId")
        assert not [packet for packet in one.got if packet.kind == Kind.RETURN]

    async def test_a_sender_cannot_be_forged(self, clients):
        one, two, _ = clients
        await two.ask("AddMatch", "s", "member='M'")
        one.signal(sender="org.bluez")
        assert (await two.signals("M"))[0].sender == one.line.unique

    async def test_a_large_body_comes_through_as_it_was(self, clients):
        one, two, _ = clients
        await two.ask("AddMatch", "s", "member='M'")
        body = pack("a{sv}", {"x": Variant("ay", bytes(range(256)) * 4000)})
        one.signal(signature="a{sv}", body=body)
        assert (await two.signals("M"))[0].body == body

    async def test_unknown_members_and_wrong_arguments(self, clients):
        assert await clients[0].ask("Fly") == "UnknownMethod"
        assert await clients[0].ask("GetNameOwner") == "InvalidArgs"

    async def test_it_knows_its_clients(self, clients):
        one, two, _ = clients
        assert isinstance(await one.ask("GetConnectionUnixUser", "s", two.line.unique), int)
        assert await one.ask("GetConnectionUnixProcessID", "s", "x.y.Z") == "NameHasNoOwner"
        assert len(await one.ask("GetId")) == 32

    async def test_nonsense_costs_the_connection_and_nothing_else(self, bus, clients):
        one, two, three = clients
        one.line._writer.write(b"l\x01\x00\x07" + b"\xff" * 60)
        async with asyncio.timeout(WITHIN_S):
            await one.lost.wait()
        assert (await two.call(three.line.unique)).sender == three.line.unique

    @pytest.mark.parametrize(
        "lines",
        [
            b"\0AUTH EXTERNAL 393939393939\r\n",
            b"\0AUTH ANONYMOUS\r\n",
            b"\0AUTH EXTERNAL zz\r\n",
            b"\0AUTH\r\n",
            b"\0DATA\r\n",
        ],
    )
    async def test_who_claims_to_be_somebody_else_is_rejected(self, bus, lines):
        async with raw(bus) as (reader, writer):
            writer.write(lines)
            assert (await reader.readline()).startswith((b"REJECTED", b"ERROR"))
            writer.write(b"BEGIN\r\n")
            assert await reader.read() == b""

    async def test_without_hello_nobody_is_heard(self, bus):
        async with raw(bus) as (reader, writer):
            writer.write(b"\0AUTH EXTERNAL\r\nDATA\r\n")
            assert await reader.readline() == b"DATA\r\n"
            assert (await reader.readline()).startswith(b"OK ")
            writer.write(b"BEGIN\r\n" + write(replace(bus_call("GetId"), serial=1)))
            assert b"AccessDenied" in await reader.readuntil(b"registered")

    async def test_a_bus_that_is_gone_is_a_local_fault(self, bus, clients):
        await bus.stop()
        async with asyncio.timeout(WITHIN_S):
            await clients[0].lost.wait()
        with pytest.raises(LocalFault, match="no message bus"):
            await open_line(bus.path, lambda _: None, lambda: None)
