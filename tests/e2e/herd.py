"""Many edges' lines in one process, and a gate that notes when each of them knocks. Started by `test_herd`.

`python -m tests.e2e.herd edges PORT FIRST COUNT`: real publishers, a thread each. Prints a line per connection made.
`python -m tests.e2e.herd gate PORT TARGET`: a TCP relay. Prints the time of each CONNECT, ms of a clock that runs on.
Both end with their standard input.
"""

import asyncio
import os
import random
import sys
import time

from edge.adapters.publisher import LineSettings, Listener, Publisher
from edge.adapters.system import boot_ms
from wire.messages import Status

SPREAD_S = 2.0
"""First connections within this, so that the drill begins soon."""


def edges(port, first, count):
    dice = random.SystemRandom()
    lines = []
    for number in range(first, first + count):
        name = f"e{number}"
        line = LineSettings("127.0.0.1", port, None, None, spread_s=SPREAD_S, reconnect_max_s=30)
        listener = Listener(lambda: print("in", flush=True), lambda: None, lambda leaf, payload: None)
        status = Status(v=1, edge=name, boot="b1", state="online", version="0")
        lines.append(Publisher(line, "shop", name, status, listener, dice.random, boot_ms))
    for one in lines:
        one.start()
    sys.stdin.read()


async def gate(port, target):
    async def pump(reader, writer):
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def knock(reader, writer):
        try:
            first = await reader.read(65_536)
            print(time.monotonic_ns() // 1_000_000, flush=True)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()  # the broker is away
            return
        inner_writer.write(first)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(knock, "127.0.0.1", port, backlog=2_000)
    async with server:
        await asyncio.to_thread(sys.stdin.read)
        os._exit(0)  # hundreds of open connections have nothing more to say


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    if what == "edges":
        edges(*map(int, numbers))
    else:
        asyncio.run(gate(*map(int, numbers)))
