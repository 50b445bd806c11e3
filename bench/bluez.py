"""Just enough of BlueZ for unmodified bleak to scan: one adapter, known devices, and signals at full speed.

A process of its own, so that none of its work is counted as bleak's: `python -m bench.bluez SOCKET DEVICES SIGNALS`.
It is the bus as well (no dbus-daemon), answers what a scanner asks, and with each line on its standard input writes
the whole file SIGNALS, D-Bus messages one after the other, to the scanner.
"""

import io
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast._private.unmarshaller import Unmarshaller  # dbus-fast has no public way to be the other end

from wire.ibeacon import APPLE_COMPANY_ID

BUS = "org.freedesktop.DBus"
ADAPTER, DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
HCI = "/org/bluez/hci0"


def device_path(number: int) -> str:
    """D-Bus object of a device."""
    return f"{HCI}/dev_{_address(number).replace(':', '_')}"


def advertisement(number: int, rssi_dbm: int, payload: bytes) -> bytes:
    """The signal by which BlueZ reports one advertisement of a known device when asked for duplicates and RSSI."""
    apple = Variant("a{qv}", {APPLE_COMPANY_ID: Variant("ay", payload)})
    changed = {"RSSI": Variant("n", rssi_dbm), "ManufacturerData": apple}
    signal = Message.new_signal(
        device_path(number), f"{BUS}.Properties", "PropertiesChanged", "sa{sv}as", [DEVICE, changed, []]
    )
    return _encode(signal, 1, "org.bluez")


def _address(number: int) -> str:
    return f"C0:00:00:00:{number >> 8 & 255:02X}:{number & 255:02X}"


def _objects(devices: int) -> dict[str, dict[str, dict[str, Variant]]]:
    """What BlueZ knows at the start: the adapter, and every device seen before."""
    adapter = {
        "Address": Variant("s", "00:00:00:00:00:00"),
        "Powered": Variant("b", True),
        "Discovering": Variant("b", False),
        "Roles": Variant("as", ["central"]),
    }
    found = {HCI: {ADAPTER: adapter}}
    for number in range(devices):
        address = _address(number)
        found[device_path(number)] = {
            DEVICE: {
                "Address": Variant("s", address),
                "AddressType": Variant("s", "random"),
                "Alias": Variant("s", address.replace(":", "-")),
                "Adapter": Variant("o", HCI),
                "Paired": Variant("b", False),
                "Trusted": Variant("b", False),
                "Blocked": Variant("b", False),
                "Connected": Variant("b", False),
                "LegacyPairing": Variant("b", False),
                "UUIDs": Variant("as", []),
                "ServicesResolved": Variant("b", False),
            }
        }
    return found


def _encode(message: Message, serial: int, sender: str) -> bytes:
    message.serial, message.sender = serial, sender
    return bytes(message._marshall(False))


def _greet(stream: Any) -> None:
    """The SASL conversation before the first message, as a bus has it."""
    stream.read(1)  # NUL
    answers = {b"AUTH": b"OK 0123456789abcdef0123456789abcdef\r\n", b"NEGO": b"AGREE_UNIX_FD\r\n"}
    while (line := stream.readline()) and not line.startswith(b"BEGIN"):
        stream.write(answers.get(line[:4], b"ERROR\r\n"))
        stream.flush()


def _calls(stream: Any) -> Iterable[Message]:
    """Method calls of the scanner until it goes."""
    while len(head := stream.read(16)) == 16:
        body_bytes, _, field_bytes = struct.unpack("<III" if head[:1] == b"l" else ">III", head[4:])
        whole: Any = io.BytesIO(head + stream.read((field_bytes + 7 & ~7) + body_bytes))
        message = Unmarshaller(whole).unmarshall()
        if message is not None and message.message_type is MessageType.METHOD_CALL:
            yield message


def _answer(call: Message, devices: int) -> Message:
    match call.member:
        case "Hello":
            return Message.new_method_return(call, "s", [":1.1"])
        case "GetNameOwner":
            return Message.new_method_return(call, "s", ["org.bluez"])
        case "GetManagedObjects":
            return Message.new_method_return(call, "a{oa{sa{sv}}}", [_objects(devices)])
        case _:
            return Message.new_method_return(call)


def serve(path: str, devices: int, signals: bytes) -> None:
    """Serve one scanner until it disconnects."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)
        print("ready", flush=True)
        scanner, _ = server.accept()
    with scanner, scanner.makefile("rwb") as stream:
        _greet(stream)
        for serial, call in enumerate(_calls(stream), 2):
            stream.write(_encode(_answer(call, devices), serial, BUS if call.destination == BUS else "org.bluez"))
            stream.flush()
            if call.member == "StartDiscovery" and sys.stdin.readline():
                scanner.sendall(signals)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]).read_bytes())
