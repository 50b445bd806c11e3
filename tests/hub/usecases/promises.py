"""A small world around the use cases, for tests that do whatever comes to mind and audit after each step."""

from collections import defaultdict
from dataclasses import dataclass, field

from hub.core.grants import code_hash, grant_code
from hub.core.model import EdgeBoot, Grant, Quarantine, Redemption, Visit, ZoneStay
from hub.ports import Fate, Receipt
from hub.stores import open_store
from hub.usecases import deadlines, deliver, presence
from hub.usecases.audit import Witness, audit
from hub.usecases.consent import ConsentChange, record_consents
from hub.usecases.edges import record_status
from hub.usecases.me import erase
from hub.usecases.redeem import RedeemRequest, redeem, reverse
from tests.hub.build import (
    BOOTED_AT_MS,
    KEY,
    NOON_MS,
    RULES,
    TENANT,
    Ids,
    batch,
    event,
    house,
    lost,
    offer,
    person,
)  # fmt: skip
from wire.messages import Status

DAY_MS = 86_400_000
SHORT = {"kind": "linear", "start_bp": 3000, "floor_bp": 500, "life_ms": 300_000, "tail_ms": 60_000}
OFFERS = (
    offer("hello", cooldown_s=0, curve=SHORT),
    offer("shelf", trigger={"on": "dwell", "zone_kind": "floor", "dwell_s": 60}, curve=SHORT),
    offer("window", trigger={"on": "enter", "zone_kind": "approach"}, cooldown_s=600, curve=SHORT),
)


@dataclass
class FakeEdge:
    """Numbers and keeps its events until the hub's word; `held` is of `boot`, `earlier` of the one before."""

    name: str
    boot: int = 1
    last_seq: int = 0
    held: list = field(default_factory=list)
    earlier: list = field(default_factory=list)
    inside: set = field(default_factory=set)

    def add(self, kind, who, now_ms):
        self.last_seq += 1
        mono_ms = now_ms - BOOTED_AT_MS
        self.held.append((self.last_seq, event(self.last_seq, kind, who=who, mono_ms=mono_ms, rssi_dbm=-50.0), now_ms))

    def acked(self, boot, upto):
        kept = self.held if boot == self.boot_name else self.earlier
        kept[:] = [one for one in kept if one[0] > upto]

    @property
    def boot_name(self):
        return f"b{self.boot}"

    @property
    def waiting(self):
        """What goes next: (boot, earlier, events held)."""
        if self.earlier:
            return f"b{self.boot - 1}", True, self.earlier
        return self.boot_name, False, self.held


