"""How many presence events a hub takes, decides on and commits, per CPU-second; held against two rivals and a ceiling.

The backlog is queued at the broker while the process under test is frozen; then it is thawed and drained. CPU time is
read when the last event has been answered and the last push is out. Every drain is checked against the plan.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench import naive, plan, traffic
from bench.clock import now_ms, steady_s
from bench.crowd import PEOPLE, Person, person
from bench.hub import HubUnderTest, start_hub
from bench.listener import ACKS, PUSHES, Listener
from bench.measure import (
    PAIRS,
    QUICK_S,
    Outcome,
    Say,
    in_memory,
    in_turns,
    on_disk,
    per_cpu_s,
    rates,
    ratio,
    rounded,
)
from bench.processes import START_S, Process, free_port, start_broker
from bench.publisher import Out, Publisher

RIVALS = {"naive": (), "naive_wal": ("--wal",)}
RECEIVER = "receive_only"

DRAIN_S = 120.0
"""Longest drain, s; a contender that needs longer has stopped."""

DISK_TURNS = 3
"""Drains on disk: they are reported, not compared."""

RESERVE_S = 4.0
"""What stopping everything takes, s: a quick run must be over by `QUICK_S`."""


class Size(NamedTuple):
    """How much is drained at a time. `people` × 40 events × `visits`."""

    people: int
    visits: int

    @property
    def events(self) -> int:
        """Number of events."""
        return self.people * self.visits * traffic.EVENTS_PER_VISIT


class Sizes(NamedTuple):
    """Of one run: `batched` at 50 events a message, `single` at one, `rival` for the rivals (one event a message).

    A single-event backlog must stay below the 20,000 messages that the shipped broker configuration keeps.
    """

    batched: Size
    single: Size
    rival: Size
    turns: int


QUICK = Sizes(Size(PEOPLE, 1), Size(100, 1), Size(20, 1), PAIRS)
FULL = Sizes(Size(PEOPLE, 2), Size(240, 1), Size(240, 1), PAIRS + 2)


class Drain(NamedTuple):
    """One backlog: its messages, and what must come of it."""

    boot: str
    people: list[Person]
    messages: list[Out]
    last: dict[str, int]
    expected: plan.Found


def prepare(first: int, size: Size, per_message: int, boot: str) -> Drain:
    """The backlog of people number `first` and up, just before now."""
    people = [person(number) for number in range(first, first + size.people)]
    start_ms = now_ms() - 1000 * traffic.length_s(size.visits)
    reports = traffic.reports(people, size.visits, start_ms)
    return Drain(
        boot=boot,
        people=people,
        messages=traffic.batches(reports, boot, per_message, start_ms - 3_600_000),
        last=traffic.last_seqs(reports),
        expected=plan.plan(people, size.visits),
    )


@dataclass(slots=True)
class Bed:
    """Everything that runs, all of it frozen but the broker."""

    folder: Path
    sizes: Sizes
    publisher: Publisher
    listener: Listener
    hub: HubUnderTest
    others: dict[str, Process]
    wall: dict[str, list[float]]

    def hub_rate(self, size: Size, per_message: int, turn: int) -> float:
        """Events per CPU-second of the hub."""
        slot = 1 if per_message > 1 else 2
        drain = prepare(_first(turn, slot), size, per_message, f"b{turn}-{per_message}")
        pushes = self.listener.counts["push"] + drain.expected.grants.total()

        def done() -> bool:
            return self.listener.answered(drain.boot, drain.last) and self.listener.counts["push"] >= pushes

        rate = self._drain(self.hub.process, drain.messages, size.events, done)
        plan.check(drain.expected, self.hub.found(drain.boot, drain.people), "the hub")
        return rate

    def rival_rate(self, name: str, turn: int) -> float:
        """Events per CPU-second of a rival."""
        drain = prepare(_first(turn, 0), self.sizes.rival, 1, f"b{turn}")
        messages = [Out(f"{name}/presence", message.payload) for message in drain.messages]
        decisions = self.listener.counts[name] + drain.expected.decisions.total()
        ended = self.listener.counts[f"{name}/ended"] + 1
        messages.append(Out(f"{name}/end", b""))
        rate = self._drain(
            self.others[name],
            messages,
            self.sizes.rival.events,
            lambda: self.listener.counts[name] >= decisions and self.listener.counts[f"{name}/ended"] >= ended,
        )
        found = naive.found(self.folder / f"{name}.db", drain.boot, {one.profile for one in drain.people})
        plan.check(drain.expected, found, name)
        return rate

    def receiver_rate(self, turn: int) -> float:
        """Messages per CPU-second of a client that only receives."""
        drain = prepare(_first(turn, 2), self.sizes.single, 1, f"r{turn}")
        messages = [Out(f"{RECEIVER}/presence", message.payload) for message in drain.messages]
        rounds = self.listener.counts[RECEIVER] + 1
        return self._drain(
            self.others[RECEIVER], messages, len(messages), lambda: self.listener.counts[RECEIVER] >= rounds
        )

    def _drain(self, process: Process, messages: Sequence[Out], events: int, done: Callable[[], bool]) -> float:
        self.publisher.send_all(messages)

        def work() -> int:
            process.thaw()
            self.listener.wait(done, f"the end of the backlog at {process.name}", DRAIN_S, process.check)
            return events

        began_s = steady_s()
        rate = per_cpu_s(process.pid, work)
        self.wall.setdefault(process.name, []).append(events / (steady_s() - began_s))
        process.freeze()
        return rate


def _first(turn: int, slot: int) -> int:
    """Number of the first person of a drain: nobody is in two of the same contender."""
    return (3 * turn + slot) * PEOPLE


@contextmanager
def bed(folder: Path, sizes: Sizes, rivals: Sequence[str], say: Say) -> Iterator[Bed]:
    """Start everything in `folder`: a broker, a hub, these rivals and the receiver, each on the same people."""
    people = [person(number) for number in range(_first(sizes.turns + 1, 0))]
    with ExitStack() as stack:
        broker, port = start_broker(folder, say)
        stack.enter_context(broker)
        filters = [f"{name}/{leaf}" for name in rivals for leaf in ("decision/+", "ready", "ended")]
        listener = Listener(port, "bench-listener", ACKS, PUSHES, RECEIVER, *filters)
        stack.callback(listener.close)
        publisher = Publisher(port, "bench-publisher")
        stack.callback(publisher.close)
        say(f"enrolling {len(people):,} people")
        hub = start_hub(folder, port, people)
        stack.enter_context(hub.process)
        others = {}
        for name in rivals:
            database = folder / f"{name}.db"
            flags = RIVALS[name]
            naive.furnish(database, people, bool(flags))
            others[name] = Process.python(
                folder, name, "bench.naive", name, str(port), str(free_port()), str(database), *flags
            )
            stack.enter_context(others[name])
        if rivals:
            every, topic = str(sizes.single.events), f"{RECEIVER}/presence"
            others[RECEIVER] = Process.python(
                folder, RECEIVER, "bench.receiver", str(port), RECEIVER, topic, every, RECEIVER
            )
            stack.enter_context(others[RECEIVER])
        hub.wait_answering(publisher, listener)
        for name, process in others.items():
            listener.wait(_heard(listener, name), f"the start of {name}", START_S, process.check)
        hub.process.freeze()
        for process in others.values():
            process.freeze()
        yield Bed(folder, sizes, publisher, listener, hub, others, {})
        hub.process.thaw()
        hub.audit()


def _heard(listener: Listener, name: str) -> Callable[[], bool]:
    topic = name if name == RECEIVER else f"{name}/ready"
    return lambda: listener.counts[topic] > 0


def run(quick: bool, say: Say) -> Outcome:
    """Measure on tmpfs against everybody, then on disk."""
    began_s = steady_s()
    sizes = QUICK if quick else FULL
    until_s = began_s + QUICK_S - RESERVE_S if quick else float("inf")
    with in_memory() as folder, bed(folder, sizes, tuple(RIVALS), say) as memory:
        contenders = {
            "batched": lambda turn: memory.hub_rate(sizes.batched, 50, turn),
            "single": lambda turn: memory.hub_rate(sizes.single, 1, turn),
            **{name: _rival(memory, name) for name in RIVALS},
            RECEIVER: memory.receiver_rate,
        }
        say("warming up")
        for contender in contenders.values():
            contender(0)
        rows = in_turns({n: _later(c) for n, c in contenders.items()}, sizes.turns, until_s=until_s, say=say)
    figures = {
        **rates(rows, "batched").named("events_per_s"),
        **rates(rows, "single").named("events_per_s_single"),
        "turns": float(len(rows)),
    }
    if not quick:
        figures |= _on_disk(sizes, say)
    ratios = {
        **ratio(rows, "batched", "naive").named("vs_naive"),
        **ratio(rows, "batched", "naive_wal").named("vs_naive_wal"),
        **ratio(rows, "single", "naive").named("vs_naive_single"),
        **ratio(rows, "single", "naive_wal").named("vs_naive_wal_single"),
        **ratio(rows, "single", RECEIVER).named("vs_receive_only"),
    }
    peers = {f"{name}_per_s": rounded(rates(rows, name).median) for name in (*RIVALS, RECEIVER)}
    return Outcome(figures, ratios, peers)


def _on_disk(sizes: Sizes, say: Say) -> dict[str, float]:
    """The hub alone, on a disk: there the clock on the wall counts too, because a commit waits for the disk."""
    with on_disk() as folder, bed(folder, sizes, (), say) as disk:
        say("on disk")
        rows = in_turns(
            {
                "batched": lambda turn: disk.hub_rate(sizes.batched, 50, turn),
                "single": lambda turn: disk.hub_rate(sizes.single, 1, turn),
            },
            DISK_TURNS,
            say=say,
        )
        wall = disk.wall[disk.hub.process.name]
    return {
        "events_per_s_disk": rounded(rates(rows, "batched").median),
        "events_per_s_single_disk": rounded(rates(rows, "single").median),
        "events_per_wall_s_disk_slowest": rounded(min(wall)),
        "events_per_wall_s_disk_fastest": rounded(max(wall)),
    }


def _rival(of: Bed, name: str) -> Callable[[int], float]:
    return lambda turn: of.rival_rate(name, turn)


def _later(contender: Callable[[int], float]) -> Callable[[int], float]:
    """Turn 0 was the warm-up."""
    return lambda turn: contender(turn + 1)
