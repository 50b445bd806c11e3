"""Between the model's plain values and D-Bus messages. Pure."""

from collections.abc import Mapping
from typing import Any

from simulators.bluez import names
from simulators.bluez.events import Added, Ask, Call, Changed, Event, Properties, Refusal, Removed, Reply, Token
from simulators.bluez.wire import NO_REPLY_EXPECTED, BadMessage, Kind, Packet, Variant, pack, plain

_BYTES = {"ManufacturerData", "ServiceData", "AdvertisingData"}


def variant(name: str, value: Any) -> Variant:
    """A property's value with its type."""
    if name in _BYTES:
        value = {key: Variant("ay", data) for key, data in value.items()}
    return Variant(names.SIGNATURES[name], value)


def variants(properties: Properties) -> dict[str, Variant]:
    """`a{sv}`."""
    return {name: variant(name, value) for name, value in properties.items()}


def _interfaces(given: Mapping[str, Properties]) -> dict[str, dict[str, Variant]]:
    return {interface: variants(properties) for interface, properties in given.items()}


def packet_of(event: Event, serial: int) -> Packet:
    """The message that carries an event."""
    match event:
        case Reply(token, signature, body):
            return Packet(
                Kind.RETURN, serial, destination=token.client, reply_serial=token.serial, signature=signature,
                body=pack(signature, *_reply_body(signature, body)),
            )  # fmt: skip
        case Refusal(token, name, text):
            return Packet(
                Kind.ERROR, serial, destination=token.client, reply_serial=token.serial, error_name=name,
                signature="s", body=pack("s", text),
            )  # fmt: skip
        case Changed(path, interface, changed, invalidated):
            told = pack("sa{sv}as", interface, variants(changed), invalidated)
            return _signal(serial, path, names.PROPERTIES, "PropertiesChanged", "sa{sv}as", told)
        case Added(path, interfaces):
            told = pack("oa{sa{sv}}", path, _interfaces(interfaces))
            return _signal(serial, names.ROOT, names.OBJECTS, "InterfacesAdded", "oa{sa{sv}}", told)
        case Removed(path, gone):
            told = pack("oas", path, gone)
            return _signal(serial, names.ROOT, names.OBJECTS, "InterfacesRemoved", "oas", told)
        case Ask(client, path, interface, member, device):
            flags = 0 if member == "GetManagedObjects" else NO_REPLY_EXPECTED  # as BlueZ's g_dbus_send_message
            return Packet(
                Kind.CALL, serial, flags, destination=client, path=path, interface=interface, member=member,
                signature="" if device is None else "o", body=b"" if device is None else pack("o", device),
            )  # fmt: skip


def _signal(serial: int, path: str, interface: str, member: str, signature: str, body: bytes) -> Packet:
    return Packet(
        Kind.SIGNAL,
        serial,
        NO_REPLY_EXPECTED,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=body,
    )


def _reply_body(signature: str, body: tuple[Any, ...]) -> tuple[Any, ...]:
    if signature == "a{sv}":
        return (variants(body[0]),)
    if signature == "a{oa{sa{sv}}}":
        return ({path: _interfaces(interfaces) for path, interfaces in body[0].items()},)
    if signature == "v":
        return (variant(*body),)
    return body


def call_of(packet: Packet) -> Call:
    """A received method call.

    Raises:
        BadMessage: its body is not what its signature says.
    """
    assert packet.sender is not None
    types: dict[str, str] = {}
    values = [value for _, value in packet.args()]
    for value in values:
        if isinstance(value, Variant):
            types[""] = value.signature
        elif isinstance(value, dict):
            types |= {key: one.signature for key, one in value.items() if isinstance(one, Variant)}
    return Call(
        token=Token(packet.sender, packet.serial),
        path=packet.path or names.ROOT,
        interface=packet.interface,
        member=packet.member or "",
        body=tuple(plain(value) for value in values),
        signature=packet.signature,
        types=types,
    )


def values_of(packet: Packet) -> list[Any]:
    """The arguments of a message by a client, without variants; none of them when it cannot be read."""
    try:
        return [plain(value) for _, value in packet.args()]
    except BadMessage:
        return []
