"""What one advertisement costs: bleak's own share, from D-Bus bytes to a callback, and everything the edge adds to it.

Both are measured in this process, through unmodified bleak on a D-Bus socket; `bench.bluez` at the other end is another
process. The presence engine's time is the corpus's, so that people are heard about once a second whatever the speed of
the test; the boot clock is read all the same, as often as the agent reads it.
"""

import asyncio
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from bleak import BleakScanner

from bench.bluez import advertisement
from bench.clock import cpu_s
from bench.stays import FLEET, key_of
from edge.adapters.clocks import clocks_of
from edge.adapters.scanner import BeaconScanner, Heard, bluez_arguments
from edge.agent import INBOX_MAX
from edge.core.health import RadioHealth
from edge.core.presence import Gates, PresenceEngine
from simulators.corpus import Advert
from wire.errors import LocalFault
from wire.ibeacon import PROXIMITY_TYPE

LONGEST_S = 60.0
"""Longest that one pass may take, s: a hundred times what it takes."""

TURN_MS = 100
"""The engine is asked this often what time has brought, ms of the corpus: no rarer than the agent of a busy shop."""

OURS, STRANGERS = FLEET[:4], bytes.fromhex("f00dcafe")
"""Prefix of our fleet's advertisements, and of anybody else's."""

BLUEZ: Any = bluez_arguments("bluez", -110)
"""What the edge asks of BlueZ by default; bleak alone asks the same."""


class Ear(Protocol):
    """Something that scans. `done` is set once `left` advertisements have been dealt with."""

    done: asyncio.Event

    async def start(self) -> None:
        """Begin to scan."""

    async def stop(self) -> None:
        """End."""


class BleakEar:
    """bleak, and a callback that does nothing but count."""

    def __init__(self, adverts: Sequence[Advert]) -> None:
        self.done = asyncio.Event()
        self._left = len(adverts)
        self._scanner = BleakScanner(self._detected, bluez=BLUEZ)
        self.start, self.stop = self._scanner.start, self._scanner.stop

    def _detected(self, _device: object, _advertisement: object) -> None:
        self._left -= 1
        if not self._left:
            self.done.set()


class EdgeEar:
    """The edge up to its outbox: scanner, inbox and engine, joined per advertisement as `edge.agent` joins them."""

    def __init__(self, adverts: Sequence[Advert]) -> None:
        self.done = asyncio.Event()
        self.facts = 0
        self._left = len(adverts)
        self._at_ms = iter([advert.at_ms for advert in adverts])
        self._turn_ms = adverts[0].at_ms
        self._inbox: deque[tuple[Heard, int]] = deque()
        self._stir = asyncio.Event()
        self._engine, self._health = PresenceEngine(Gates()), RadioHealth(90_000)
        self._clocks = clocks_of(None, 0)
        self._scanner = BeaconScanner([OURS], None, self._heard, self._alive, bluez=BLUEZ)

    def _heard(self, heard: Heard) -> None:
        if len(self._inbox) >= INBOX_MAX:
            raise LocalFault("the inbox overflows: what is lost there would cost nothing")
        self._inbox.append((heard, self._clocks.boot_ms()))
        self._stir.set()

    def _alive(self) -> None:
        self._alive_at_ms = self._clocks.boot_ms()
        if self._health.uneasy:
            self._stir.set()

    async def start(self) -> None:
        """See `Ear`."""
        await self._scanner.start()
        self._work = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """See `Ear`."""
        await self._scanner.stop()
        await self._work

    async def _run(self) -> None:
        while self._left:
            await self._stir.wait()
            self._stir.clear()
            self._turn()
        self.done.set()

    def _turn(self) -> None:
        self._left -= len(self._inbox)
        while self._inbox:
            heard, _ = self._inbox.popleft()
            now_ms = next(self._at_ms)
            if now_ms >= self._turn_ms:  # one read of the socket brings seconds of the corpus
                self.facts += len(self._engine.advance(now_ms))
                self._turn_ms = now_ms + TURN_MS
            self.facts += len(self._engine.hear(heard.key, heard.rssi_dbm, now_ms))


class StrangersEar(EdgeEar):
    """The same among strangers: nothing gets past the scanner."""

    def _alive(self) -> None:
        super()._alive()
        self._left -= 1
        if not self._left:
            self._stir.set()


def signals(adverts: Sequence[Advert], prefix: bytes) -> bytes:
    """The D-Bus signals by which BlueZ would report these advertisements."""
    made: dict[tuple[int, int], bytes] = {}
    for advert in adverts:
        name = (advert.who, advert.rssi_dbm)
        if name not in made:
            payload = PROXIMITY_TYPE + prefix + key_of(advert.who)[len(prefix) :] + b"\xc5"
            made[name] = advertisement(advert.who, advert.rssi_dbm, payload)
    return b"".join(made[advert.who, advert.rssi_dbm] for advert in adverts)


def cost_s(make: Callable[[], Ear], people: int, path: Path) -> float:
    """CPU seconds of this process from the first byte of the signals in `path` to the last that it does about them.

    Raises:
        LocalFault: not everything was heard.
    """
    with _bluez(people, path) as (peer, bus):
        before = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={bus}"
        try:
            return asyncio.run(_hear(make, peer))
        finally:
            del os.environ["DBUS_SYSTEM_BUS_ADDRESS"]
            if before is not None:
                os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = before


async def _hear(make: Callable[[], Ear], peer: "subprocess.Popen[bytes]") -> float:
    ear = make()
    await ear.start()
    assert peer.stdin is not None
    begun_s = cpu_s(os.getpid())
    peer.stdin.write(b"go\n")
    peer.stdin.flush()
    try:
        async with asyncio.timeout(LONGEST_S):
            await ear.done.wait()
    except TimeoutError:
        raise LocalFault(f"bleak did not hear everything within {LONGEST_S:.0f} s") from None
    used_s = cpu_s(os.getpid()) - begun_s
    await ear.stop()
    return used_s


@contextmanager
def _bluez(people: int, path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    bus = path.with_suffix(".sock")
    command = [sys.executable, "-m", "bench.bluez", str(bus), str(people), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer:
        assert peer.stdout is not None
        try:
            if peer.stdout.readline() != b"ready\n":
                raise LocalFault("the stand-in for BlueZ did not start")
            yield peer, bus
        finally:
            peer.kill()
            bus.unlink(missing_ok=True)
