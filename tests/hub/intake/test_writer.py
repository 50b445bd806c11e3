"""The group commit: nothing is acknowledged before it is durable, and one failure spoils only itself."""

import queue
import threading
from concurrent.futures import wait
from dataclasses import replace

import pytest

from hub.core.model import EdgeBoot, Grant, Profile, Quarantine, Shop, Visit
from hub.core.states import VisitState
from hub.intake.inbound import Inbound
from hub.intake.writer import GroupWriter
from hub.ports import Conflict
from hub.usecases.arrivals import MANY
from hub.usecases.audit import Witness, audit
from hub.usecases.consent import ConsentChange, record_consents
from tests.fakes import ManualClock
from tests.hub.build import BOOTED_AT_MS, NOON_MS, RULES, TENANT, Ids, event, house, message, offer, person, sample
from wire import messages
from wire.errors import BadRequest
from wire.messages import Status

AWAIT_S = 30


class HandClock(ManualClock):
    """Hub time that moves when told."""

    def __init__(self, at_ms=NOON_MS):
        super().__init__(at_ms)
        self.at_ms = at_ms

    def now_ms(self):
        return self.at_ms


class Told:
    """Remembers what happened after commits, and lets a test await it."""

    def __init__(self):
        self.tokens, self.acks, self.notes, self.pushes = [], [], [], 0
        self.news = queue.SimpleQueue()
        self.changed = threading.Condition()

    def committed(self, tokens, acks, effects):
        with self.changed:
            self.tokens += tokens
            self.acks += acks
            self.notes += effects.notes
            self.pushes += effects.pushes
            self.changed.notify_all()

    def troubled(self, reason):
        self.news.put(reason)

    def expect(self, ready):
        with self.changed:
            assert self.changed.wait_for(lambda: ready(self), AWAIT_S)


class Hub:
    def __init__(self, store, clock=None, **more):
        self.store, self.clock, self.told = store, clock or HandClock(), Told()
        self.faults = []
        self.fell = threading.Event()
        with store.write() as tx:
            house(tx, offer())
            person(tx)
        self.writer = GroupWriter(store, self.clock, Ids(), RULES, self.told, on_fault=self._fall, **more)

    def _fall(self, fault):
        self.faults.append(fault)
        self.fell.set()

    def offer(self, *events, token=None, **more):
        mono_ms = self.clock.at_ms - BOOTED_AT_MS
        stamped = [replace(e, observed_mono_ms=mono_ms) for e in events]
        payload = messages.write(message(*stamped, sent_mono_ms=mono_ms, **more))
        return self.raw(payload, token=token, edge=more.get("edge", "e-door"))

    def raw(self, payload, leaf="presence", token=None, edge="e-door"):
        return self.writer.offer(Inbound("s1", edge, leaf, payload, self.clock.at_ms, token))

    def all(self, kind):
        with self.store.read() as tx:
            return tx.find(kind, {"tenant": TENANT}, limit=MANY)


class TickingClock(HandClock):
    """Hub time that passes: a millisecond with every look at it."""

    def now_ms(self):
        self.at_ms += 1
        return self.at_ms


@pytest.fixture
def hub(store):
    hub = Hub(store)
    yield hub
    hub.writer.stop()


def test_a_message_is_released_and_answered_after_its_commit(hub):
    hub.offer(event(1, "enter"), token="t1")
    hub.writer.start()
    hub.told.expect(lambda told: told.tokens == ["t1"])
    assert hub.told.acks[-1].upto == 1
    assert hub.told.pushes == 1
    assert len(hub.all(Visit)) == 1


def test_what_waits_becomes_one_transaction(hub):
    for seq in range(1, 101):
        hub.offer(event(seq, "enter" if seq == 1 else "sample"), token=seq)
    hub.writer.start()
    hub.told.expect(lambda told: len(told.tokens) == 100)
    assert hub.told.tokens == list(range(1, 101))
    assert hub.told.acks[-1].upto == 100
    assert hub.writer.counters["groups"] < 20


def test_a_command_that_fails_undoes_itself_alone(hub):
    def good(tx):
        tx.put([Profile(TENANT, "good", "active", None, "UTC", "en", 0, 0)])
        return "done"

    def bad(tx):
        tx.put([Profile(TENANT, "bad", "active", None, "UTC", "en", 0, 0)])
        raise BadRequest("no")

    def clash(tx):
        tx.insert([Shop(TENANT, "s1", "again", "UTC", "en", "EUR", 1, 0)])

    futures = [hub.writer.submit(each) for each in (good, bad, clash, good)]
    hub.writer.start()
    wait(futures, AWAIT_S)
    assert futures[0].result() == futures[3].result() == "done"
    assert isinstance(futures[1].exception(), BadRequest)
    assert isinstance(futures[2].exception(), Conflict)
    assert {row.profile for row in hub.all(Profile)} == {"p1", "good"}


def test_permission_given_in_the_round_of_its_first_use_is_older_than_that_use(store):
    clock = TickingClock()
    hub = Hub(store, clock)
    with hub.store.write() as tx:
        person(tx, 2, purposes=("presence_detection",))

    def agree(tx):
        wanted = dict.fromkeys(("personalised_offers", "marketing_push"), True)
        change = ConsentChange(TENANT, "p2", wanted, "n@1", "0" * 64, "app_screen", "p2")
        return record_consents(tx, change, clock.now_ms(), Ids())

    hub.writer.submit(agree)
    hub.offer(event(1, "enter", who=2), token="t1")
    hub.writer.start()
    hub.told.expect(lambda told: told.tokens == ["t1"])
    assert hub.told.pushes == 1
    with hub.store.read() as tx:
        assert audit(tx, TENANT, RULES.grace_ms, clock.now_ms(), Witness()) == []
    hub.writer.stop()


