"""One edge without a network and without a radio: the real agent between stand-ins that a test holds."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

from edge.adapters.outbox import Outbox
from edge.adapters.scanner import Heard
from edge.adapters.spool import Limits
from edge.agent import Agent, Clocks, Parts
from edge.config import EdgeConfig
from wire.messages import Ack, ClockStamp, ConfigAck, Presence, Telemetry, read, write
from wire.messages import EdgeConfig as EdgeConfigMessage

BEAT_MS = 500
"""Telemetry comes this often, and last in a turn of the loop: seeing it is seeing that everything before is done."""

PATIENCE_S = 60
NOON_MS = 1_790_942_400_000
STAMP = ClockStamp(source="kernel", offset_ms=NOON_MS, error_ms=10, synced=True)
ANN, BEN = (bytes.fromhex("d0c41e02000040008000000000000000") + bytes((0, 0, 0, n)) for n in (1, 2))
BIG = Limits(max_bytes=10**9, max_age_ms=10**12)


class Radio:
    """A `Scanner` that hears what it is told to; `fault` makes the next starts fail."""

    def __init__(self):
        self.counts, self.starts, self.running, self.fault = Counter(), 0, False, None

    async def start(self):
        if self.fault is not None:
            raise self.fault
        self.starts, self.running = self.starts + 1, True

    async def stop(self):
        self.running = False

    def hear(self, key, rssi_dbm=-50.0):
        self.alive()
        self.heard(Heard(key, rssi_dbm))


class Line:
    """A `Publisher` whose other end is the test. While it is not `up` nothing leaves, but the test sees telemetry."""

    def __init__(self):
        self.counts, self.up, self.knocks, self.stopped = Counter(), False, 0, False
        self.presence, self.telemetry, self.answers = [], [], []
        self.obedient = False  # whether the hub acknowledges everything at once
        self.on_knock = lambda: None
        self.news = asyncio.Event()

    def start(self):
        self.news.set()

    def stop(self):
        self.stopped = True

    def knock(self):
        self.knocks += 1
        self.on_knock()

    def send(self, leaf, payload, qos=1):
        match leaf:
            case "telemetry":
                self.telemetry.append(read(Telemetry, payload))
            case "presence" if self.up:
                message = read(Presence, payload)
                self.presence.append(message)
                if self.obedient:
                    self.ack(message.boot, message.events[-1].seq)
            case "config/ack" if self.up:
                self.answers.append(read(ConfigAck, payload))
        self.news.set()
        return self.up

    def connect(self):
        self.up = True
        self.listener.connected()

    def ack(self, boot, upto):
        self.listener.message("ack", write(Ack(v=1, boot=boot, upto=upto)))

    def configure(self, version, **settings):
        self.listener.message("config", write(EdgeConfigMessage(v=1, version=version, settings=settings)))

    @property
    def events(self):
        """Every event that was sent, repeats left out, in order of sequence."""
        found = {(message.boot, event.seq): event for message in self.presence for event in message.events}
        return [found[name] for name in sorted(found)]

    @property
    def kinds(self):
        return [event.kind for event in self.events]


class Rig:
    """One agent on a clock that stands still until told otherwise."""

    def __init__(self, path, limits, settings):
        self.now_ms, self.hurry_ms = 1_000_000, 0
        self.radio, self.line = Radio(), Line()
        self.spool = Outbox(path, limits)
        config = EdgeConfig(
            edge="e1", store="s1", prefixes=["d0c41e02"], telemetry_s=BEAT_MS / 1000,
            **{"silent_radio_s": 3600, **settings},
        )  # fmt: skip
        self.agent = Agent(config, self.parts())

    def parts(self):
        """Everything that `edge.main` would wire, in one place."""
        return Parts(
            clocks=Clocks(self.read_clock, lambda: NOON_MS + self.now_ms, lambda: STAMP, self.read_clock),
            spool=lambda: self.spool,
            scanner=self.make_scanner,
            publisher=self.make_publisher,
            unit=lambda: 0.0,
            boot="b1",
        )

    def read_clock(self):
        self.now_ms += self.hurry_ms
        return self.now_ms

    def make_scanner(self, heard, alive):
        self.radio.heard, self.radio.alive = heard, alive
        return self.radio

    def make_publisher(self, status, listener):
        self.line.status, self.line.listener = status, listener
        return self.line

    async def start(self):
        self.running = asyncio.create_task(self.agent.run())
        self.running.add_done_callback(lambda _: self.line.news.set())
        await self.until(lambda: self.radio.running)
        await self.after()

    async def until(self, ready):
        async with asyncio.timeout(PATIENCE_S):
            while not ready():
                if self.running.done():
                    await self.running  # it died: say how
                self.line.news.clear()
                await self.line.news.wait()

    async def after(self, ms=2 * BEAT_MS):
        """Let so much time pass; what it brings has been done when this returns. The last telemetry.

        In two steps: a turn that was under way may tell before it has seen the first, but not before the second.
        """
        assert ms >= 2 * BEAT_MS
        for step_ms in (ms - BEAT_MS, BEAT_MS):
            told = len(self.line.telemetry)
            self.now_ms += step_ms
            self.line.listener.message("config", b"no configuration: it wakes the loop and changes nothing")
            await self.until(lambda told=told: len(self.line.telemetry) > told)
        return self.line.telemetry[-1]

    async def enter(self, key=ANN):
        for _ in range(3):
            self.radio.hear(key)
        return await self.after()


@asynccontextmanager
async def edge(tmp_path, limits=BIG, earlier=(), **settings):
    """A running edge; `earlier`: events that an earlier boot left in the outbox."""
    rig = Rig(tmp_path / "outbox.db", limits, settings)
    if earlier:
        rig.spool.begin("b0", STAMP, 0)
        rig.spool.append(earlier, STAMP, 0)
    try:
        await rig.start()
        yield rig
        rig.hurry_ms = 0 if rig.line.obedient else 10_000  # where nobody answers, nobody waits for answers
        rig.agent.stop()
        async with asyncio.timeout(PATIENCE_S):
            await rig.running
        assert rig.line.stopped
        assert not rig.radio.running
    finally:
        rig.running.cancel()
        await asyncio.gather(rig.running, return_exceptions=True)


# -- the way of an event -------------------------------------------------------------------------------------------
