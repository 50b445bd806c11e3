"""A message bus without sockets: names, match rules, routing (D-Bus specification, "Message Bus Specification").

Packets go in with the connection that sent them, and come out with the connection that shall get them. What the system
bus has beside this (policy files, activation, file descriptors, monitoring) it does not have.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulators.bluez import names
from simulators.bluez.introspection import describe_bus
from simulators.bluez.matching import BadRule, MatchRule, parse
from simulators.bluez.wire import Kind, Packet, pack

MAX_CONNECTIONS = 256
MAX_RULES = 512
MAX_NAMES = 512
MAX_PENDING = 4_096
"""Per connection, but for the first; as dbus-daemon limits its system bus, pending replies less tightly."""

ERROR = "org.freedesktop.DBus.Error."

ALLOW_REPLACEMENT, REPLACE_EXISTING, DO_NOT_QUEUE = 1, 2, 4
PRIMARY, IN_QUEUE, EXISTS, ALREADY_OWNER = 1, 2, 3, 4
RELEASED, NON_EXISTENT, NOT_OWNER = 1, 2, 3

Out = list[tuple[int, Packet]]


class Denied(Exception):
    """The bus answers with an error."""

    def __init__(self, word: str, text: str) -> None:
        super().__init__(text)
        self.name = ERROR + word


@dataclass
class Connection:
    """One client of the bus; `unique` is None until it said Hello."""

    number: int
    uid: int
    pid: int
    unique: str | None = None
    rules: list[MatchRule] = field(default_factory=list)
    pending: set[int] = field(default_factory=set)
    """Serial numbers of its calls that wait for an answer."""


@dataclass
class _Claim:
    connection: int
    flags: int


class Bus:
    """The router. `guid`: 32 hexadecimal digits that name this bus."""

    def __init__(self, guid: str) -> None:
        self.guid = guid
        self._connections: dict[int, Connection] = {}
        self._by_name: dict[str, int] = {}
        self._claims: dict[str, deque[_Claim]] = {}
        self._awaited: dict[tuple[int, int], int] = {}  # (caller, serial) → who shall answer
        self._next = 0
        self._serial = 0

    def connect(self, uid: int, pid: int) -> int:
        """A new connection.

        Raises:
            Denied: there are too many.
        """
        if len(self._connections) >= MAX_CONNECTIONS:
            raise Denied("LimitsExceeded", "too many connections")
        self._next += 1
        self._connections[self._next] = Connection(self._next, uid, pid)
        return self._next

    def disconnect(self, number: int) -> Out:
        """A connection ended: its names pass on, who waited for it is told."""
        gone = self._connections.pop(number)
        out: Out = []
        for name in [name for name, queue in self._claims.items() if any(one.connection == number for one in queue)]:
            out += self._give_up(name, number)
        for key in [key for key, callee in self._awaited.items() if number in (key[0], callee)]:
            if self._awaited.pop(key) == number and key[0] in self._connections:
                self._connections[key[0]].pending.discard(key[1])
                text = "Message recipient disconnected from message bus without replying"
                out.append((key[0], self._error(key[0], key[1], ERROR + "NoReply", text)))
        if gone.unique is not None:
            del self._by_name[gone.unique]
            out += self._owner_changed(gone.unique, gone.unique, "")
        return out

    def owner(self, name: str) -> str | None:
        """Unique name of the owner."""
        number = self._number(name)
        return name if name == names.DBUS else None if number is None else self._connections[number].unique

    def receive(self, number: int, packet: Packet) -> Out:
        """Route one packet.

        Raises:
            BadMessage: its body cannot be read; the connection must be closed.
        """
        sender = self._connections[number]
        to_bus = packet.destination == names.DBUS and packet.kind == Kind.CALL
        if sender.unique is None:
            if to_bus and packet.member == "Hello":
                return self._hello(sender, packet)
            text = "Client tried to send a message other than Hello without being registered"
            return [(number, self._error(number, packet.serial, ERROR + "AccessDenied", text))]
        packet = packet.sent_by(sender.unique)
        if to_bus:
            return self._asked(sender, packet)
        out: Out = []
        if packet.destination is not None:
            out += self._deliver(sender, packet)
        if packet.kind == Kind.SIGNAL and packet.destination is None:
            out += self._broadcast(packet)
        return out

    # -- routing ---------------------------------------------------------------------------------------------------

    def _deliver(self, sender: Connection, packet: Packet) -> Out:
        assert packet.destination is not None
        number = self._number(packet.destination)
        if packet.kind in (Kind.RETURN, Kind.ERROR):
            assert packet.reply_serial is not None
            if number is None or self._awaited.pop((number, packet.reply_serial), None) is None:
                return []  # nobody asked
            self._connections[number].pending.discard(packet.reply_serial)
            return [(number, packet)]
        if number is None:
            if not packet.expects_reply:
                return []
            text = f"The name {packet.destination} was not provided by any .service files"
            return [(sender.number, self._error(sender.number, packet.serial, ERROR + "ServiceUnknown", text))]
        if packet.expects_reply:
            if len(sender.pending) >= MAX_PENDING:
                text = "too many calls wait for an answer"
                return [(sender.number, self._error(sender.number, packet.serial, ERROR + "LimitsExceeded", text))]
            sender.pending.add(packet.serial)
            self._awaited[sender.number, packet.serial] = number
        return [(number, packet)]

    def _broadcast(self, packet: Packet) -> Out:
        return [
            (one.number, packet)
            for one in self._connections.values()
            if one.unique is not None and any(rule.matches(packet, self.owner) for rule in one.rules)
        ]

    def _number(self, name: str) -> int | None:
        if name in self._by_name:
            return self._by_name[name]
        queue = self._claims.get(name)
        return queue[0].connection if queue else None

    # -- what the bus itself says ----------------------------------------------------------------------------------

    def _own(self, kind: Kind, to: int, **fields: Any) -> Packet:
        self._serial += 1
        unique = self._connections[to].unique
        return Packet(kind, self._serial, flags=1, sender=names.DBUS, destination=unique, **fields)

    def _error(self, to: int, serial: int, name: str, text: str) -> Packet:
        return self._own(
            Kind.ERROR, to, error_name=name, reply_serial=serial, signature="s", body=pack("s", text)
        )  # fmt: skip

    def _notice(self, to: int, member: str, name: str) -> tuple[int, Packet]:
        return to, self._own(
            Kind.SIGNAL, to, path=names.DBUS_PATH, interface=names.DBUS, member=member, signature="s",
            body=pack("s", name),
        )  # fmt: skip

    def _owner_changed(self, name: str, old: str, new: str) -> Out:
        self._serial += 1
        return self._broadcast(Packet(
            Kind.SIGNAL, self._serial, flags=1, sender=names.DBUS, path=names.DBUS_PATH, interface=names.DBUS,
            member="NameOwnerChanged", signature="sss", body=pack("sss", name, old, new),
        ))  # fmt: skip

    # -- what it is asked ------------------------------------------------------------------------------------------

    def _hello(self, sender: Connection, packet: Packet) -> Out:
        unique = f":1.{sender.number}"
        sender.unique, self._by_name[unique] = unique, sender.number
        return [
            self._answer(sender, packet, "s", unique),
            self._notice(sender.number, "NameAcquired", unique),
            *self._owner_changed(unique, "", unique),
        ]

    def _answer(self, sender: Connection, packet: Packet, signature: str = "", *values: Any) -> tuple[int, Packet]:
        body = pack(signature, *values)
        reply = self._own(Kind.RETURN, sender.number, reply_serial=packet.serial, signature=signature, body=body)
        return sender.number, reply

    def _asked(self, sender: Connection, packet: Packet) -> Out:
        member = packet.member or ""
        takes = "" if member == "Introspect" else names.METHODS[names.DBUS].get(member, (None,))[0]
        try:
            if takes is None:
                raise Denied("UnknownMethod", f"org.freedesktop.DBus does not understand message {member}")
            if packet.signature != takes:
                raise Denied("InvalidArgs", f"{member} takes ({takes})")
            out = self._methods()[member](sender, packet, *(value for _, value in packet.args()))
        except Denied as denied:
            out = [(sender.number, self._error(sender.number, packet.serial, denied.name, str(denied)))]
        if not packet.expects_reply:
            out = [(to, one) for to, one in out if one.kind == Kind.SIGNAL]
        return out

    def _methods(self) -> dict[str, Callable[..., Out]]:
        def simply(signature: str, value: Callable[..., Any]) -> Callable[..., Out]:
            return lambda who, call, *args: [self._answer(who, call, signature, value(*args))]

        return {
            "AddMatch": self._add_match,
            "GetConnectionUnixProcessID": simply("u", lambda name: self._peer(name).pid),
            "GetConnectionUnixUser": simply("u", lambda name: self._peer(name).uid),
            "GetId": simply("s", lambda: self.guid),
            "GetMachineId": simply("s", lambda: self.guid),
            "GetNameOwner": self._get_name_owner,
            "Hello": self._hello_again,
            "Introspect": simply("s", describe_bus),
            "ListActivatableNames": simply("as", lambda: [names.DBUS]),
            "ListNames": simply("as", lambda: [names.DBUS, *self._claims, *self._by_name]),
            "ListQueuedOwners": self._list_queued,
            "NameHasOwner": simply("b", lambda name: self.owner(name) is not None),
            "Ping": lambda who, call: [self._answer(who, call)],
            "ReleaseName": self._release_name,
            "RemoveMatch": self._remove_match,
            "RequestName": self._request_name,
            "StartServiceByName": self._activate,
        }

    def _hello_again(self, sender: Connection, packet: Packet) -> Out:
        raise Denied("Failed", "Already handled an Hello message")

    def _peer(self, name: str) -> Connection:
        number = self._number(name)
        if number is None:
            raise Denied("NameHasNoOwner", f"Could not get the peer of name '{name}': no such name")
        return self._connections[number]

    def _get_name_owner(self, sender: Connection, packet: Packet, name: str) -> Out:
        owner = self.owner(name)
        if owner is None:
            raise Denied("NameHasNoOwner", f"Could not get owner of name '{name}': no such name")
        return [self._answer(sender, packet, "s", owner)]

    def _list_queued(self, sender: Connection, packet: Packet, name: str) -> Out:
        waiting = [self._connections[one.connection].unique for one in self._claims.get(name, ())]
        if not waiting:
            waiting = [self._peer(name).unique]
        return [self._answer(sender, packet, "as", waiting)]

    def _activate(self, sender: Connection, packet: Packet, name: str, flags: int) -> Out:
        if self.owner(name) is None:
            raise Denied("ServiceUnknown", f"The name {name} was not provided by any .service files")
        return [self._answer(sender, packet, "u", 2)]  # already running

    def _add_match(self, sender: Connection, packet: Packet, text: str) -> Out:
        if len(sender.rules) >= MAX_RULES:
            raise Denied("LimitsExceeded", f"a connection has at most {MAX_RULES} match rules")
        sender.rules.append(_rule(text))
        return [self._answer(sender, packet)]

    def _remove_match(self, sender: Connection, packet: Packet, text: str) -> Out:
        rule = _rule(text)
        if rule not in sender.rules:
            raise Denied("MatchRuleNotFound", "The given match rule wasn't found and can't be removed")
        sender.rules.remove(rule)
        return [self._answer(sender, packet)]

    # -- well-known names ------------------------------------------------------------------------------------------

    def _request_name(self, sender: Connection, packet: Packet, name: str, flags: int) -> Out:
        if name.startswith(":") or name == names.DBUS or "." not in name:
            raise Denied("InvalidArgs", f"Cannot acquire the name '{name}'")
        if name not in self._claims and len(self._claims) >= MAX_NAMES:
            raise Denied("LimitsExceeded", "too many names")
        queue = self._claims.setdefault(name, deque())
        claim = _Claim(sender.number, flags)
        if not queue:
            queue.append(claim)
            return self._acquired(name, "", sender, [self._answer(sender, packet, "u", PRIMARY)])
        holder = queue[0]
        if holder.connection == sender.number:
            holder.flags = flags
            return [self._answer(sender, packet, "u", ALREADY_OWNER)]
        for one in [one for one in queue if one.connection == sender.number]:
            queue.remove(one)
        if holder.flags & ALLOW_REPLACEMENT and flags & REPLACE_EXISTING:
            if holder.flags & DO_NOT_QUEUE:
                queue.popleft()
            queue.appendleft(claim)
            old = self._connections[holder.connection]
            lost = [self._notice(old.number, "NameLost", name), self._answer(sender, packet, "u", PRIMARY)]
            return self._acquired(name, old.unique or "", sender, lost)
        if flags & DO_NOT_QUEUE:
            return [self._answer(sender, packet, "u", EXISTS)]
        queue.append(claim)
        return [self._answer(sender, packet, "u", IN_QUEUE)]

    def _acquired(self, name: str, old: str, new: Connection, first: Out) -> Out:
        return [
            *self._owner_changed(name, old, new.unique or ""), self._notice(new.number, "NameAcquired", name), *first,
        ]  # fmt: skip

    def _release_name(self, sender: Connection, packet: Packet, name: str) -> Out:
        queue = self._claims.get(name)
        if not queue:
            return [self._answer(sender, packet, "u", NON_EXISTENT)]
        if all(one.connection != sender.number for one in queue):
            return [self._answer(sender, packet, "u", NOT_OWNER)]
        return [*self._give_up(name, sender.number), self._answer(sender, packet, "u", RELEASED)]

    def _give_up(self, name: str, number: int) -> Out:
        """A connection no longer claims a name; the next in the queue gets it."""
        queue = self._claims[name]
        owned = queue[0].connection == number
        for one in [one for one in queue if one.connection == number]:
            queue.remove(one)
        if not queue:
            del self._claims[name]
        if not owned:
            return []
        old = f":1.{number}"
        heir = self._connections[queue[0].connection] if queue else None
        out = self._owner_changed(name, old, "" if heir is None else heir.unique or "")
        if number in self._connections:
            out.append(self._notice(number, "NameLost", name))
        if heir is not None:
            out.append(self._notice(heir.number, "NameAcquired", name))
        return out


def _rule(text: str) -> MatchRule:
    try:
        return parse(text)
    except BadRule as exc:
        raise Denied("MatchRuleInvalid", f"match rule: {exc}") from exc
