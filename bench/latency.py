"""How long it takes: from a presence message to the committed decision, and from an advertisement to the phone.

*publish to decision*: presence messages of one event leave at 200 a second; every tenth lets somebody in whom an offer
awaits. From the moment such a message is handed to the socket to the hub's `ack` for it, which leaves after the commit
that holds the decision. On tmpfs, and on disk beside the fdatasync of that disk in the same run.

*advertisement to push*: a real edge hears people come, while other edges report 1,000 events a second. From the
advertisement that satisfied the edge's gate (the `enter` names its instant) to the push at a subscriber of the phone's
topic: edge, its outbox, broker, hub, commit, broker.
"""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import traffic
from bench.clock import boot_ms, now_ms, steady_s
from bench.crowd import PREFIX, Person, edge_name, person
from bench.hub import start_hub
from bench.listener import ACKS, PUSHES, Listener
from bench.measure import Outcome, Say, in_memory, on_disk, percentile, rounded
from bench.processes import Process, start_broker
from bench.publisher import Out, Publisher
from simulators.feed import Feed
from wire import topics
from wire.errors import LocalFault
from wire.ibeacon import Beacon, encode_ad, parse_uuid
from wire.messages import Presence, read
from wire.trace import Frame

RATE_HZ = 200
"""Messages a second for publish to decision: what the peers were measured at."""

LOAD_HZ = 1_000
"""Events a second beside the people of the real edge."""

LOAD_BATCH = 10
"""Events a message of that load: what an edge gathers while a commit takes 10 ms."""

ENTER_EVERY = 10
"""One message in so many lets somebody in; the others are samples of people inside."""

ADVERT_S = 0.1
"""Between two advertisements of one person, s: the fast end of what phones do."""

COME_EVERY_S = 0.2
"""Between two people at the real edge, s: five a second, a busy door."""

STORE = "ams"
EDGE = edge_name(STORE, "door")
"""Where the real edge stands; the load comes from the other stores."""

LEVEL_DBM = -45.0
"""Strong: two advertisements satisfy the gate."""

SYNC_BYTES = 4096
SYNCS = 200

ARRIVE_S = 60.0
"""Longest wait for what is still on its way at the end, s."""


class Length(NamedTuple):
    """How long each part is measured, s."""

    paced_s: float
    disk_s: float
    door_s: float


QUICK = Length(6, 3, 6)
FULL = Length(40, 20, 40)


def run(quick: bool, say: Say) -> Outcome:
    """Measure all three."""
    length = QUICK if quick else FULL
    figures: dict[str, float] = {}
    with in_memory() as folder:
        say(f"publish to decision, in memory, {length.paced_s:.0f} s at {RATE_HZ} messages a second")
        figures |= _named("publish_to_decision", _paced(folder, length.paced_s, say))
    with on_disk() as folder:
        say(f"publish to decision, on disk, {length.disk_s:.0f} s")
        figures |= _named("fdatasync", _syncs_ms(folder))
        figures |= _named("publish_to_decision_disk", _paced(folder, length.disk_s, say))
    with in_memory() as folder:
        say(f"advertisement to push, {length.door_s:.0f} s beside {LOAD_HZ} events a second")
        figures |= _named("advert_to_push", _door(folder, length.door_s, say))
    return Outcome(figures)


def _named(name: str, values_ms: Sequence[float]) -> dict[str, float]:
    found = {f"{name}_p50_ms": percentile(values_ms, 0.5), f"{name}_p99_ms": percentile(values_ms, 0.99)}
    return {key: rounded(value) for key, value in found.items()} | {f"{name}_n": float(len(values_ms))}


class _Bed(NamedTuple):
    publisher: Publisher
    port: int
    hub: Process


@contextmanager
def _bed(folder: Path, people: Sequence[Person], listen: Callable[[int], Listener], say: Say) -> Iterator[_Bed]:
    """A broker, a hub that answers, and a publisher."""
    with ExitStack() as stack:
        broker, port = start_broker(folder, say)
        stack.enter_context(broker)
        listener = listen(port)
        stack.callback(listener.close)
        publisher = Publisher(port, "bench-publisher")
        stack.callback(publisher.close)
        hub = start_hub(folder, port, people)
        stack.enter_context(hub.process)
        hub.wait_answering(publisher, listener)
        yield _Bed(publisher, port, hub.process)
        hub.audit()


