"""Whatever people, edges, tills and time do, in whatever order: after every step each promise stands."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hub.ports import Fate
from tests.hub.build import EVERY_PURPOSE
from tests.hub.usecases.promises import World

who = st.sampled_from([1, 2])
edges = st.sampled_from([0, 1, 2])
few = st.integers(1, 12)
pauses_ms = st.sampled_from([0, 1, 999, 30_000, 119_999, 120_001, 240_001, 900_001, 1_500_000])
days = st.sampled_from([1, 8, 31, 91, 121, 400, 2300])
purposes = st.lists(st.sampled_from(EVERY_PURPOSE), min_size=1, unique=True)


class Promises(RuleBasedStateMachine):
    """See `World`. The invariant is the audit that the hub's users run."""

    @initialize(refuses=st.sampled_from([None, None, 1]))
    def begin(self, refuses):
        self.world = World()
        for number in self.world.people:
            if number != refuses:
                self.world.choose(number, EVERY_PURPOSE, True)

    @rule(edge=edges, who=who, kind=st.sampled_from(["enter", "sample", "exit", "unknown"]), gap_s=st.integers(0, 70),
          live=st.booleans())  # fmt: skip
    def hear(self, edge, who, kind, gap_s, live):
        self.world.wait(gap_s * 1000)
        self.world.say(self.world.edges[edge], who, kind)
        self._send(edge, live)

    @rule(edge=edges, who=who, gaps_s=st.lists(st.integers(1, 60), min_size=1, max_size=8), live=st.booleans(),
          leaves=st.booleans())  # fmt: skip
    def stay(self, edge, who, gaps_s, live, leaves):
        self.world.say(self.world.edges[edge], who, "enter")
        self._send(edge, live)
        for gap_s in gaps_s:
            self.world.wait(gap_s * 1000)
            self.world.say(self.world.edges[edge], who, "sample")
            self._send(edge, live)
        if leaves:
            self.world.say(self.world.edges[edge], who, "exit")
            self._send(edge, live)

    def _send(self, edge, live):
        """An edge that is connected sends at once, and the push worker is awake; another keeps what it has."""
        if live:
            self.world.commit([self.world.edges[edge]], 200)
            self.world.push(Fate.DELIVERED)

    @rule(ones=st.sets(edges, min_size=1), count=few, ack=st.booleans())
    def commit(self, ones, count, ack):
        self.world.commit([self.world.edges[one] for one in sorted(ones)], count, ack)

    @rule()
    def commit_everything(self):
        self.world.commit(self.world.edges, 200)

    @rule(ms=pauses_ms)
    def wait(self, ms):
        self.world.wait(ms)

    @rule(who=who, entered=st.booleans())
    def sight(self, who, entered):
        self.world.sight(who, entered)

    @rule(fate=st.sampled_from([Fate.DELIVERED, Fate.DELIVERED, Fate.TRY_LATER, Fate.REFUSED]))
    def push(self, fate):
        self.world.push(fate)

    @rule(pick=st.integers(0, 50), basket=st.integers(0, 20_000))
    def redeem(self, pick, basket):
        self.world.redeem(pick, basket)

    @precondition(lambda self: self.world.tills)
    @rule(pick=st.integers(0, 50))
    def take_back(self, pick):
        self.world.take_back(pick)

    @rule(who=who)
    def agree(self, who):
        self.world.choose(who, EVERY_PURPOSE, True)

    @rule(who=who, purposes=purposes, ms=pauses_ms)
    def withdraw_for_a_while(self, who, purposes, ms):
        self.world.choose(who, purposes, False)
        self.world.wait(ms)
        self.world.choose(who, purposes, True)

    @rule(edge=edges, count=few, what=st.sampled_from(["poison", "overflow", "restart", "online", "offline", "mend"]))
    def mishap(self, edge, count, what):
        one = self.world.edges[edge]
        match what:
            case "poison":
                self.world.poison(one, count)
            case "overflow":
                self.world.overflow(one, count)
            case "restart":
                self.world.restart(one)
            case "mend":
                self.world.mend()
            case state:
                self.world.status(one, state)

    @rule(who=who, what=st.sampled_from(["forget", "wait", "withdraw"]), purposes=purposes, days=days,
          agrees=st.booleans())  # fmt: skip
    def ending(self, who, what, purposes, days, agrees):
        match what:
            case "forget":
                self.world.forget(who)
                if agrees:
                    self.world.choose(who, EVERY_PURPOSE, True)
            case "withdraw":
                self.world.choose(who, purposes, False)
            case _:
                self.world.wait_days(days)

    @invariant()
    def every_promise_stands(self):
        assert self.world.violations() == []
        assert not self.world.stray_stays()

    def teardown(self):
        """Everything arrives in the end, and is accounted for."""
        if not hasattr(self, "world"):
            return
        for _ in range(2):
            self.world.commit(self.world.edges, 10_000)
        assert self.world.violations() == []
        for one in self.world.edges:
            assert not one.held
            assert not one.earlier
            assert one.last_seq in (0, self.world.accounts()[one.name, one.boot_name])


TestPromises = Promises.TestCase
TestPromises.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
