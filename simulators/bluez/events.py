"""What goes into the model of bluetoothd and what comes out of it: plain values, no D-Bus library."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Properties = dict[str, Any]
"""Property name → plain value; its D-Bus type is in `names.SIGNATURES`."""


class Token(NamedTuple):
    """Names one method call until it is answered: the caller's unique name and its serial number."""

    client: str
    serial: int


@dataclass(frozen=True)
class Call:
    """A method call by a client. `body` is unpacked: a variant is its value, its type is in `types`.

    `types` gives the D-Bus signature of each variant of an `a{sv}` argument (by key) and of a `v` argument (by "").
    """

    token: Token
    path: str
    interface: str | None
    member: str
    body: tuple[Any, ...] = ()
    signature: str = ""
    types: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """The answer to a call."""

    token: Token
    signature: str = ""
    body: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """The error that answers a call."""

    token: Token
    name: str
    text: str


@dataclass(frozen=True)
class Changed:
    """PropertiesChanged."""

    path: str
    interface: str
    changed: Properties
    invalidated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Added:
    """InterfacesAdded."""

    path: str
    interfaces: dict[str, Properties]


@dataclass(frozen=True)
class Removed:
    """InterfacesRemoved."""

    path: str
    interfaces: tuple[str, ...]


@dataclass(frozen=True)
class Ask:
    """A method call by bluetoothd on an object of a client; `device` is the one argument, if any."""

    client: str
    path: str
    interface: str
    member: str
    device: str | None = None


Event = Reply | Refusal | Changed | Added | Removed | Ask
