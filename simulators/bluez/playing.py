"""Puts recorded or made-up advertisements on the air at their times, as fast as the clients can read them."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterable, Iterator

from simulators import clock
from simulators.bluez.crowd import Heard
from simulators.bluez.radio import FakeBlueZ, is_address
from wire.trace import Frame

BATCH = 500
"""Advertisements sent between two waits for the clients: bounds what is under way."""


def heard_of(frames: Iterable[Frame], scanner: str | None, counts: Counter[str]) -> Iterator[Heard]:
    """Frames of a recording, of one scanner or of all. What no radio could hear is left out and counted: `unusable`
    (an address that is none, or a level that is none), `elsewhere` (another scanner heard it)."""
    for frame in frames:
        level = frame.rssi_dbm
        if scanner is not None and frame.scanner != scanner:
            counts["elsewhere"] += 1
        elif not is_address(frame.address) or not math.isfinite(level) or not -127 <= level <= 20:
            counts["unusable"] += 1
        else:
            yield Heard(frame.t_ms, frame.address, bytes.fromhex(frame.adv), round(level))


async def play(radio: FakeBlueZ, heard: Iterable[Heard], speed: float, counts: Counter[str]) -> None:
    """To the end. `counts`: played."""
    start_s = clock.steady_s()
    for one in heard:
        wait_s = start_s + one.t_ms / 1000 / speed - clock.steady_s()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        radio.advertise(one.address, one.adv, one.rssi_dbm)
        counts["played"] += 1
        if counts["played"] % BATCH == 0:
            await radio.delivered()
    await radio.delivered()
