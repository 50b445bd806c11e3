"""A TCP proxy between edges and broker that speaks MQTT: it records, and on request repeats, reorders, delays and cuts.

Only what doorchime must survive by itself is touched: presence on its way up, acks on their way down. The copies that
the proxy makes travel under packet ids of its own, and it keeps their PUBACKs to itself, so both ends see correct MQTT.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from simulators.chaos.packets import PUBACK, PUBLISH, PacketReader, kind_of, read_puback, read_publish, write_publish
from simulators.chaos.tap import Tap
from wire.errors import BadMessage, BadTopic
from wire.topics import parse_edge_topic

HOST = "127.0.0.1"

UP, DOWN = "presence", "ack"
"""What is touched in each direction: the last level of its topic."""

OWN_IDS = range(0xC000, 0x10000)
"""Packet ids of copies. paho, mosquitto and rumqttd count up from 1 and never come this far within a run."""

REMEMBERED = 200
"""Messages kept per direction to be repeated much later: some minutes of one edge."""

HELD_MAX = 1_000
"""Messages held back at once on one connection; beyond it they pass."""

_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to a message; each a probability, 0…1, and independent. Times in s."""

    twice: float = 0.0
    held: float = 0.0  # for up to `held_s`, so that others overtake it
    held_s: float = 0.5
    late: float = 0.0  # for `late_s` to twice that
    late_s: float = 5.5
    stale: float = 0.0  # an old message, of an earlier boot or connection too, is sent again behind it
    cut: float = 0.0  # the connection ends here, with all that is held


CALM = Faults()


class _Cut(Exception):
    """The dice say that the connection ends."""


class Mangler:
    """Decides what becomes of one direction's packets on one connection: touches messages of one leaf only.

    `old` is shared by all connections of the direction.
    """

    def __init__(
        self, leaf: str, faults: Callable[[], Faults], dice: random.Random, old: "deque[bytes]", counts: Counter[str]
    ) -> None:
        self._leaf, self._faults, self._dice, self._old, self._counts = leaf, faults, dice, old, counts
        self._own = 0

    def step(self, packet: bytes) -> Iterator[tuple[float, bytes]]:
        """What to send on, each after how many s.

        Raises:
            _Cut: nothing more.
        """
        if kind_of(packet) == PUBACK and read_puback(packet) in OWN_IDS:
            return
        if kind_of(packet) != PUBLISH or _leaf(read_publish(packet).topic) != self._leaf:
            yield 0.0, packet
            return
        faults = self._faults()
        if self._hits(faults.cut, "cut"):
            raise _Cut
        delay_s = 0.0
        if self._hits(faults.late, "late"):
            delay_s = faults.late_s * (1 + self._dice.random())
        elif self._hits(faults.held, "held"):
            delay_s = faults.held_s * self._dice.random()
        yield delay_s, packet
        if self._hits(faults.twice, "twice"):
            yield faults.held_s * self._dice.random(), self._copy(packet)
        if self._old and self._hits(faults.stale, "stale"):
            yield 0.0, self._copy(self._old[self._dice.randrange(len(self._old))])
        self._old.append(packet)

    def _hits(self, share: float, name: str) -> bool:
        hit = share > 0 and self._dice.random() < share
        self._counts[name] += hit
        return hit

    def _copy(self, packet: bytes) -> bytes:
        publish = read_publish(packet)
        if publish.packet_id is None:
            return packet
        self._own = (self._own + 1) % len(OWN_IDS)
        return write_publish(publish._replace(packet_id=OWN_IDS[self._own]))


class Proxy:
    """Listens on `port`, connects to `upstream_port`. `counts`: connections, unreachable, and every fault by name."""

    def __init__(self, tap: Tap, dice: random.Random) -> None:
        self.port = self.upstream_port = 0
        self.faults = CALM
        self.counts: Counter[str] = Counter()
        self._tap, self._dice = tap, dice
        self._old: dict[str, deque[bytes]] = {leaf: deque(maxlen=REMEMBERED) for leaf in (UP, DOWN)}
        self._lines: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._greet, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()  # whoever is stopped at the other end would never take the rest
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        self._writers.add(writer)
        self.counts["connections"] += 1
        try:
            up_reader, up_writer = await asyncio.open_connection(HOST, self.upstream_port)
        except OSError:
            self.counts["unreachable"] += 1
        else:
            self._writers.add(up_writer)
            await self._join((reader, writer), (up_reader, up_writer))
            await _close(up_writer)
            self._writers.discard(up_writer)
        finally:
            await _close(writer)
            self._writers.discard(writer)
            self._lines.discard(task)

    async def _join(
        self,
        edge: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        broker: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Both directions, until either ends; then both do."""
        ways = {
            asyncio.create_task(self._pump(UP, edge[0], broker[1])),
            asyncio.create_task(self._pump(DOWN, broker[0], edge[1])),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(self, leaf: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packets = PacketReader()
        mangler = Mangler(leaf, lambda: self.faults, self._dice, self._old[leaf], self.counts)
        held: set[asyncio.TimerHandle] = set()
        try:
            while data := await reader.read(_READ_BYTES):
                for packet in packets.feed(data):
                    self._note(packet)
                    for delay_s, out in mangler.step(packet):
                        self._send(writer, held, delay_s, out)
                await writer.drain()
        except (OSError, BadMessage, _Cut):
            return  # the other direction ends with this one
        finally:
            for handle in held:
                handle.cancel()

    def _note(self, packet: bytes) -> None:
        if kind_of(packet) == PUBLISH:
            publish = read_publish(packet)
            self._tap.note(publish.topic, publish.payload)

    @staticmethod
    def _send(writer: asyncio.StreamWriter, held: set[asyncio.TimerHandle], delay_s: float, packet: bytes) -> None:
        if delay_s <= 0 or len(held) >= HELD_MAX:
            writer.write(packet)
            return

        def late() -> None:
            held.discard(handle)
            if not writer.is_closing():
                writer.write(packet)

        handle = asyncio.get_running_loop().call_later(delay_s, late)
        held.add(handle)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        return


def _leaf(topic: str) -> str:
    try:
        return parse_edge_topic(topic).leaf
    except BadTopic:
        return ""
