"""Two nodes, two people, everything that can go wrong between them: no promise is broken, nobody is left behind."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hub.core.foreign import NodeStatus, accounted, source_of
from hub.core.foreign_records import ForeignAccount, ForeignTrack
from hub.core.model import Edge, Grant, Visit
from hub.core.states import VisitState
from hub.stores import open_store
from hub.usecases.audit import Witness, audit
from hub.usecases.consent import ConsentChange, record_consents
from tests.hub.build import RULES, TENANT, offer
from tests.hub.foreign_hub import DOOR, FLOOR, Hub

NODES = st.sampled_from([DOOR, FLOOR])
PEOPLE = st.sampled_from([1, 2])
LEVELS = st.sampled_from([-50.0, -75.0, -85.0, -100.0])


class Shop(RuleBasedStateMachine):
    """Time passes in every rule; the sweep runs as often as the hub's does, in coarser steps."""

    @initialize()
    def open(self):
        self.hub = Hub(open_store("memory:"))
        self.hub.furnish(offer("hello", cooldown_s=60), people=(1, 2))
        self.agreed = {1: True, 2: True}
        self.received = {DOOR: 0, FLOOR: 0}

    def wait(self, seconds, *living):
        for _ in range(seconds // 5):
            self.hub.now_ms += 5_000
            if self.hub.now_ms // 5_000 % 3 == 0:
                self.hub.live(*living)
            self.hub.sweep()

    @rule(node=NODES, who=PEOPLE, level=LEVELS, count=st.integers(1, 4), pause_s=st.sampled_from([0, 5, 10, 30]))
    def hear(self, node, who, level, count, pause_s):
        for _ in range(count):
            self.hub.now_ms += 1
            self.hub.say((node, who, level))
            self.received[node] += 1
            self.wait(pause_s)

    @rule(seconds=st.integers(5, 400), living=st.sets(NODES))
    def quiet(self, seconds, living):
        self.wait(seconds, *living)

    @rule(node=NODES, online=st.booleans())
    def status(self, node, online):
        self.hub.say(NodeStatus(node, online))
        if not online:
            self.hub.lives.pop(node, None)

    @rule(seconds=st.integers(1, 1_500))
    def hub_is_away(self, seconds):
        self.hub.lives.clear()
        self.hub.now_ms += 1_000 * seconds
        self.hub.sweep()

    @rule(who=PEOPLE)
    def change_of_mind(self, who):
        self.hub.now_ms += 1_000
        self.agreed[who] = not self.agreed[who]
        purposes = dict.fromkeys(("presence_detection", "personalised_offers", "marketing_push"), self.agreed[who])
        change = ConsentChange(TENANT, f"p{who}", purposes, "n@1", "0" * 64, "app_screen", f"p{who}")
        with self.hub.store.write() as tx:
            record_consents(tx, change, self.hub.now_ms, self.hub.ids)

    @rule()
    @precondition(lambda self: any(self.received.values()))
    def everybody_leaves_at_last(self):
        """After an hour in which the nodes are well nobody is followed, and no visit is open."""
        self.wait(3_600, DOOR, FLOOR)
        assert not self.hub.all(ForeignTrack)
        assert {visit.state for visit in self.hub.all(Visit)} <= {VisitState.CLOSED}

    @invariant()
    def every_report_is_in_one_account(self):
        rows = {row.edge: row for row in self.hub.all(ForeignAccount)}
        assert all(accounted(row) for row in rows.values())
        edges = {source_of(edge): edge.edge for edge in self.hub.all(Edge)}
        for node, count in self.received.items():
            assert (rows[edges[node]].received if edges[node] in rows else 0) == count

    @invariant()
    def who_is_in_is_followed_and_who_is_followed_can_leave(self):
        tracks = {(track.edge, track.profile) for track in self.hub.all(ForeignTrack) if track.present}
        said = {
            (edge, visit.profile): entry[0]
            for visit in self.hub.all(Visit)
            if visit.state != VisitState.CLOSED
            for edge, entry in visit.edges.items()
        }
        assert {key for key, state in said.items() if state == "in"} <= tracks
        assert all(said.get(key) in ("in", "unknown") for key in tracks)

    @invariant()
    def nobody_who_said_no_is_followed(self):
        assert all(self.agreed[int(track.profile[1:])] for track in self.hub.all(ForeignTrack))

    def teardown(self):
        if hasattr(self, "hub"):
            with self.hub.store.read() as tx:
                assert audit(tx, TENANT, RULES.grace_ms, self.hub.now_ms, Witness()) == []
            assert len({grant.visit for grant in self.hub.all(Grant)}) == len(self.hub.all(Grant))


TestShop = Shop.TestCase
TestShop.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
