"""The use cases on a store whose door and floor edges are nodes of other makes, for tests."""

from hub.core import foreign
from hub.core.foreign import GATES, Kind, NodeStatus, Report, Source
from hub.core.foreign_records import ForeignAccount
from hub.core.model import Edge
from hub.usecases import deadlines
from hub.usecases.arrivals import MANY
from hub.usecases.catalogue import EdgeSaid, put_edge
from hub.usecases.foreign import Received, sweep, take
from tests.hub.build import EVERY_PURPOSE, NOON_MS, RULES, TENANT, Ids, beacon, house, person

SILENCE_MIN_MS = GATES[Kind.ESPRESENSE].silence_ms
DOOR, FLOOR = Source("espresense", "door"), Source("theengs", "home/floor")


class Hub:
    """The use cases on a store whose door and floor edges are nodes of other makes, with a hand-turned clock."""

    def __init__(self, store, rules=RULES):
        self.store, self.ids, self.rules, self.now_ms, self.lives = store, Ids(), rules, NOON_MS, {}

    def furnish(self, *offers, people=(1,), purposes=EVERY_PURPOSE):
        with self.store.write() as tx:
            house(tx, *offers)
            for name, zone, source in (("e-door", "door", DOOR), ("e-floor", "floor", FLOOR)):
                put_edge(tx, TENANT, name, EdgeSaid("s1", zone, False, source), NOON_MS)
            for number in people:
                person(tx, number, purposes)

    def say(self, *said, after_s=None):
        """Each (source, who, level) or status, at the same instant; the node shows life."""
        if after_s is not None:
            self.now_ms = NOON_MS + round(after_s * 1000)
        news = [one if isinstance(one, NodeStatus) else Report(one[0], beacon(one[1]), one[2]) for one in said]
        with self.store.write() as tx:
            done = take(tx, [Received(one, self.now_ms) for one in news], self.rules, self.now_ms, self.ids)
        for one in news:
            self.live(one.source)
        return done

    def live(self, *sources):
        for source in sources:
            self.lives[source] = foreign.prolong(self.lives.get(source), self.now_ms)

    def enter(self, source=DOOR, who=1, level=-60.0, after_s=0):
        reports = foreign.GATES[source.kind].reports
        for number in range(reports):
            done = self.say((source, who, level), after_s=after_s + 5 * number)
        return done

    def pass_time(self, to_s, *living, every_s=15):
        """Time goes on; these nodes show life, as their telemetry does."""
        while self.now_ms < NOON_MS + to_s * 1000:
            self.now_ms = min(self.now_ms + every_s * 1000, NOON_MS + round(to_s * 1000))
            self.live(*living)
            self.sweep()

    def sweep(self, heard_up_to_ms=None):
        upto_ms = self.now_ms if heard_up_to_ms is None else heard_up_to_ms
        with self.store.write() as tx:
            deadlines.sweep(tx, self.rules, self.now_ms)
            return sweep(tx, self.rules, self.now_ms, self.ids, self.lives, upto_ms)

    def all(self, kind):
        with self.store.read() as tx:
            return tx.find(kind, {"tenant": TENANT}, limit=MANY)

    def one(self, kind):
        (row,) = self.all(kind)
        return row

    def account(self, edge="e-door"):
        (row,) = [one for one in self.all(ForeignAccount) if one.edge == edge]
        return row

    def edge(self, name="e-door"):
        with self.store.read() as tx:
            return tx.get(Edge, [(TENANT, name)])[0]