def _beat(start_s: float, count: int, rate_hz: float) -> None:
    """Return when message number `count` is due."""
    threading.Event().wait(max(0.0, start_s + count / rate_hz - steady_s()))


# -- publish to decision ---------------------------------------------------------------------------------------------


class Answers:
    """When each sequence number of one edge was sent, and answered."""

    def __init__(self) -> None:
        self.sent_s: dict[int, float] = {}
        self.took_ms: dict[int, float] = {}
        self._upto = 0

    def take(self, upto: int, at_s: float) -> None:
        """An ack: everything up to it is committed."""
        for seq in range(self._upto + 1, upto + 1):
            self.took_ms[seq] = 1000 * (at_s - self.sent_s[seq])
        self._upto = max(self._upto, upto)


def _paced(folder: Path, length_s: float, say: Say) -> list[float]:
    """ms from publish to the ack of every message that led to a decision."""
    count = int(length_s * RATE_HZ)
    people = [one for one in map(person, range(count)) if one.consenting][: count // ENTER_EVERY + 1]
    boot, answers = "latency", Answers()

    def heard(topic: str, payload: bytes, at_s: float) -> None:
        ack = json.loads(payload) if topic.endswith(f"/{EDGE}/ack") else {}
        if ack.get("boot") == boot:
            answers.take(ack["upto"], at_s)

    watched: list[Listener] = []

    def listen(port: int) -> Listener:
        watched.append(Listener(port, "bench-listener", ACKS, PUSHES, on_message=heard))
        return watched[0]

    with _bed(folder, people, listen, say) as bed:
        start_s, booted_ms = steady_s(), now_ms() - 3_600_000
        for number in range(count):
            one = people[number // ENTER_EVERY]
            kind = "sample" if number % ENTER_EVERY else "enter"
            _beat(start_s, number, RATE_HZ)
            at_ms = now_ms()
            report = traffic.Report(at_ms, STORE, "door", one, kind, at_ms)  # type: ignore[arg-type]
            message = traffic.live(report, number + 1, boot, booted_ms)
            answers.sent_s[number + 1] = steady_s()
            bed.publisher.send(message)
        watched[0].wait(lambda: len(answers.took_ms) == count, "the last ack", ARRIVE_S, bed.hub.check)
        decided = [answers.took_ms[seq] for seq in range(1, count + 1, ENTER_EVERY)]
        pushes = watched[0].counts["push"]
    if pushes != len(decided):
        raise LocalFault(f"{len(decided)} people came in and {pushes} offers went out: this measures something else")
    return decided


def _syncs_ms(folder: Path) -> list[float]:
    """What it takes this disk to make an overwritten block durable, ms."""
    found = []
    handle = os.open(folder / "sync", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(handle, bytes(SYNC_BYTES), 0)
        os.fsync(handle)
        for number in range(SYNCS):
            began_s = steady_s()
            os.pwrite(handle, number.to_bytes(2, "big"), 0)
            os.fdatasync(handle)
            found.append(1000 * (steady_s() - began_s))
    finally:
        os.close(handle)
    return found


# -- advertisement to push -------------------------------------------------------------------------------------------


class Door:
    """What happened to people at the real edge: advertisements, gate, push; instants in boot-clock ms."""

    def __init__(self) -> None:
        self.adverts_ms: dict[str, list[float]] = {}
        self.gate_ms: dict[str, int] = {}
        self.pushed_ms: dict[str, float] = {}

    def heard(self, topic: str, payload: bytes, _at_s: float) -> None:
        """A message of the edge, or a push to a phone."""
        at_ms = boot_ms()
        if topic.endswith(f"/{EDGE}/presence"):
            for event in read(Presence, payload).events:
                if getattr(event, "kind", "") == "enter":
                    self.gate_ms.setdefault(event.beacon.uuid, event.observed_mono_ms)  # type: ignore[union-attr]
        elif topic.endswith("/push"):
            self.pushed_ms.setdefault(topic.split("/")[3], at_ms)

    def took_ms(self, one: Person) -> float:
        """From the advertisement that satisfied the gate to the push."""
        gate_ms = self.gate_ms[one.beacon.uuid] + 1  # whole ms, rounded down
        advert_ms = max(at for at in self.adverts_ms[one.beacon.uuid] if at <= gate_ms)
        return self.pushed_ms[one.device] - advert_ms


def _door(folder: Path, length_s: float, say: Say) -> list[float]:
    """ms from the advertisement that satisfied the gate to the push, of everybody who came."""
    coming = [one for one in map(person, range(int(3 * length_s / COME_EVERY_S))) if one.consenting]
    coming = coming[: int(length_s / COME_EVERY_S)]
    first = 10_000  # numbers beyond those who come to the door
    load_events = int(LOAD_HZ * (length_s + 4))
    crowd = [person(first + number) for number in range(load_events // 64 + 1)]  # 64 of 80 events are not at STORE
    door = Door()
    watched: list[Listener] = []

    def listen(port: int) -> Listener:
        presence = topics.edge_topic(STORE, EDGE, "presence")
        watched.append(Listener(port, "bench-listener", ACKS, PUSHES, presence, on_message=door.heard))
        return watched[0]

    with _bed(folder, [*coming, *crowd], listen, say) as bed:
        load = _Load(bed.publisher, crowd)
        with _edge(folder, bed.port) as edge:
            asyncio.run(_come(folder, coming, door, load))
            devices = {one.device for one in coming}
            watched[0].wait(lambda: devices <= door.pushed_ms.keys(), "the last push", ARRIVE_S, edge.check)
    say(f"load: {load.rate_hz:.0f} events a second")
    return [door.took_ms(one) for one in coming]


class _Load:
    """Other stores' edges, LOAD_HZ events a second, in a thread of its own."""

    def __init__(self, publisher: Publisher, crowd: Sequence[Person]) -> None:
        start_ms = now_ms() - 1000 * traffic.length_s(1)
        found = [one for one in traffic.reports(crowd, 1, start_ms) if one.store != STORE]
        self._messages: list[Out] = traffic.batches(found, "load", LOAD_BATCH, start_ms - 3_600_000)
        self._publisher = publisher
        self._over = threading.Event()
        self.rate_hz = 0.0

    def run(self) -> None:
        """Publish until told to end."""
        start_s, sent = steady_s(), 0
        for message in self._messages:
            if self._over.is_set():
                break
            _beat(start_s, sent, LOAD_HZ / LOAD_BATCH)
            self._publisher.send(message)
            sent += 1
        self.rate_hz = sent * LOAD_BATCH / (steady_s() - start_s)

    def end(self) -> None:
        """Enough."""
        self._over.set()


@contextmanager
def _edge(folder: Path, port: int) -> Iterator[Process]:
    """A real edge on a simulated radio."""
    settings: dict[str, Any] = {
        "edge": EDGE,
        "store": STORE,
        "broker_url": f"mqtt://127.0.0.1:{port}",
        "radio": f"replay:{folder / 'air.sock'}",
        "state_dir": str(folder / "edge"),
        "prefixes": [PREFIX],
        "connect_spread_s": 0,
    }
    config = folder / "edge.toml"
    config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()), "utf-8")
    with Process.python(folder, "edge", "doorchime", "edge", "run", "--config", str(config)) as edge:
        yield edge


async def _come(folder: Path, coming: Sequence[Person], door: Door, load: _Load) -> None:
    feed = Feed(folder / "air.sock")
    await feed.start()
    async with asyncio.timeout(ARRIVE_S):
        await feed.wait_for({EDGE})
    loading = asyncio.create_task(asyncio.to_thread(load.run))
    try:
        walking = []
        for one in coming:
            walking.append(asyncio.create_task(_walk_in(feed, one, door)))
            await asyncio.sleep(COME_EVERY_S)
        await asyncio.gather(*walking)
    finally:
        load.end()
        await loading
        await feed.stop()


async def _walk_in(feed: Feed, one: Person, door: Door) -> None:
    """Advertise until the edge has let them in."""
    beacon = one.beacon
    adv = encode_ad(Beacon(parse_uuid(beacon.uuid), beacon.major, beacon.minor, -59)).hex()
    times = door.adverts_ms.setdefault(beacon.uuid, [])
    while beacon.uuid not in door.gate_ms and len(times) < ARRIVE_S / ADVERT_S:
        times.append(boot_ms())
        feed.send(Frame(t_ms=0, scanner=EDGE, address="02:00:00:00:00:01", rssi_dbm=LEVEL_DBM, adv=adv))
        await asyncio.sleep(ADVERT_S)
