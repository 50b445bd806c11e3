"""Any sequence of operations gives the same on a SQL store as in memory."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from hub.core.model import Decision, Grant, Push
from hub.ports import Conflict
from hub.stores import open_store
from tests.store_contract import T, grant, push, row

NAMES = st.sampled_from(["a", "b", "c", "d"])
STATES = st.sampled_from(["issued", "locked", "expired"])
INSTANTS = st.none() | st.integers(0, 5)


class SameAsMemory(RuleBasedStateMachine):
    """Every rule runs on both stores and must give the same; `url` is set per run."""

    url = ""

    def __init__(self):
        super().__init__()
        self.folder = None
        url = self.url
        if url == "sqlite":
            self.folder = tempfile.mkdtemp(prefix="machine-")
            url = f"sqlite:{Path(self.folder) / 'hub.db'}"
        self.stores = (open_store(url), open_store("memory:"))
        for store in self.stores:
            store.migrate()
            with store.write() as tx:
                for kind in (Grant, Push, Decision):
                    found = tx.find(kind, {"tenant": T})
                    names = {Grant: "grant", Push: "push", Decision: "decision"}
                    tx.delete(kind, [(T, getattr(one, names[kind])) for one in found])

    def teardown(self):
        for store in self.stores:
            store.close()
        if self.folder is not None:
            shutil.rmtree(self.folder)

    def both(self, act):
        """Run on both in a transaction of its own; an expected refusal is a result too."""
        results = []
        for store in self.stores:
            try:
                with store.write() as tx:
                    results.append(act(tx))
            except Conflict:
                results.append("conflict")
        assert results[0] == results[1]
        return results[0]

    @rule(name=NAMES, code=NAMES, state=STATES, due=INSTANTS)
    def put_grant(self, name, code, state, due):
        self.both(lambda tx: tx.put([grant(name, code_hash=code, state=state, due_at_ms=due)]))

    @rule(names=st.lists(NAMES, max_size=3), trigger=NAMES)
    def insert_decisions(self, names, trigger):
        rows = [row(Decision, decision=name, trigger=f"{trigger}{n}") for n, name in enumerate(names)]
        self.both(lambda tx: tx.insert(rows))

    @rule(name=NAMES, expect=st.lists(STATES, max_size=2), state=STATES, due=INSTANTS)
    def swap(self, name, expect, state, due):
        self.both(lambda tx: tx.swap(Grant, (T, name), {"state": expect}, {"state": state, "due_at_ms": due}))

    @rule(names=st.lists(NAMES, max_size=3))
    def delete(self, names):
        self.both(lambda tx: tx.delete(Grant, [(T, name) for name in names]))

    @rule(name=NAMES, due=INSTANTS, expires=st.integers(0, 5))
    def put_push(self, name, due, expires):
        self.both(lambda tx: tx.put([push(name, due_at_ms=due, expires_at_ms=expires)]))

    @rule(now=st.integers(0, 5), limit=st.integers(1, 3))
    def take(self, now, limit):
        self.both(lambda tx: tx.take_pushes(T, now, now + 2, limit))

    @rule(names=st.lists(NAMES, min_size=1, max_size=2), code=NAMES)
    def put_in_a_savepoint(self, names, code):
        def act(tx):
            try:
                with tx.savepoint():
                    tx.put([grant(name, code_hash=code) for name in names])
            except Conflict:
                return "refused"
            return "done"

        self.both(act)

    @rule(states=st.lists(STATES, max_size=2), after=st.none() | NAMES, limit=st.integers(0, 3), newest=st.booleans())
    def find(self, states, after, limit, newest):
        key = None if after is None else (T, after)
        self.both(
            lambda tx: tx.find(Grant, {"tenant": T, "state": states}, after=key, limit=limit, newest_first=newest)
        )

    @rule(now=st.integers(0, 5))
    def due(self, now):
        self.both(lambda tx: sorted(one.grant for one in tx.due(Grant, "due_at_ms", now, 10)))

    @invariant()
    def the_same_rows(self):
        for kind in (Grant, Push, Decision):
            self.both(lambda tx, kind=kind: tx.find(kind, {"tenant": T}))
        self.both(lambda tx: tx.earliest(Push, "due_at_ms"))


FEW = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_sqlite_does_as_memory_does():
    run_state_machine_as_test(type("OnSqlite", (SameAsMemory,), {"url": "sqlite"}), settings=FEW)


@pytest.mark.postgres
def test_postgres_does_as_memory_does(postgres_server):
    url = postgres_server.database()
    run_state_machine_as_test(type("OnPostgres", (SameAsMemory,), {"url": url}), settings=FEW)
