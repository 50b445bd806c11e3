"""What every store must do. Give `store` (and `another`: a second opening of the same data) and inherit the tests."""

import threading
from dataclasses import fields, replace

import pytest

from hub.core.model import (
    RECORDS,
    Consent,
    ConsentEvent,
    Decision,
    Edge,
    EdgeBoot,
    Grant,
    Offer,
    Profile,
    Push,
    Shop,
    Visit,
    ZoneStay,
)
from hub.ports import Conflict
from hub.stores.rows import key_of
from hub.stores.schema import BY_RECORD, DAY_MS, TABLES, YEAR_MS

T = "default"
PLAIN = {"text": "x", "int": 7, "real": 0.5, "bool": True, "json": {"a": [1, None, "ü"]}}


def row(kind, **changes):
    """A record with something in every field; lists where the class says list."""
    values = {column.name: PLAIN[column.kind] for column in BY_RECORD[kind].columns} | {"tenant": T}
    for field in fields(kind):
        if str(field.type).startswith("list"):
            values[field.name] = ["a", 1, None]
    return kind(**values | changes)


def visit(name, profile="p", store="s", entered=0, seen=10, **changes):
    return row(Visit, visit=name, profile=profile, store=store, entered_at_ms=entered, seen_at_ms=seen, **changes)


def push(name, **changes):
    base = {"grant": name, "state": "queued", "due_at_ms": 0, "expires_at_ms": 100, "attempts": 0}
    return row(Push, push=name, **base | changes)


def grant(name, **changes):
    return row(Grant, **{"grant": name, "code_hash": name, "state": "issued", "lock_at_ms": None} | changes)


