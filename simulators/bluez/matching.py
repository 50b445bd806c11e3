"""Match rules: which messages a connection asked for (D-Bus specification, "Match Rules")."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from simulators.bluez.wire import BadMessage, Kind, Packet

MAX_RULE_BYTES = 1_024
"""Longest rule taken, bytes, as in dbus-daemon."""

_KINDS = {"method_call": Kind.CALL, "method_return": Kind.RETURN, "error": Kind.ERROR, "signal": Kind.SIGNAL}
_ARG = re.compile(r"arg(\d{1,2})(path)?")
_PATH = re.compile(r"/|(/[A-Za-z0-9_]+)+")
_NAME = re.compile(r":[A-Za-z0-9_.-]+|[A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)+")
_INTERFACE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")
_MEMBER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMESPACE = re.compile(r"[A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)*")


class BadRule(ValueError):
    """The text is no match rule."""


@dataclass(frozen=True)
class MatchRule:
    """One rule. What is None or empty is not asked about. `arg_paths` and `args`: (number, text)."""

    kind: int | None = None
    sender: str | None = None
    interface: str | None = None
    member: str | None = None
    path: str | None = None
    path_namespace: str | None = None
    destination: str | None = None
    args: tuple[tuple[int, str], ...] = ()
    arg_paths: tuple[tuple[int, str], ...] = ()
    arg0_namespace: str | None = None

    def matches(self, packet: Packet, owner: Callable[[str], str | None]) -> bool:
        """Whether the message is wanted. `owner` gives the unique name behind a well-known one."""
        if self.kind is not None and packet.kind != self.kind:
            return False
        if self.interface is not None and packet.interface != self.interface:
            return False
        if self.member is not None and packet.member != self.member:
            return False
        if self.path is not None and packet.path != self.path:
            return False
        if self.path_namespace is not None and not _within(packet.path, self.path_namespace, "/"):
            return False
        if self.sender is not None and packet.sender not in (self.sender, owner(self.sender)):
            return False
        if self.destination is not None and packet.destination not in (self.destination, owner(self.destination)):
            return False
        return self._args_match(packet)

    def _args_match(self, packet: Packet) -> bool:
        if not (self.args or self.arg_paths or self.arg0_namespace is not None):
            return True
        try:
            args = packet.args()
        except BadMessage:
            return False
        for number, text in self.args:
            if number >= len(args) or args[number] != ("s", text):
                return False
        for number, text in self.arg_paths:
            if number >= len(args) or args[number][0] not in "so" or not _related(args[number][1], text):
                return False
        if self.arg0_namespace is None:
            return True
        return bool(args) and args[0][0] == "s" and _within(args[0][1], self.arg0_namespace, ".")


def _within(name: str | None, namespace: str, separator: str) -> bool:
    if name is None:
        return False
    return name == namespace or name.startswith(namespace.rstrip("/") + separator)


def _related(one: str, other: str) -> bool:
    """Equal, or the one that ends in a slash is a prefix of the other."""
    if one.endswith("/") and other.startswith(one):
        return True
    return one == other or (other.endswith("/") and one.startswith(other))


def parse(text: str) -> MatchRule:
    """A rule as AddMatch takes it: `key='value',key=value,…`; within apostrophes a comma is a comma.

    Raises:
        BadRule: unknown key, key given twice, or a value that its key cannot have.
    """
    if len(text.encode()) > MAX_RULE_BYTES:
        raise BadRule("too long")
    given: dict[str, str] = {}
    for key, value in _tokens(text):
        if key in given:
            raise BadRule(f"{key} twice")
        if key in _FORMS and not _FORMS[key].fullmatch(value):
            raise BadRule(f"{key}={value}")
        given[key] = value
    if "path" in given and "path_namespace" in given:
        raise BadRule("path and path_namespace exclude each other")
    asked = [(found, value) for key, value in given.items() if (found := _ARG.fullmatch(key))]
    numbers = [int(found[1]) for found, _ in asked] + [0] * ("arg0namespace" in given)
    if len(set(numbers)) < len(numbers) or any(number > 63 for number in numbers):
        raise BadRule("an argument is asked about twice, or is beyond the 64th")
    return MatchRule(
        kind=_KINDS[given["type"]] if "type" in given else None,
        args=tuple(sorted((int(found[1]), value) for found, value in asked if not found[2])),
        arg_paths=tuple(sorted((int(found[1]), value) for found, value in asked if found[2])),
        arg0_namespace=given.get("arg0namespace"),
        **{key: given[key] for key in _FIELDS & given.keys()},
    )


_FORMS = {
    "type": re.compile("|".join(_KINDS)),
    "sender": _NAME,
    "interface": _INTERFACE,
    "member": _MEMBER,
    "path": _PATH,
    "path_namespace": _PATH,
    "destination": _NAME,
    "arg0namespace": _NAMESPACE,
}
_FIELDS = {"sender", "interface", "member", "path", "path_namespace", "destination"}


def _tokens(text: str) -> list[tuple[str, str]]:
    found = []
    at = 0
    while at < len(text):
        end = text.find("=", at)
        if end < 0:
            raise BadRule(f"no = after {text[at:]!r}")
        key = text[at:end].strip()
        if key not in {*_FORMS, "eavesdrop"} and not _ARG.fullmatch(key):
            raise BadRule(f"unknown key {key!r}")
        value, at = _value(text, end + 1)
        found.append((key, value))
    return found


def _value(text: str, at: int) -> tuple[str, int]:
    """A value and where the next key begins. Outside apostrophes `\\'` is an apostrophe."""
    out = []
    quoted = False
    while at < len(text):
        char = text[at]
        if quoted:
            if char == "'":
                quoted = False
            else:
                out.append(char)
        elif char == "'":
            quoted = True
        elif char == ",":
            return "".join(out), at + 1
        elif char == "\\" and text[at + 1 : at + 2] == "'":
            out.append("'")
            at += 1
        else:
            out.append(char)
        at += 1
    if quoted:
        raise BadRule("an apostrophe is not closed")
    return "".join(out), at
