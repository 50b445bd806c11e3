"""A BlueZ that has nothing to think about: known devices, and prepared signals at full speed. For measuring only.

`simulators.bluez` behaves like bluetoothd and costs what that costs; this one answers what a scanner asks, and with a
line on its standard input writes the whole file SIGNALS to it. A process of its own, so that none of its work is
counted as bleak's: `python -m bench.bluez SOCKET DEVICES SIGNALS`. It is the bus as well (no dbus-daemon).
"""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulators.bluez import names
from simulators.bluez.codec import packet_of
from simulators.bluez.device import Device
from simulators.bluez.events import Changed, Properties, Reply, Token
from simulators.bluez.wire import Kind, Packet, length_of, read, write
from wire.ibeacon import APPLE_COMPANY_ID

HCI = "/org/bluez/hci0"


def device(number: int) -> Device:
    """One of the known devices."""
    address = f"C0:00:00:00:{number >> 8 & 255:02X}:{number & 255:02X}"
    return Device(f"{HCI}/dev_{address.replace(':', '_')}", HCI, address, "random")


def advertisement(number: int, rssi_dbm: int, payload: bytes) -> bytes:
    """The signal by which BlueZ reports one advertisement of a known device when asked for duplicates and RSSI."""
    changed: Properties = {"RSSI": rssi_dbm, "ManufacturerData": {APPLE_COMPANY_ID: payload}}
    return write(packet_of(Changed(device(number).path, names.DEVICE, changed), 1).sent_by(names.BLUEZ))


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
            sender = names.DBUS if call.destination == names.DBUS else names.BLUEZ
            stream.write(write(packet_of(_answer(call, devices), serial).sent_by(sender)))
            stream.flush()
            if call.member == "StartDiscovery" and sys.stdin.readline():
                scanner.sendall(signals)


def _greet(stream: Any) -> None:
    """The SASL conversation before the first message, as a bus has it."""
    stream.read(1)  # NUL
    answers = {b"AUTH": b"OK 0123456789abcdef0123456789abcdef\r\n", b"NEGO": b"AGREE_UNIX_FD\r\n"}
    while (line := stream.readline()) and not line.startswith(b"BEGIN"):
        stream.write(answers.get(line[:4], b"ERROR\r\n"))
        stream.flush()


def _calls(stream: Any) -> Iterator[Packet]:
    """Method calls of the scanner until it goes."""
    while len(head := stream.read(16)) == 16:
        packet = read(head + stream.read(length_of(head) - 16))
        if packet.kind == Kind.CALL:
            yield packet


def _answer(call: Packet, devices: int) -> Reply:
    token = Token(":1.1", call.serial)
    match call.member:
        case "Hello":
            return Reply(token, "s", (":1.1",))
        case "GetNameOwner":
            return Reply(token, "s", (names.BLUEZ,))
        case "GetManagedObjects":
            return Reply(token, "a{oa{sa{sv}}}", (_objects(devices),))
        case _:
            return Reply(token)


def _objects(devices: int) -> dict[str, dict[str, Properties]]:
    """What BlueZ knows at the start: the adapter, and every device seen before."""
    found: dict[str, dict[str, Properties]] = {HCI: {names.ADAPTER: {"Powered": True, "Roles": ["central"]}}}
    for one in map(device, range(devices)):
        found[one.path] = {names.DEVICE: one.properties(experimental=False)}
    return found


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]).read_bytes())
