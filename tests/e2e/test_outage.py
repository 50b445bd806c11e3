"""A long outage with a full outbox, then a power cut, on virtual time: the real edge core, the real hub's use cases."""

from collections import Counter

import pytest

from edge.adapters.spool import Limits, Spool
from edge.core.presence import Gates, PresenceEngine
from hub.core.model import EdgeBoot, Loss, Visit
from hub.core.watermark import accounted
from hub.intake.inbound import Inbound
from hub.stores import open_store
from hub.usecases import presence
from hub.usecases.presence import Batch
from tests.hub.build import NOON_MS, RULES, TENANT, Ids, beacon, house, offer, person
from wire.ibeacon import format_uuid, parse_uuid
from wire.messages import ClockStamp, Presence, read_presence, write

HOUR_MS = 3_600_000
AGE_MS = 1_000 * HOUR_MS
ROOMY = Limits(max_bytes=200_000, max_age_ms=AGE_MS)
TIGHT = Limits(max_bytes=8_000, max_age_ms=AGE_MS)  # less than the enters and exits of the outage alone

COUNTED_AS = {"sample": "samples", "enter": "enters", "exit": "exits", "unknown": "exits"}


def stamp(step_ms=0):
    return ClockStamp(source="kernel", offset_ms=NOON_MS + step_ms, error_ms=10, synced=True)


