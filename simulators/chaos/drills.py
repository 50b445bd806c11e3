"""Single misfortunes by name, each with its proof that the misfortune happened: a drill that hit nothing is broken."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from simulators.chaos import rounds
from simulators.chaos.arena import EDGES, LIFE_S, Arena
from simulators.chaos.brokers import DROPPING, STORE
from simulators.chaos.checker import Violation
from simulators.chaos.plan import Arrival, make_plan
from simulators.chaos.proxy import CALM, Faults
from simulators.town import HOST

TRAFFIC = 40
"""Messages on the wire that count as traffic in full flow."""

DROPPED_LEAST = 10
"""Messages that mosquitto must say it has dropped: more than the few of QoS 0 that nobody counts on."""

UGLY = Faults(twice=0.2, held=0.3, held_s=0.4, late=0.03, late_s=5.5, stale=0.1, cut=0.02)
"""Faults of the wire. `late_s` is beyond the 5 s after which an edge sends again, so the late copy comes second."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What a drill may be told: its seed, its rounds, the length of its pause."""

    seed: int
    rounds: int
    pause_s: float
    say: Say


@dataclass(frozen=True, slots=True)
class Drill:
    """`run` it in an arena; `mosquitto`: settings of a mosquitto that it needs, whatever broker was asked for."""

    run: Callable[[Arena, Options], Awaitable[None]]
    mosquitto: str | None = None
    rounds: int | None = None


async def dropping_broker(arena: Arena, options: Options) -> None:
    """mosquitto acknowledges and drops, twice; each time it is then killed with -9."""
    await _guests(arena, options)
    for number, lame in enumerate((_pause_hub, _kill_hub), 1):
        count = _Dropped(arena.town.mqtt_port)
        try:
            options.say(f"{number}: the hub takes nothing until mosquitto drops messages")
            wake = await lame(arena)
            dropped = await asyncio.to_thread(count.wait, LIFE_S)
        finally:
            await asyncio.to_thread(count.close)
        if dropped < DROPPED_LEAST:
            arena.broken.append(Violation("the drill hits something", f"mosquitto dropped {dropped} messages"))
        options.say(f"{number}: {dropped} messages are dropped; mosquitto is killed")
        alive = arena.sign_of_life("broker")
        await arena.kill("broker")
        wake()
        arena.town.broker.start()
        await arena.expect(alive, "mosquitto was killed")
        await _guests(arena, options)


async def empty_broker(arena: Arena, options: Options) -> None:
    """The broker comes back with nothing: no session, no subscription, no retained message, nothing queued."""
    await _guests(arena, options)
    for number, end in enumerate((arena.town.broker.stop, arena.town.broker.kill), 1):
        options.say(f"{number}: the broker is {('stopped', 'killed')[number - 1]} and its store emptied")
        alive = arena.sign_of_life("broker")
        await asyncio.to_thread(end)
        (arena.home / STORE).unlink(missing_ok=True)
        arena.town.broker.start()
        await arena.expect(alive, "the broker came back empty")
        await _guests(arena, options)


async def pause(arena: Arena, options: Options) -> None:
    """The hub stands still in the middle of the traffic, with all its connections open, then goes on."""
    await _guests(arena, options)
    options.say(f"the hub stands still for {options.pause_s:g} s")
    arena.town.hub.pause()
    await asyncio.sleep(options.pause_s)  # the pause itself
    if arena.tap.even:
        arena.broken.append(Violation("the drill hits something", "nothing waited for the hub"))
    alive = arena.sign_of_life("hub")
    arena.town.hub.resume()
    await arena.expect(alive, "the hub stood still")
    await _guests(arena, options)


async def proxy(arena: Arena, options: Options) -> None:
    """Rounds as ever, over a wire that repeats, reorders, delays, brings up the past, and breaks."""
    arena.proxy.faults = UGLY
    await rounds.play(arena, make_plan(options.seed, options.rounds, EDGES), options.say)
    await _guests(arena, options)
    counts, names = arena.proxy.counts, ("twice", "held", "late", "stale", "cut")
    await arena.tap.until(lambda: all(counts[name] for name in names), LIFE_S)
    arena.proxy.faults = CALM
    options.say("messages on the wire: " + ", ".join(f"{counts[name]} {name}" for name in names))
    for name in names:
        if not counts[name]:
            arena.broken.append(Violation("the drill hits something", f"no message was {name}"))


DRILLS = {
    "mosquitto": Drill(dropping_broker, mosquitto=DROPPING),
    "empty-broker": Drill(empty_broker),
    "pause": Drill(pause),
    "proxy": Drill(proxy, rounds=30),
}


async def _guests(arena: Arena, options: Options) -> None:
    """Eight more guests; returns when they cause traffic."""
    number = len(arena.crowd.bodies)
    dice = random.Random(f"guests {options.seed} {number}")
    kinds = ["member"] * 6 + ["refuser", "stranger"]
    arena.crowd.come(
        Arrival(f"{who}-{number + place}-drill", who, dice.choice(EDGES), dice.random() < 0.5, dice.random() < 0.5)
        for place, who in enumerate(kinds)
    )
    await arena.crowd.settle(LIFE_S)
    if not await arena.tap.more(TRAFFIC, LIFE_S):
        arena.broken.append(Violation("everything comes back", "there is no traffic"))
    arena.crowd.look_at_phones()
    arena.check()


async def _pause_hub(arena: Arena) -> Callable[[], None]:
    arena.town.hub.pause()
    return arena.town.hub.resume


async def _kill_hub(arena: Arena) -> Callable[[], None]:
    await arena.kill("hub")
    return arena.town.hub.start


class _Dropped:
    """Listens for what mosquitto says it has dropped."""

    TOPIC = "$SYS/broker/publish/messages/dropped"

    def __init__(self, port: int) -> None:
        self.count = 0
        self._some = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="dropped")
        self._client.on_connect = lambda client, *_: client.subscribe(self.TOPIC)
        self._client.on_message = lambda _c, _u, message: self._hear(int(message.payload))
        self._client.connect(HOST, port)
        self._client.loop_start()

    def wait(self, timeout_s: float) -> int:
        """How many, once there are enough, or the time is over."""
        self._some.wait(timeout_s)
        return self.count

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, count: int) -> None:
        self.count = count
        if count >= DROPPED_LEAST:
            self._some.set()
