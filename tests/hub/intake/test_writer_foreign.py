"""Reports of foreign edges in the group commit: beside our own messages, and one failure spoils only itself."""

import pytest

from hub.core.foreign import GATES, Kind, Life, NodeStatus, Report, Source, accounted
from hub.core.foreign_records import ForeignAccount, ForeignTrack
from hub.core.model import Edge, Shop, Visit
from hub.core.states import VisitState
from hub.intake.inbound import FOREIGN, Inbound
from hub.intake.writer import GROUP_EVENTS
from hub.usecases.catalogue import EdgeSaid, put_edge
from tests.hub.build import TENANT, beacon, event, offer, person
from tests.hub.intake.test_writer import AWAIT_S, Hub

SILENCE_MIN_MS = GATES[Kind.ESPRESENSE].silence_ms
DOOR, TILL = Source("espresense", "door"), Source("espresense", "till")


class ForeignHub(Hub):
    def __init__(self, store, **more):
        self.lives = {}
        super().__init__(store, lives=self.lives, **more)
        with store.write() as tx:
            for name, source in (("door", DOOR), ("till", TILL)):
                put_edge(tx, TENANT, f"x-{name}", EdgeSaid("s1", name, False, source), 0)

    def say(self, said, token=None):
        return self.writer.offer(Inbound("", "", FOREIGN, b"", self.clock.at_ms, token, said))

    def hear(self, source=DOOR, who=1, level=-60.0, token=None):
        return self.say(Report(source, beacon(who), level), token)

    def commit(self):
        """Await a commit: each is a chance to sweep."""
        self.writer.submit(lambda tx: None).result(AWAIT_S)

    def fill_the_queue(self, _tx):
        """Runs on the writer's own thread, so that everything waits when it looks next."""
        began_ms = self.clock.at_ms
        for _ in range(GROUP_EVENTS + 10):
            self.hear(TILL, 99)
        self.hear(DOOR, 1, token="last")
        self.clock.at_ms += 60_000
        self.lives[DOOR] = Life(began_ms - 10_000, self.clock.at_ms)

    def accounts(self):
        return {row.edge: (row.received, row.committed, row.lost) for row in self.all(ForeignAccount)}


@pytest.fixture
def hub(store):
    hub = ForeignHub(store)
    yield hub
    hub.writer.stop()


def test_reports_and_our_own_messages_share_a_commit(hub):
    hub.hear(token="t1")
    hub.clock.at_ms += 5_000
    hub.hear()
    hub.offer(event(1, "enter"), token="t2")
    hub.writer.start()
    hub.told.expect(lambda told: told.pushes == 1)
    assert [token for token in hub.told.tokens if token] == ["t1", "t2"]
    (visit,) = hub.all(Visit)
    assert set(visit.edges) == {"x-door", "e-door"}
    assert hub.accounts() == {"x-door": (2, 2, 0)}
    assert hub.writer.counters["events"] == 3


def test_a_report_that_raises_is_accounted_for_and_the_rest_commits(hub):
    """Whoever is at the till is poison: its offer's store has no such time zone."""
    with hub.store.write() as tx:
        at_till, hours = {"on": "enter", "zone_kind": "till"}, {"to_local": "23:59"}
        tx.put([offer("broken", trigger=at_till, redeem_store="s1", schedule=hours)])
        person(tx, 2)
        shop = tx.get(Shop, [(TENANT, "s1")])[0]
        tx.put([Shop(TENANT, "s1", shop.name, "No/Where", "en", "EUR", 2, 0)])
    hub.hear(TILL, 1)
    hub.say(NodeStatus(DOOR, False))
    hub.clock.at_ms += 5_000
    hub.hear(TILL, 1, token="poison")
    hub.hear(DOOR, 2, token="good")
    hub.writer.start()
    hub.told.expect(lambda told: {"poison", "good"} <= set(told.tokens))
    assert hub.accounts() == {"x-till": (2, 1, 1), "x-door": (1, 1, 0)}
    assert all(accounted(row) for row in hub.all(ForeignAccount))
    assert hub.writer.counters["poison"] == 1
    assert {"type": "alarm", "edge": "x-till", "reason": "poison"} in hub.told.notes


def test_strangers_are_counted(hub):
    hub.hear(Source("theengs", "home/gw"), token="t1")
    hub.writer.start()
    hub.told.expect(lambda told: told.tokens == ["t1"])
    assert hub.writer.counters["strangers"] == 1
    assert hub.accounts() == {}


def test_a_status_and_its_last_will_reach_the_edge(hub):
    hub.writer.start()
    for online, state in ((True, "online"), (False, "offline")):
        hub.say(NodeStatus(DOOR, online))
        note = {"type": "edge", "edge": "x-door", "store": "s1", "state": state}
        hub.told.expect(lambda told, note=note: note in told.notes)
    assert {row.edge: row.status for row in hub.all(Edge)}["x-door"] == "offline"


def test_a_silence_ends_a_visit_without_traffic_as_soon_as_the_node_has_witnessed_it(hub):
    hub.writer.start()
    for _ in range(2):
        hub.hear()
        hub.clock.at_ms += 5_000
    hub.told.expect(lambda told: any(note["type"] == "visit" for note in told.notes))
    heard_ms = hub.clock.at_ms - 5_000
    hub.clock.at_ms += SILENCE_MIN_MS
    while hub.all(ForeignTrack)[0].due_ms == heard_ms + SILENCE_MIN_MS:
        hub.commit()
    assert hub.all(Visit)[0].state == VisitState.PRESENT, "nobody knows what was while nothing was heard"
    hub.lives[DOOR] = Life(heard_ms, hub.clock.at_ms)
    hub.clock.at_ms += 5_000
    while hub.all(Visit)[0].state == VisitState.PRESENT:
        hub.commit()
    assert hub.all(Visit)[0].state == VisitState.GRACE
    assert not hub.all(ForeignTrack)


def test_a_report_that_waits_behind_a_full_group_is_no_silence(hub):
    """The node has shown life for a minute, and all of that waits in the queue: more than one commit takes."""
    for _ in range(2):
        hub.hear()
        hub.clock.at_ms += 5_000
    hub.writer.start()
    hub.told.expect(lambda told: any(note["type"] == "visit" for note in told.notes))
    hub.writer.submit(hub.fill_the_queue).result(AWAIT_S)
    hub.told.expect(lambda told: "last" in told.tokens)
    assert hub.all(Visit)[0].state == VisitState.PRESENT
    (track,) = [row for row in hub.all(ForeignTrack) if row.edge == "x-door"]
    assert track.present
