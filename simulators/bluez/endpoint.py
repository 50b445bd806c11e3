"""bluetoothd's connection to the bus: calls go into the model, its events go out, and time passes."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from simulators.bluez import names
from simulators.bluez.behaviour import Heal
from simulators.bluez.bluetoothd import Bluetoothd
from simulators.bluez.bus import PRIMARY
from simulators.bluez.codec import call_of, packet_of, values_of
from simulators.bluez.events import Ask, Event
from simulators.bluez.line import Line, bus_call, open_line
from simulators.bluez.wire import BadMessage, Kind, Packet
from wire.errors import LocalFault

PING_S = 5.0
"""A client that does not answer a ping for so long is not waited for, s."""

_RULES = (
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged'",
    "type='signal',interface='org.freedesktop.DBus.ObjectManager',member='InterfacesAdded'",
    "type='signal',interface='org.freedesktop.DBus.ObjectManager',member='InterfacesRemoved'",
)


class Endpoint:
    """Puts the model on a bus.

    Args:
        now_ms: the clock.
        keeps_time: what is due happens by itself; without it the caller calls `tick`.
    """

    ping_s = PING_S

    def __init__(self, model: Bluetoothd, now_ms: Callable[[], int], *, keeps_time: bool) -> None:
        self.model, self.now_ms = model, now_ms
        self._keeps_time = keeps_time
        self._line: Line | None = None
        self._asked: dict[int, tuple[str, str]] = {}  # serial of a GetManagedObjects → client, root
        self._clients: set[str] = set()
        self._waiters: list[tuple[Callable[[], Any], asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def connect(self, path: Path, remedy: Heal | None) -> None:
        """Come onto the bus as the owner of org.bluez; idempotent.

        Raises:
            LocalFault: there is no bus, or somebody else is org.bluez there.
        """
        if self._line is not None:
            return
        line = await open_line(path, self._received, self._lost)
        for rule in _RULES:
            await line.call(bus_call("AddMatch", "s", rule))
        answer = await line.call(bus_call("RequestName", "su", names.BLUEZ, 4))  # do not queue
        if answer.kind != Kind.RETURN or answer.args()[0][1] != PRIMARY:
            await line.close()
            raise LocalFault(f"{path}: somebody else is org.bluez there")
        self._line = line
        self.say(self.model.rise(remedy))

    async def disconnect(self, *, bus_goes: bool) -> None:
        """Leave the bus without a word; idempotent. Clients are remembered while the bus stays."""
        line = self._line
        self._forget()
        if bus_goes:
            self._clients.clear()
        if line is not None:
            await line.close()
        self.look()

    def _lost(self) -> None:
        """The bus went, and bluetoothd with it."""
        self._forget()
        self._clients.clear()
        self.model.crash()
        self.look()

    def _forget(self) -> None:
        self._line = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._asked.clear()

    def say(self, events: list[Event]) -> None:
        """Send; what is said while there is no bus is lost."""
        if self._line is None:
            return
        for event in events:
            serial = self._line.send(partial(packet_of, event))
            if isinstance(event, Ask) and event.member == "GetManagedObjects":
                self._asked[serial] = (event.client, event.path)
        self._keep_time()

    def tick(self) -> None:
        """What is due happens."""
        self.say(self.model.expire(self.now_ms()))
        self.look()

    async def delivered(self) -> None:
        """Return when every client has read what was sent so far."""
        line = self._line
        if line is not None:
            await asyncio.gather(*(self._ping(line, client) for client in sorted(self._clients)))

    async def _ping(self, line: Line, client: str) -> None:
        """A dead or deaf client is not waited for."""
        ping = Packet(Kind.CALL, 0, path="/", interface=names.PEER, member="Ping", destination=client)
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(self.ping_s):
                answer = await line.call(ping)
            if answer.sender == names.DBUS:
                self._clients.discard(client)  # it left while bluetoothd was away

    async def until(self, holds: Callable[[], Any]) -> None:
        """Return when the condition holds; it is looked at after everything that happens on the bus."""
        if holds():
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((holds, waiter))
        await waiter

    def look(self) -> None:
        """Wake whoever waits for what now holds."""
        waiting, self._waiters = self._waiters, []
        for holds, waiter in waiting:
            if waiter.done():
                continue
            if holds():
                waiter.set_result(None)
            else:
                self._waiters.append((holds, waiter))

    # -- what comes ------------------------------------------------------------------------------------------------

    def _received(self, packet: Packet) -> None:
        now_ms = self.now_ms()
        if packet.kind == Kind.CALL and packet.sender is not None:
            self._clients.add(packet.sender)
            with contextlib.suppress(BadMessage):  # a body that is not what its signature says: nobody could answer
                self.say(self.model.call(call_of(packet), now_ms))
        elif packet.kind == Kind.SIGNAL:
            self._signalled(packet, now_ms)
        elif packet.reply_serial in self._asked:
            client, root = self._asked.pop(packet.reply_serial)
            fine = packet.kind == Kind.RETURN and packet.signature == "a{oa{sa{sv}}}"
            answer = values_of(packet) if fine else []
            self.say(self.model.listed(client, root, answer[0] if answer else None, now_ms))
        self.look()

    def _signalled(self, packet: Packet, now_ms: int) -> None:
        sender, root = packet.sender or "", packet.path or "/"
        if self._line is None or sender == self._line.unique:
            return
        match packet.member, packet.signature, values_of(packet):
            case "NameOwnerChanged", "sss", [name, _, ""] if name.startswith(":") and sender == names.DBUS:
                self._clients.discard(name)
                self.say(self.model.left(name, now_ms))
            case "InterfacesAdded", "oa{sa{sv}}", [path, interfaces]:
                self.say(self.model.exported(sender, root, path, interfaces, now_ms))
            case "InterfacesRemoved", "oas", [path, _]:
                self.say(self.model.withdrawn(sender, root, path))

    # -- time ------------------------------------------------------------------------------------------------------

    def _keep_time(self) -> None:
        """Be called again when something is due."""
        due_ms = self.model.due_ms()
        if not self._keeps_time or due_ms is None:
            return
        loop = asyncio.get_running_loop()
        at_s = loop.time() + max(0, due_ms - self.now_ms()) / 1000
        if self._timer is not None:
            if self._timer.when() <= at_s:
                return
            self._timer.cancel()
        self._timer = loop.call_at(at_s, self._is_due)

    def _is_due(self) -> None:
        self._timer = None
        self.tick()
        self._keep_time()