def test_a_command_given_up_before_its_turn_is_not_run(hub):
    ran = []
    future = hub.writer.submit(lambda tx: ran.append(1))
    assert future.cancel()
    hub.writer.start()
    hub.writer.submit(lambda tx: None).result(AWAIT_S)
    assert not ran


def test_a_use_case_that_raises_sets_its_message_aside_and_the_rest_commits(hub):
    """An offer that triggers in the till zone only, and is broken: whoever is at the till is poison, nobody else."""
    morning = {"from_local": "00:00", "to_local": "23:59"}  # needs to know what time it is in the store
    broken = offer("broken", trigger={"on": "enter", "zone_kind": "till"}, redeem_store="s1", schedule=morning)
    with hub.store.write() as tx:
        tx.put([broken])
        person(tx, 2)
        shop = tx.get(Shop, [(TENANT, "s1")])[0]
        tx.put([Shop(TENANT, "s1", shop.name, "No/Where", "en", "EUR", 2, 0)])  # open_at() will raise
    hub.offer(sample(1), edge="e-floor")
    hub.offer(event(1, "enter"), edge="e-till")
    hub.offer(sample(1), edge="e-approach")
    hub.writer.start()
    hub.told.expect(lambda told: len(told.tokens) == 3)
    accounts = {row.edge: (row.committed, row.quarantined, row.upto) for row in hub.all(EdgeBoot)}
    assert accounts == {"e-floor": (1, 0, 1), "e-till": (0, 1, 1), "e-approach": (1, 0, 1)}
    (row,) = hub.all(Quarantine)
    assert (row.fault, row.edge) == ("ours", "e-till")
    assert hub.writer.counters["poison"] == 1
    assert {"type": "alarm", "edge": "e-till", "reason": "poison"} in hub.told.notes
    assert {ack.edge: ack.upto for ack in hub.told.acks} == {"e-floor": 1, "e-till": 1, "e-approach": 1}


def test_one_bad_event_in_ten_thousand(hub):
    hub.writer.start()
    for start in range(1, 10_001, 50):
        events = [event(seq, "enter" if seq == 1 else "sample") for seq in range(start, start + 50)]
        payload = messages.write(message(*events))
        if start <= 5_000 < start + 50:
            payload = payload.replace(
                b'"seq":5000,"kind":"sample","beacon":', b'"seq":5000,"kind":"sample","beacon":5,"x":'
            )
        assert hub.raw(payload, token=start)
    hub.told.expect(lambda told: len(told.tokens) == 200)
    (row,) = hub.all(EdgeBoot)
    assert (row.committed, row.quarantined, row.upto) == (9_999, 1, 10_000)
    assert len(hub.all(Quarantine)) == 1


def test_an_unreadable_message_is_kept_aside_released_and_not_answered(hub):
    hub.writer.start()
    for _ in range(2):
        hub.raw(b'{"v":1,', token="bad")
    hub.told.expect(lambda told: len(told.tokens) == 2)
    assert not hub.told.acks
    assert len(hub.all(Quarantine)) == 1


def test_unknown_fields_of_a_newer_sender_are_counted_and_nothing_is_lost(hub):
    hub.writer.start()
    payload = messages.write(message(event(1, "enter"), sample(2)))
    newer = payload.replace(b'"v":1', b'"v":1,"minor":3').replace(b'"kind":"sample"', b'"kind":"sample","phase":7')
    newer = newer.replace(b'"events":[', b'"events":[{"seq":3,"kind":"nod","x":1},')
    hub.raw(newer, token="new")
    hub.told.expect(lambda told: told.tokens)
    (row,) = hub.all(EdgeBoot)
    assert (row.committed, row.upto, row.unknown_fields) == (3, 3, 2)


def test_birth_is_answered_with_the_watermark(hub):
    hub.writer.start()
    hub.offer(event(1, "enter"))
    hub.told.expect(lambda told: told.acks)
    birth = Status(v=1, edge="e-door", boot="b1", state="online", version="1")
    hub.raw(messages.write(birth), leaf="status")
    hub.told.expect(lambda told: len(told.acks) == 2)
    assert hub.told.acks[1].upto == 1


def test_deadlines_pass_without_traffic(hub):
    hub.writer.start()
    hub.offer(event(1, "enter"))
    hub.told.expect(lambda told: told.acks)
    hub.clock.at_ms += 700_000
    hub.told.expect(lambda told: any(note.get("state") == "expired" for note in told.notes))
    (visit,) = hub.all(Visit)
    assert visit.state == VisitState.UNKNOWN
    assert hub.all(Grant)[0].state == "expired"


def test_a_full_queue_takes_nothing_and_loses_nothing(store):
    hub = Hub(store, queue_max=3)
    assert [hub.offer(event(seq), token=seq) for seq in range(1, 5)] == [True, True, True, False]
    hub.writer.start()
    hub.told.expect(lambda told: told.tokens == [1, 2, 3])
    assert hub.offer(event(4), token=4)
    hub.told.expect(lambda told: told.tokens == [1, 2, 3, 4])
    hub.writer.stop()


def test_stop_commits_what_waits(hub):
    hub.offer(event(1, "enter"), token="t1")
    hub.writer.start()
    assert hub.writer.stop()
    assert hub.told.tokens == ["t1"]
    assert not hub.offer(event(2))
    with pytest.raises(BadRequest):
        hub.writer.submit(lambda tx: None)
