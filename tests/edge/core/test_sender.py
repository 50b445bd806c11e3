"""Go-back-N: everything arrives in order whatever is lost; a dead hub costs nothing; a poison event costs itself."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.sender import MAX_REWINDS, UNANSWERED_MS, WINDOW, BootSpan, Sender


class Hub:
    """Takes contiguous sequences, as the real one; `poison` it never takes, nor anything in the same message."""

    def __init__(self, poison=()):
        self.upto = {}
        self.poison = set(poison)
        self.alive = True

    def take(self, boot, oldest, seqs):
        if not self.alive or self.poison & {(boot, seq) for seq in seqs}:
            return None  # unreadable: no answer
        upto = max(self.upto.get(boot, 0), oldest - 1)
        for seq in seqs:
            if seq == upto + 1:
                upto = seq
        self.upto[boot] = upto
        return upto


class World:
    """A sender, an outbox of plain lists, a lossy line, a hub, and virtual time."""

    def __init__(self, events, hub=None, seed=0, loss=0.0, batch=3):
        self.dice = random.Random(seed)
        self.sender = Sender(self.dice.random)
        self.boots = {boot: list(range(1, count + 1)) for boot, count in events.items()}
        self.last = dict(events)
        self.hub, self.loss, self.batch = hub or Hub(), loss, batch
        self.now = 0
        self.lost, self.arrived = [], []
        self.acks = []  # (at, boot, upto)
        self.knocks = 0

    def spans(self):
        names = list(self.last)
        found = []
        for name in names:
            held = self.boots[name]
            oldest = held[0] if held else self.last[name] + 1
            if held or name == names[-1]:
                found.append(BootSpan(name, oldest, self.last[name]))
        return found

    def turn(self):
        """Send all that may be sent now."""
        sent = 0
        while True:
            send = self.sender.next(self.spans(), self.now)
            if self.sender.knock():
                self.knocks += 1
                if self.hub.alive:
                    boot = list(self.last)[-1]
                    self.acks.append((self.now + 1, boot, self.hub.upto.get(boot, 0)))
            refused = self.sender.refused()
            if refused is not None:
                self.lost.append(refused)
                self.hub.poison.discard(refused)  # it is a loss now, which the hub can read
                continue
            if send is None:
                return sent
            seqs = [seq for seq in self.boots[send.boot] if seq > send.after_seq][: min(send.limit, self.batch)]
            assert seqs
            oldest = self.spans_of(send.boot).oldest_seq
            self.sender.sent(send.boot, seqs[0], seqs[-1], self.now)
            sent += 1
            assert sent <= WINDOW
            if self.dice.random() >= self.loss:
                upto = self.hub.take(send.boot, oldest, seqs)
                if upto is not None and self.dice.random() >= self.loss:
                    self.acks.append((self.now + self.dice.randrange(1, 300), send.boot, upto))

    def spans_of(self, boot):
        return next(span for span in self.spans() if span.boot == boot)

    def deliver(self):
        self.acks.sort()
        while self.acks and self.acks[0][0] <= self.now:
            _, boot, upto = self.acks.pop(0)
            progress = self.sender.acked(boot, upto, self.now)
            if not progress.went_back:
                self.boots[boot] = [seq for seq in self.boots[boot] if seq > progress.upto]

    def run(self, until_ms=10**9):
        """To quiescence: until nothing is held, or time is up."""
        while any(self.boots.values()) and self.now < until_ms:
            self.turn()
            due = [at for at, _, _ in self.acks] + ([self.sender.due_ms()] if self.sender.due_ms() is not None else [])
            if not due:
                return
            self.now = max(self.now + 1, min(due))
            self.deliver()


def test_without_loss_everything_arrives_at_once():
    world = World({"b": 100})
    world.sender.connected(0)
    world.run()
    assert world.hub.upto == {"b": 100}
    assert world.sender.rewinds == 0
    assert world.now < 10_000


def test_older_boots_go_first_and_completely():
    world = World({"a": 10, "b": 10})
    world.sender.connected(0)
    send = world.sender.next(world.spans(), 0)
    assert (send.boot, send.earlier) == ("a", True)
    world.run()
    assert world.hub.upto == {"a": 10, "b": 10}


def test_nothing_is_sent_without_a_connection():
    world = World({"b": 3})
    assert world.sender.next(world.spans(), 0) is None
    world.sender.connected(0)
    world.sender.disconnected()
    assert world.sender.next(world.spans(), 0) is None
    assert world.sender.due_ms() is None


def test_a_reconnect_sends_everything_unanswered_again():
    world = World({"b": 3}, batch=1)
    world.sender.connected(0)
    for seq in (1, 2, 3):
        assert world.sender.next(world.spans(), 0).after_seq == seq - 1
        world.sender.sent("b", seq, seq, 0)
    assert world.sender.next(world.spans(), 0) is None
    world.sender.disconnected()
    world.sender.connected(10)
    assert world.sender.next(world.spans(), 10).after_seq == 0


def test_a_silent_hub_is_asked_less_and_less_and_nothing_is_refused():
    world = World({"b": 5})
    world.hub.alive = False
    world.sender.connected(0)
    world.run(until_ms=3_600_000)
    assert world.lost == []
    assert MAX_REWINDS < world.sender.rewinds < 3_600_000 / UNANSWERED_MS


def test_a_hub_that_answered_once_and_died_refuses_nothing():
    world = World({"b": 30}, batch=1)
    world.sender.connected(0)
    world.turn()
    world.now = 400
    world.deliver()
    world.hub.alive = False
    world.run(until_ms=36_000_000)
    assert world.lost == []
    assert world.knocks > 3
    assert world.sender.rewinds < 36_000_000 / UNANSWERED_MS / 4, "it is asked less and less"
    world.hub.alive = True
    world.run()
    assert world.lost == []
    assert world.hub.upto == {"b": 30}


def test_an_event_that_a_living_hub_will_not_take_becomes_a_loss_and_the_rest_goes_on():
    world = World({"b": 20}, hub=Hub(poison={("b", 7)}))
    world.sender.connected(0)
    world.run()
    assert world.lost == [("b", 7)]
    assert world.hub.upto == {"b": 20}


def test_a_hub_restored_from_a_backup_gets_what_is_still_held():
    world = World({"b": 30})
    world.sender.connected(0)
    world.run(until_ms=1)
    world.sender.acked("b", 20, 5)
    world.boots["b"] = list(range(21, 31))
    world.hub.upto["b"] = 4
    progress = world.sender.acked("b", 4, 10)
    assert progress.went_back
    world.acks.clear()
    world.now = 10
    world.run()
    assert world.hub.upto["b"] == 30


def test_an_ack_beyond_what_exists_is_no_word_about_the_future():
    world = World({"b": 3})
    world.sender.connected(0)
    world.sender.next(world.spans(), 0)
    assert world.sender.acked("b", 10**9, 0).upto == 3


@settings(max_examples=150, deadline=None)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    seed=st.integers(0, 10**6),
    loss=st.sampled_from([0.0, 0.1, 0.5]),
    breaks=st.lists(st.integers(1, 60_000), max_size=4),
    batch=st.integers(1, 50),
)
def test_everything_arrives_whatever_is_lost_and_however_often_the_line_breaks(counts, seed, loss, breaks, batch):
    world = World({f"b{n}": count for n, count in enumerate(counts)}, seed=seed, loss=loss, batch=batch)
    world.sender.connected(0)
    for at_ms in sorted(breaks):
        world.run(until_ms=at_ms)
        world.sender.disconnected()
        world.acks.clear()
        world.now = max(world.now, at_ms) + 50
        world.sender.connected(world.now)
    world.run()
    assert loss or world.lost == [], "only a line that loses again and again may look like a refusal"
    assert not any(world.boots.values())
    assert {boot: upto for boot, upto in world.hub.upto.items() if upto} == {b: c for b, c in world.last.items() if c}


def test_poison_in_front_of_what_an_earlier_start_left_is_refused_too():
    """The acks for 1 … 499 were heard by the process before; all that is held fits into one message."""
    world = World({"a": 3, "b": 510}, hub=Hub(poison={("b", 500)}), batch=50)
    world.boots["b"] = list(range(500, 511))
    world.hub.upto["b"] = 499
    world.sender.connected(0)
    world.run(until_ms=600_000)
    assert world.lost == [("b", 500)]
    assert world.hub.upto["b"] == 510


@pytest.mark.parametrize("poison", [1, 2, 39, 40])
def test_poison_anywhere_costs_only_itself(poison):
    world = World({"a": 5, "b": 40}, hub=Hub(poison={("b", poison)}), seed=poison, loss=0.1)
    world.sender.connected(0)
    world.run()
    assert ("b", poison) in world.lost
    assert world.hub.upto == {"a": 5, "b": 40}