class StoreContract:
    """The promises of `hub.ports.Store` and `Tx`."""

    @pytest.fixture
    def store(self):
        raise AssertionError("give a migrated, empty store")

    @pytest.fixture
    def another(self, store):
        """A second opening of the same data; the store itself where there is no such thing."""
        return store

    def save(self, store, *rows):
        with store.write() as tx:
            for one in rows:
                tx.put([one])

    def load(self, store, kind, *keys):
        with store.read() as tx:
            return tx.get(kind, [(T, *key) for key in keys])

    @pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
    def test_every_record_comes_back_as_it_went_in(self, store, kind):
        full = row(kind)
        empty = replace(full, **{c.name: None for c in BY_RECORD[kind].columns if c.nullable})
        self.save(store, full)
        with store.read() as tx:
            assert tx.get(kind, [key_of(BY_RECORD[kind], full)]) == [full]
        self.save(store, empty)
        with store.read() as tx:
            assert tx.get(kind, [key_of(BY_RECORD[kind], empty)]) == [empty]
            assert tx.count(kind, {"tenant": T}) == 1

    def test_migrating_again_does_nothing(self, store):
        assert store.migrate() == []

    def test_awkward_text_comes_back(self, store):
        odd = "'; DROP TABLE shop; -- % ? \" \n ü 𝄞"
        self.save(store, row(Shop, store="a", name=odd))
        assert self.load(store, Shop, ("a",))[0].name == odd

    def test_nul_becomes_visible(self, store):
        self.save(store, row(Shop, store="a", name="a\0b"), row(Offer, body={"t": "a\0b"}))
        assert self.load(store, Shop, ("a",))[0].name == "a\ufffdb"
        assert self.load(store, Offer, ("x", 7))[0].body == {"t": "a\ufffdb"}

    def test_what_was_put_in_can_be_changed_without_harm(self, store):
        one = row(Offer, body={"list": [1]})
        self.save(store, one)
        one.body["list"].append(2)
        assert self.load(store, Offer, ("x", 7))[0].body == {"list": [1]}

    def test_a_block_that_raises_changes_nothing(self, store):
        with pytest.raises(ZeroDivisionError), store.write() as tx:
            tx.put([row(Shop)])
            raise ZeroDivisionError
        assert self.load(store, Shop, ("x",)) == []

    def test_a_savepoint_that_raises_takes_only_its_own_with_it(self, store):
        with store.write() as tx:
            tx.put([row(Shop, store="a")])
            with pytest.raises(ZeroDivisionError), tx.savepoint():
                tx.put([row(Shop, store="b")])
                with tx.savepoint():
                    tx.put([row(Shop, store="c")])
                raise ZeroDivisionError
            tx.put([row(Shop, store="d")])
        assert {one.store for one in self.load(store, Shop, *"abcd")} == {"a", "d"}

    def test_a_conflict_in_a_savepoint_leaves_the_rest_usable(self, store):
        with store.write() as tx:
            tx.put([row(Decision, decision="a", trigger="t")])
            with pytest.raises(Conflict), tx.savepoint():
                tx.insert([row(Decision, decision="b", trigger="t")])
            tx.put([row(Decision, decision="c", trigger="u")])
        assert len(self.load(store, Decision, ("a",), ("b",), ("c",))) == 2

    def test_the_writer_sees_what_it_wrote_and_a_reader_does_not_yet(self, store):
        with store.write() as tx:
            tx.put([row(Shop)])
            assert tx.get(Shop, [(T, "x")]) == [row(Shop)]
            seen = []
            reader = threading.Thread(target=lambda: seen.append(self.load(store, Shop, ("x",))))
            reader.start()
            reader.join(60)
            assert seen == [[]]
        assert self.load(store, Shop, ("x",)) == [row(Shop)]

    def test_a_reader_keeps_its_snapshot(self, store, another):
        self.save(store, row(Shop, store="a"))
        with store.read() as tx:
            assert tx.count(Shop, {"tenant": T}) == 1
            self.save(another, row(Shop, store="b"))
            assert tx.count(Shop, {"tenant": T}) == 1

    def test_insert_refuses_what_exists(self, store):
        self.save(store, row(Shop))
        with pytest.raises(Conflict), store.write() as tx:
            tx.insert([row(Shop)])

    @pytest.mark.parametrize("table", [table for table in TABLES if table.unique], ids=lambda table: table.name)
    def test_unique_indexes_refuse_puts_too(self, store, table):
        last = table.key[-1]
        self.save(store, row(table.record, **{last: "a"}))
        with pytest.raises(Conflict), store.write() as tx:
            tx.put([row(table.record, **{last: "b"})])

    def test_of_two_versions_of_one_row_in_one_put_the_later_counts(self, store):
        with store.write() as tx:
            tx.put([row(Shop, name="old"), row(Shop, name="new")])
        assert self.load(store, Shop, ("x",))[0].name == "new"

    def test_empty_lists_are_fine(self, store):
        with store.write() as tx:
            tx.put([])
            tx.insert([])
            assert tx.get(Shop, []) == []
            assert tx.delete(Shop, []) == 0
            assert tx.visits_near([]) == []
            assert tx.find(Shop, {"tenant": T, "store": []}) == []

    def test_delete_counts_what_was_there(self, store):
        self.save(store, row(Shop, store="a"), row(Shop, store="b"))
        with store.write() as tx:
            assert tx.delete(Shop, [(T, "a"), (T, "z"), (T, "a")]) == 1
        assert [one.store for one in self.load(store, Shop, "a", "b")] == ["b"]

    def test_find_filters_orders_and_pages(self, store):
        states = ["issued", "locked", "issued", "expired", "issued"]
        self.save(store, *(grant(f"g{n}", state=state) for n, state in enumerate(states)))
        self.save(store, grant("g9", tenant="other", code_hash="g9"))

        def names(**more):
            with store.read() as tx:
                return [one.grant for one in tx.find(Grant, {"tenant": T, **more.pop("where", {})}, **more)]

        assert names() == ["g0", "g1", "g2", "g3", "g4"]
        assert names(newest_first=True, limit=2) == ["g4", "g3"]
        assert names(where={"state": "issued"}, after=(T, "g0")) == ["g2", "g4"]
        assert names(where={"state": ["locked", "expired"]}) == ["g1", "g3"]
        assert names(after=(T, "g2"), newest_first=True) == ["g1", "g0"]
        assert names(where={"lock_at_ms": None}, limit=1) == ["g0"]
        assert names(where={"lock_at_ms": 5}) == []
        with store.read() as tx:
            assert tx.count(Grant, {"tenant": T, "state": "issued"}) == 3

    def test_find_orders_by_bytes_not_by_language(self, store):
        self.save(store, *(row(Shop, store=name) for name in ("b-a", "ba", "a", "b0", "b-")))
        with store.read() as tx:
            assert [one.store for one in tx.find(Shop, {"tenant": T})] == ["a", "b-", "b-a", "b0", "ba"]

    def test_due_and_earliest(self, store):
        self.save(
            store, *(visit(name, deadline_ms=due) for name, due in (("a", 30), ("b", 10), ("c", None), ("d", 20)))
        )
        with store.read() as tx:
            assert [one.visit for one in tx.due(Visit, "deadline_ms", 25, 10)] == ["b", "d"]
            assert [one.visit for one in tx.due(Visit, "deadline_ms", 99, 1)] == ["b"]
            assert tx.earliest(Visit, "deadline_ms") == 10
            assert tx.earliest(Grant, "due_at_ms") is None

    def test_swap_changes_only_what_is_as_expected(self, store):
        self.save(store, grant("g"))
        change = {"state": "locked", "lock_at_ms": 5, "curve": {"n": 1}}
        with store.write() as tx:
            assert not tx.swap(Grant, (T, "g"), {"state": "redeemed"}, change)
            assert not tx.swap(Grant, (T, "h"), {"state": "issued"}, change)
            assert tx.swap(Grant, (T, "g"), {"state": ["issued", "delivered"], "lock_at_ms": None}, change)
            assert not tx.swap(Grant, (T, "g"), {"state": ["issued", "delivered"], "lock_at_ms": None}, change)
        (found,) = self.load(store, Grant, ("g",))
        assert (found.state, found.lock_at_ms, found.curve) == ("locked", 5, {"n": 1})

    def test_one_of_64_wins_a_swap(self, store, another):
        self.save(store, *(grant(f"g{n}") for n in range(5)))
        start, wins, failures = threading.Barrier(64), [], []

        def race(mine, number):
            try:
                start.wait(60)
                for n in range(5):
                    with mine.write() as tx:
                        if tx.swap(Grant, (T, f"g{n}"), {"state": "issued"}, {"state": "redeemed"}):
                            wins.append((n, number))
            except Exception as exc:
                failures.append(exc)

        threads = [threading.Thread(target=race, args=((store, another)[n % 2], n)) for n in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not failures
        assert sorted(n for n, _ in wins) == [0, 1, 2, 3, 4]

    def test_what_one_writer_read_no_other_changes_before_it_writes(self, store, another):
        """A command beside the hub reads a row, thinks, and writes it back whole; the hub does the same meanwhile."""
        self.save(store, row(EdgeBoot, upto=0))
        start, failures = threading.Barrier(4), []

        def count_up(mine):
            try:
                start.wait(60)
                for _ in range(25):
                    with mine.write() as tx:
                        (found,) = tx.get(EdgeBoot, [(T, "x", "x")])
                        tx.put([replace(found, upto=found.upto + 1)])
            except Exception as exc:
                failures.append(exc)

        threads = [threading.Thread(target=count_up, args=((store, another)[n % 2],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not failures
        assert [one.upto for one in self.load(store, EdgeBoot, ("x", "x"))] == [100]

    def test_visits_near_are_those_that_overlap(self, store):
        self.save(
            store, visit("a", entered=0, seen=10), visit("b", entered=20, seen=30), visit("c", entered=40, seen=50)
        )
        self.save(store, visit("d", profile="q", entered=0, seen=50), visit("e", store="t", entered=0, seen=50))
        with store.read() as tx:
            near = tx.visits_near([(T, "p", "s", 10, 20), (T, "q", "s", 60, 70)])
            assert sorted(one.visit for one in near) == ["a", "b"]
            assert [one.visit for one in tx.visits_near([(T, "p", "s", 31, 39)])] == []

    def test_pushes_are_leased_once_soonest_deadline_first(self, store, another):
        self.save(store, push("a", expires_at_ms=300), push("b", expires_at_ms=200), push("c", due_at_ms=99))
        self.save(store, push("d", state="sent"), push("e", tenant="other"))
        with store.write() as tx:
            taken = tx.take_pushes(T, 50, 60, 10)
        assert [(one.push, one.state, one.attempts, one.due_at_ms) for one in taken] == [
            ("b", "leased", 1, 60),
            ("a", "leased", 1, 60),
        ]
        with another.write() as tx:
            assert tx.take_pushes(T, 59, 70, 10) == []
            assert [one.push for one in tx.take_pushes(T, 60, 70, 1)] == ["b"]  # its lease ran out

    def test_scan_gives_every_row_of_the_tenant(self, store):
        self.save(store, row(Shop), row(Profile), row(Shop, tenant="other", store="o"))
        with store.read() as tx:
            found = [(table, values["tenant"]) for table, values in tx.scan(T)]
        assert sorted(found) == [("profile", T), ("shop", T)]

    def test_erasing_a_person_leaves_no_trace_of_the_name(self, store):
        mine = [row(kind, profile="somebody") for kind in RECORDS if "profile" in BY_RECORD[kind].names]
        stay = row(ZoneStay, visit="x")
        others = [row(kind, profile="else", **_apart(kind)) for kind in RECORDS if "profile" in BY_RECORD[kind].names]
        self.save(store, *mine, stay, *others)
        with store.write() as tx:
            touched = tx.erase(T, "somebody")
        with store.read() as tx:
            assert "somebody" not in str(list(tx.scan(T)))
            assert tx.count(ZoneStay, {"tenant": T}) == 0
            assert tx.count(Visit, {"tenant": T}) == 1
        assert set(touched) >= {"profile", "visit", "zone_stay", "redemption", "consent_event"}

    def test_retention_removes_what_is_too_old_and_nothing_else(self, store):
        rules = [table for table in TABLES if table.retention.column]
        now_ms = 20 * 366 * 86_400_000
        for table in rules:
            column, keep_ms = table.retention.column, table.retention.keep_ms
            apart = {name: name for hold in table.retention.holds for _, name in hold.match if name != "tenant"}
            old = row(table.record, **apart | {column: now_ms - keep_ms} | _named(table, "old"))
            young = row(table.record, **{column: now_ms - keep_ms + 1} | _named(table, "young"))
            self.save(store, old, young)
        with store.write() as tx:
            removed = tx.expire(T, now_ms, 1000)
        assert removed == {table.name: 1 for table in rules}
        with store.read() as tx:
            for table in rules:
                assert tx.count(table.record, {"tenant": T}) == 1, table.name

    def test_retention_leaves_what_another_row_speaks_for(self, store):
        """Consent: the answer in force stays, and what was answered before it while the last answer is young."""
        now_ms = 20 * YEAR_MS
        limit_ms = now_ms - 6 * YEAR_MS

        def said(name, profile, at_ms):
            return row(ConsentEvent, event=name, profile=profile, at_ms=at_ms)

        self.save(
            store,
            said("a1", "in force", 1), said("a2", "in force", limit_ms), row(Consent, profile="in force", event="a2"),
            said("b1", "changed lately", 1), said("b2", "changed lately", limit_ms + 1),
            said("c1", "erased long ago", 1), said("c2", "erased long ago", 2),
            row(ConsentEvent, tenant="other", event="d1", at_ms=0),
        )  # fmt: skip
        with store.write() as tx:
            assert tx.expire(T, now_ms, 1000) == {"consent_event": 3}
            assert tx.expire(T, now_ms, 1000) == {}
            left = [one.event for one in tx.find(ConsentEvent, {"tenant": T})]
            assert left == ["a2", "b1", "b2"]
            assert tx.count(ConsentEvent, {"tenant": "other"}) == 1

    def test_the_watermark_of_a_running_boot_stays_however_quiet_its_edge(self, store):
        """Forgotten, the boot's next event would look like a loss of everything before it."""
        boots = [row(EdgeBoot, edge=edge, boot=boot, last_at_ms=0) for edge in ("e1", "e2") for boot in ("b1", "b2")]
        running = [row(Edge, edge=e, status_boot=b, source_node=e) for e, b in (("e1", "b2"), ("e2", "b3"))]
        self.save(store, *boots, *running)
        with store.write() as tx:
            assert tx.expire(T, 31 * DAY_MS, 1000) == {"edge_boot": 3}
            assert [(one.edge, one.boot) for one in tx.find(EdgeBoot, {"tenant": T})] == [("e1", "b2")]

    def test_what_is_held_keeps_nothing_else_from_going(self, store):
        held = [row(ConsentEvent, event=f"a{n}", profile=f"p{n}", at_ms=n) for n in range(5)]
        names = [row(Consent, profile=f"p{n}", event=f"a{n}") for n in range(5)]
        free = [row(ConsentEvent, event=f"b{n}", profile=f"q{n}", at_ms=100 + n) for n in range(5)]
        self.save(store, *held, *names, *free)
        with store.write() as tx:
            assert tx.expire(T, 20 * YEAR_MS, 3) == {"consent_event": 3}
            assert tx.expire(T, 20 * YEAR_MS, 3) == {"consent_event": 2}

    def test_retention_takes_no_more_than_asked(self, store):
        self.save(store, *(row(EdgeBoot, boot=f"b{n}", last_at_ms=0) for n in range(5)))
        with store.write() as tx:
            assert tx.expire(T, 10**12, 3) == {"edge_boot": 3}

    def test_many_keys_at_once(self, store):
        with store.write() as tx:
            tx.put([row(Consent, profile=f"p{n}", given=n % 2 == 0) for n in range(5000)])
            found = tx.get(Consent, [(T, f"p{n}", "x") for n in range(5000)])
        assert len(found) == 5000
        assert sum(one.given for one in found) == 2500


def _apart(kind):
    """Other values in keys and unique columns, so that a second row fits."""
    table = BY_RECORD[kind]
    names = {name for names in (table.key, *table.unique) for name in names} - {"tenant", "profile"}
    return {name: "y" for name in names if next(c.kind for c in table.columns if c.name == name) == "text"}


def _named(table, name):
    texts = {c.name for c in table.columns if c.kind == "text"}
    return {column: name for names in (table.key, *table.unique) for column in names if column in texts - {"tenant"}}
