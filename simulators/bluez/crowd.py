"""Made-up transmitters: beacons that advertise at a steady rate, and change address and identity together."""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from wire.errors import BadConfig
from wire.ibeacon import Beacon, encode_ad

FADING_DB = 4.0
"""Standard deviation of the level around each beacon's own, dB: a person in a room."""

JITTER_MS = 10
"""An advertiser adds 0 to 10 ms to its interval (Core, vol 6, part B, 4.4.2.2.1), ms."""


class Heard(NamedTuple):
    """One advertisement at a time in ms from the start."""

    t_ms: int
    address: str
    adv: bytes
    rssi_dbm: int


@dataclass(frozen=True)
class Crowd:
    """`count` beacons, each `hz` times a second; every `rotate_s` (None: never) each is somebody else.

    Raises:
        BadConfig: a number that no crowd has.
    """

    count: int = 20
    hz: float = 1.0
    rotate_s: float | None = None
    prefix: bytes = bytes.fromhex("d0c41e02")
    seed: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 100_000 or not 0.01 <= self.hz <= 50 or len(self.prefix) > 16:
            raise BadConfig("a crowd has 1 to 100000 beacons, 0.01 to 50 Hz, and a prefix of at most 16 bytes")
        if self.rotate_s is not None and self.rotate_s <= 0:
            raise BadConfig("rotate_s is a time between two identities, s; leave it out for none")

    def heard(self) -> Iterator[Heard]:
        """For ever, in order of time. Equal seeds give equal crowds."""
        dice = random.Random(self.seed)
        every_ms = 1000 / self.hz
        levels = [dice.uniform(-85, -50) for _ in range(self.count)]
        shown: list[tuple[int, str, bytes]] = [(-1, "", b"")] * self.count
        due = [(dice.uniform(0, every_ms), number) for number in range(self.count)]
        heapq.heapify(due)
        while True:
            at_ms, number = due[0]
            heapq.heapreplace(due, (at_ms + every_ms + dice.uniform(0, JITTER_MS), number))
            term = 0 if self.rotate_s is None else int(at_ms / 1000 / self.rotate_s)
            if shown[number][0] != term:
                shown[number] = (term, *self._identity(dice))
            _, address, adv = shown[number]
            level = round(dice.gauss(levels[number], FADING_DB))
            yield Heard(int(at_ms), address, adv, max(-127, min(20, level)))

    def _identity(self, dice: random.Random) -> tuple[str, bytes]:
        """A non-resolvable private address (top bits 00), and the frame of a member."""
        address = bytes([dice.randrange(64)]) + dice.randbytes(5)
        body = dice.randbytes(20 - len(self.prefix))
        key = self.prefix + body
        beacon = Beacon(key[:16], int.from_bytes(key[16:18], "big"), int.from_bytes(key[18:], "big"), -59)
        return address.hex(":").upper(), encode_ad(beacon)