class World:
    """One store, three of its edges and the people in it, on the memory store."""

    def __init__(self):
        self.store, self.ids, self.now_ms = open_store("memory:"), Ids(), NOON_MS
        self.edges = [FakeEdge(f"e-{kind}") for kind in ("approach", "door", "floor")]
        self.people, self.generation = {1: "p1", 2: "p2"}, 0
        self.phones, self.tills = [], []
        with self.store.write() as tx:
            house(tx, *OFFERS)
            for number in self.people:
                person(tx, number, purposes=())
        for one in self.edges:
            self.status(one, "online")

    # -- time ------------------------------------------------------------------------------------------------------

    def wait(self, ms):
        """Time passes, and the hub does what is due."""
        self.now_ms += ms
        self.write(lambda tx: deadlines.sweep(tx, RULES, self.now_ms))

    def wait_days(self, days):
        """A long time passes; no outbox holds anything for longer than it may."""
        if any(one.held or one.earlier for one in self.edges):
            days = min(days, 6)  # an outbox holds a week
        self.wait(3_600_000)
        self.push(Fate.TRY_LATER)  # the push worker settles what has run out
        self.wait(days * DAY_MS)
        for one in self.edges:
            one.inside.clear()
        self.write(lambda tx: deadlines.clean(tx, RULES, self.now_ms))

    def write(self, act):
        with self.store.write() as tx:
            return act(tx)

    def rows(self, kind, **where):
        with self.store.read() as tx:
            return tx.find(kind, {"tenant": TENANT, **where}, limit=100_000)

    # -- edges -----------------------------------------------------------------------------------------------------

    def say(self, one, who, kind):
        """What an edge may say of a person, given what it said before."""
        inside = who in one.inside
        if (kind == "enter" and inside) or (kind in ("exit", "unknown") and not inside):
            return
        if kind == "enter":
            one.inside.add(who)
        elif kind == "exit":
            one.inside.discard(who)
        one.add(kind, who, self.now_ms)

    def message(self, one, count):
        """The next message of an edge, or None."""
        boot, earlier, held = one.waiting
        if not held:
            return None
        mono_ms = None if earlier else self.now_ms - BOOTED_AT_MS
        events = [each for _, each, _ in held[:count]]
        oldest = getattr(events[0], "first_seq", events[0].seq)
        return batch(
            *events, edge=one.name, boot=boot, oldest_seq=oldest, received_at_ms=self.now_ms, sent_mono_ms=mono_ms
        )

    def commit(self, ones, count, ack=True):
        """A group of messages, one of each edge; without `ack` the answer gets lost and everything comes again."""
        built = [message for message in (self.message(one, count) for one in ones) if message is not None]
        done = self.write(lambda tx: presence.commit_presence(tx, built, RULES, self.now_ms, self.ids))
        if ack:
            self.answer(done)

    def answer(self, done):
        for (name, boot), told in done.acks.items():
            for one in self.edges:
                if one.name == name:
                    one.acked(boot, told.upto)

    def poison(self, one, count):
        """A message makes the hub's own code fail."""
        built = self.message(one, count)
        if built is not None:
            self.answer(self.write(lambda tx: presence.set_aside(tx, built, "KeyError in the hub", RULES, self.now_ms)))

    def mend(self):
        """The fault is mended, what was set aside is applied."""
        for row in self.rows(Quarantine):
            self.write(lambda tx, row=row: presence.replay(tx, row, RULES, self.now_ms, self.ids))

    def overflow(self, one, count):
        """The oldest rows of the boot give way to a loss that counts them."""
        dropped = one.held[:count]
        if dropped and not any(each.kind == "lost" for _, each, _ in dropped):
            kinds = [each.kind for _, each, _ in dropped]
            seq = dropped[-1][0]
            gone = lost(dropped[0][0], seq, kinds.count("sample"), kinds.count("enter"), len(kinds))
            one.held[: len(dropped)] = [(seq, gone, self.now_ms)]

    def restart(self, one):
        """The agent starts anew, once nothing is left of the start before the last."""
        if not one.earlier:
            one.earlier, one.held, one.last_seq = one.held, [], 0
            one.boot += 1
            one.inside.clear()
            self.status(one, "online")

    def status(self, one, state):
        told = Status(v=1, edge=one.name, boot=one.boot_name, state=state, version="1")
        self.write(lambda tx: record_status(tx, "s1", one.name, told, RULES, self.now_ms))

    # -- people ----------------------------------------------------------------------------------------------------

    def choose(self, who, purposes, given):
        wanted = dict.fromkeys(purposes, given)
        change = ConsentChange(TENANT, self.people[who], wanted, "n@1", "0" * 64, "app_screen", "app")
        self.write(lambda tx: record_consents(tx, change, self.now_ms, self.ids))

    def sight(self, who, entered):
        self.generation += 1
        report = presence.SightingReport(
            TENANT, self.people[who], f"d{who}", "s1", entered, self.now_ms, f"n{self.generation}"
        )
        self.write(lambda tx: presence.record_sighting(tx, report, RULES, self.now_ms, self.ids))

    def forget(self, who):
        """Erased; then somebody new enrols with the same tag."""
        gone = self.people[who]
        mine = {row.grant for row in self.rows(Grant, profile=gone)}
        used = {row.grant for row in self.rows(Redemption, profile=gone)}
        self.phones = [one for one in self.phones if one["grant"] not in mine - used]
        self.write(lambda tx: erase(tx, RULES, gone, self.now_ms, self.ids))
        self.generation += 1
        name = f"p{who}-{self.generation}"
        self.people[who] = name
        self.write(lambda tx: person(tx, who, purposes=(), at_ms=self.now_ms, profile=name))

    # -- offers ----------------------------------------------------------------------------------------------------

    def push(self, fate):
        """The push worker wakes; whatever it may send meets this fate."""
        for one in self.write(lambda tx: deliver.take_due(tx, TENANT, self.now_ms, 100)):
            self.write(lambda tx, one=one: deliver.settle(tx, one, Receipt(fate), self.now_ms, 0.5))
            if fate is Fate.DELIVERED:
                seen = {"device": one.device, "grant": one.grant, "received_at_ms": self.now_ms}
                self.phones.append(seen | {"curve": one.body["curve"]})

    def redeem(self, pick, basket):
        found = self.rows(Grant)
        if not found:
            return
        grant = found[pick % len(found)]
        asked = RedeemRequest(TENANT, code_hash(grant_code(KEY, grant.grant)), "s1", "till-1", basket, "EUR")
        done = self.write(lambda tx: redeem(tx, asked, self.now_ms, self.ids))
        if isinstance(done, Redemption):
            names = ("grant", "redemption", "value_bp", "discount_minor", "t_lock_ms")
            self.tills.append({name: getattr(done, name) for name in names})

    def take_back(self, pick):
        if self.tills:
            name = self.tills[pick % len(self.tills)]["redemption"]
            self.write(lambda tx: reverse(tx, TENANT, name, self.now_ms))

    # -- judging ---------------------------------------------------------------------------------------------------

    def violations(self):
        """What the audit finds. Phones and tills show what they saw lately, as the audit asks of its witnesses."""
        lately_ms = self.now_ms - 90 * DAY_MS
        witness = Witness(
            phones=[one for one in self.phones if one["received_at_ms"] > lately_ms],
            tills=[one for one in self.tills if one["t_lock_ms"] > lately_ms],
        )
        with self.store.read() as tx:
            return audit(tx, TENANT, RULES.grace_ms, self.now_ms, witness)

    def stray_stays(self):
        """Stays in zones of visits that became part of others."""
        parts = {row.visit for row in self.rows(Visit, state="merged")}
        return [row for row in self.rows(ZoneStay) if row.visit in parts]

    def accounts(self):
        """(edge, boot) → sequences the hub accounts for."""
        found = defaultdict(int)
        for row in self.rows(EdgeBoot):
            found[row.edge, row.boot] = row.upto
        return found