class Edge:
    """Presence engine and outbox, without a network."""

    def __init__(self, path, boot, clock, limits=ROOMY):
        self.engine, self.spool, self.clock = PresenceEngine(Gates()), Spool(path, limits), clock
        self.boot, self.kinds = boot, Counter()  # kinds: as a loss would count them
        self.spool.begin(boot, clock, 0)

    def keep(self, facts, now_ms):
        events = []
        for fact in facts:
            self.kinds[COUNTED_AS[fact.kind]] += 1
            event = {**fact._asdict(), "beacon": {
                "uuid": format_uuid(fact.key[:16]), "major": int.from_bytes(fact.key[16:18], "big"),
                "minor": int.from_bytes(fact.key[18:], "big"),
            }}  # fmt: skip
            del event["key"]
            events.append(event)
        if events:
            self.spool.append(events, self.clock, now_ms)

    def live(self, from_ms, to_ms, who, every_ms=1000):
        """People come for five minutes of every half hour."""
        for now_ms in range(from_ms, to_ms, every_ms):
            facts = self.engine.advance(now_ms)
            for number in who:
                if (now_ms // 60_000 + 7 * number) % 30 < 5:
                    facts += self.engine.hear(key_of(number), -60, now_ms)
            self.keep(facts, now_ms)


def key_of(number):
    found = beacon(number)
    return parse_uuid(found.uuid) + found.major.to_bytes(2, "big") + found.minor.to_bytes(2, "big")


def drain(edge, store, ids, now_ms):
    """Send everything the outbox holds, as the agent does; ack after the commit. What arrived, by boot and kind."""
    arrived = Counter()
    for boot in edge.spool.boots():
        after = 0
        while events := edge.spool.read(boot.boot, after, 50):
            current = boot.boot == edge.boot
            oldest = next(one for one in edge.spool.boots() if one.boot == boot.boot).oldest_seq
            message = Presence(
                v=1, edge="e-door", boot=boot.boot, oldest_seq=oldest, sent_mono_ms=now_ms if current else None,
                sent_at_ms=0, clock=boot.clock, events=events,
            )  # fmt: skip
            inbound = Inbound("s1", "e-door", "presence", write(message), NOON_MS + now_ms, None)
            with store.write() as tx:
                batch = Batch(inbound.store, inbound.edge, read_presence(inbound.payload), inbound.received_at_ms)
                done = presence.commit_presence(tx, [batch], RULES, NOON_MS + now_ms, ids)
            upto = done.acks["e-door", boot.boot].upto
            assert upto >= events[-1]["seq"]
            arrived.update((boot.boot, COUNTED_AS[one["kind"]]) for one in events if one["kind"] != "lost")
            edge.spool.ack(boot.boot, upto)
            after = upto
    return arrived


def open_shop():
    store = open_store("memory:")
    with store.write() as tx:
        house(tx, offer())
        for number in (1, 2, 3):
            person(tx, number, at_ms=NOON_MS - 1)
    return store


@pytest.mark.parametrize("step_ms", [0, 14 * 24 * HOUR_MS, -14 * 24 * HOUR_MS])
def test_a_long_outage_then_a_power_cut_loses_only_what_is_counted(tmp_path, step_ms):
    store, ids = open_shop(), Ids()
    path = tmp_path / "outbox.db"
    edge = Edge(path, "b1", stamp())
    edge.live(0, 2 * HOUR_MS, (1, 2, 3))
    edge.clock = stamp(step_ms)  # somebody sets the wall clock in the middle of the outage
    edge.live(2 * HOUR_MS, 4 * HOUR_MS, (1, 2, 3))
    published = edge.spool.totals(4 * HOUR_MS).published
    assert edge.spool.totals(4 * HOUR_MS).lost > 0, "the outage must overflow the outbox, or nothing is tested"
    assert edge.spool.totals(4 * HOUR_MS).bytes <= ROOMY.max_bytes
    kinds = edge.kinds
    # the power goes: nothing is closed, what was durable is all there is
    after = Edge(path, "b2", stamp())
    after.live(0, HOUR_MS, (1, 2, 3))
    drain(after, store, ids, HOUR_MS)
    with store.read() as tx:
        rows = tx.find(EdgeBoot, {"tenant": TENANT})
        losses = tx.find(Loss, {"tenant": TENANT})
        visits = tx.find(Visit, {"tenant": TENANT}, limit=10_000)
    by_boot = {row.boot: row for row in rows}
    assert by_boot["b1"].upto == published
    assert all(accounted(row) for row in rows)
    for boot, row in by_boot.items():
        mine = [loss for loss in losses if loss.boot == boot]
        assert row.lost == sum(loss.seq - loss.first_seq + 1 for loss in mine) == sum(loss.samples for loss in mine)
    assert not any(loss.enters or loss.exits for loss in losses), "samples go first, and here they suffice"
    assert by_boot["b1"].committed == published - by_boot["b1"].lost
    assert kinds["enters"] == 24
    assert len(visits) >= 3
    edge.spool.close()
    after.spool.close()
    store.close()


def test_where_enters_and_exits_must_go_too_every_kind_is_counted_exactly(tmp_path):
    store, ids = open_shop(), Ids()
    path = tmp_path / "outbox.db"
    edge = Edge(path, "b1", stamp(), TIGHT)
    edge.live(0, 4 * HOUR_MS, (1, 2, 3))
    assert edge.spool.totals(4 * HOUR_MS).bytes <= TIGHT.max_bytes
    after = Edge(path, "b2", stamp(), TIGHT)  # the power went: nothing was closed
    after.live(0, HOUR_MS, (1, 2, 3))
    told = {"b1": edge.kinds, "b2": after.kinds}
    arrived = drain(after, store, ids, HOUR_MS)
    with store.read() as tx:
        rows = {row.boot: row for row in tx.find(EdgeBoot, {"tenant": TENANT})}
        losses = tx.find(Loss, {"tenant": TENANT}, limit=10_000)
    for boot, kinds in told.items():
        lost = Counter()
        for loss in losses:
            if loss.boot == boot:
                lost.update({name: getattr(loss, name) for name in ("samples", "enters", "exits")})
                assert loss.seq - loss.first_seq + 1 == loss.samples + loss.enters + loss.exits
                assert loss.reason == "overflow"
        assert {name: lost[name] + arrived[boot, name] for name in kinds} == dict(kinds)
        row = rows[boot]
        assert accounted(row)
        assert (row.upto, row.lost) == (kinds.total(), lost.total())
        assert row.committed == kinds.total() - lost.total()
        assert row.duplicates == 0
    gone = {name: sum(getattr(loss, name) for loss in losses if loss.boot == "b1") for name in told["b1"]}
    assert all(gone.values()), f"the outage must cost every kind, or nothing is tested: {gone}"
    totals = after.spool.totals(HOUR_MS)
    assert totals.published == sum(kinds.total() for kinds in told.values())
    assert totals.lost == sum(row.lost for row in rows.values())
    assert (totals.rows, totals.bytes) == (0, 0)
    edge.spool.close()
    after.spool.close()
    store.close()
