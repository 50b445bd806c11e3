"""A store that refuses: nothing is acknowledged meanwhile, and all of it once, in order, when it commits again."""

import threading
from contextlib import contextmanager

import psycopg
import pytest

from hub.core.model import EdgeBoot, Seal
from hub.intake.writer import GroupWriter
from hub.ports import Busy
from hub.stores import open_store
from tests.hub.build import RULES, TENANT, Ids, event, sample
from tests.hub.intake.test_writer import AWAIT_S, Hub
from wire.errors import StoreFault


class Failing:
    """A store whose writing fails on purpose: before the work (`begin`), after it (`commit`), or not at all ("")."""

    def __init__(self, store, fault, when="begin"):
        self.store, self.fault, self.when = store, fault, when
        self.tried = threading.Semaphore(0)

    @contextmanager
    def write(self):
        try:
            if self.when == "begin":
                raise self.fault
            with self.store.write() as tx:
                yield tx
                if self.when:
                    raise self.fault
        finally:
            self.tried.release()

    def tries(self, count):
        for _ in range(count):
            assert self.tried.acquire(timeout=AWAIT_S)

    def __getattr__(self, name):
        return getattr(self.store, name)


def over(store, fault, when="begin"):
    """A hub on a failing store."""
    hub = Hub(store)
    hub.disk = Failing(store, fault, when)
    with store.write() as tx:
        tx.put([Seal(TENANT, "f", 0, 0)])
    hub.writer = GroupWriter(hub.disk, hub.clock, Ids(), RULES, hub.told, on_fault=hub._fall)
    hub.writer.retry_s = 0.01
    return hub


FULL = StoreFault("database or disk is full")


@pytest.mark.parametrize("when", ["begin", "commit"])
def test_while_the_store_cannot_commit_nothing_is_acknowledged_and_then_all_of_it_once(store, when):
    hub = over(store, FULL, when)
    hub.offer(event(1, "enter"), token="t1")
    hub.raw(b"unreadable", token="t2")
    future = hub.writer.submit(lambda tx: None)
    hub.writer.start()
    assert isinstance(future.exception(AWAIT_S), Busy)
    hub.disk.tries(3)
    assert hub.writer.trouble == str(FULL)
    hub.offer(sample(2), token="t3")
    with pytest.raises(Busy, match="cannot save"):
        hub.writer.submit(lambda tx: None)
    assert not hub.told.tokens
    assert not hub.told.acks
    hub.disk.when = ""
    hub.told.expect(lambda told: len(told.tokens) == 3)
    assert hub.told.tokens == ["t1", "t2", "t3"], "in order"
    assert hub.told.acks[-1].upto == 2
    assert hub.told.pushes == 1
    assert [hub.told.news.get(timeout=AWAIT_S) for _ in range(2)] == [str(FULL), ""], "told once each"
    assert not hub.writer.trouble
    counted = {name: hub.writer.counters[name] for name in ("messages", "events", "commands", "unreadable", "poison")}
    assert counted == {"messages": 3, "events": 2, "commands": 0, "unreadable": 1, "poison": 0}, "nothing tried in vain"
    assert hub.writer.counters["store_faults"] >= 3
    assert hub.writer.submit(lambda tx: "done").result(AWAIT_S) == "done"
    assert hub.writer.stop()
    (row,) = hub.all(EdgeBoot)
    assert (row.upto, row.committed) == (2, 2)
    assert hub.all(Seal)[0].proved_at_ms == hub.clock.at_ms, "the first commit wrote something even if nothing waited"
    assert not hub.faults


@pytest.mark.postgres
def test_a_server_that_ends_our_connection_is_waited_for(postgres_server):
    url = postgres_server.database()
    store = open_store(url)
    store.migrate()
    hub = over(store, FULL, "")
    hub.writer.start()
    hub.offer(event(1, "enter"), token="t1")
    hub.told.expect(lambda told: told.tokens)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    hub.offer(sample(2), token="t2")
    hub.told.expect(lambda told: len(told.tokens) == 2)
    assert hub.told.acks[-1].upto == 2
    assert hub.writer.counters["store_faults"] >= 1
    assert hub.writer.stop()
    assert not hub.faults
    store.close()


def test_without_traffic_the_store_is_tried_until_it_commits(store):
    hub = over(store, FULL)
    with pytest.raises(Busy):
        future = hub.writer.submit(lambda tx: None)
        hub.writer.start()
        future.result(AWAIT_S)
    hub.disk.tries(3)
    hub.disk.when = ""
    assert [hub.told.news.get(timeout=AWAIT_S) for _ in range(2)] == [str(FULL), ""]
    assert hub.writer.stop()
    assert hub.all(Seal)[0].proved_at_ms == hub.clock.at_ms


def test_stopping_does_not_wait_for_a_disk(store):
    hub = over(store, FULL)
    hub.offer(event(1, "enter"), token="t1")
    hub.writer.start()
    hub.disk.tries(2)
    assert hub.writer.stop(AWAIT_S)
    assert not hub.told.tokens
    assert not hub.faults


def test_a_fault_of_our_own_stops_the_writer_and_acknowledges_nothing(store):
    hub = over(store, RuntimeError("a bug"))
    hub.offer(event(1, "enter"), token="t1")
    future = hub.writer.submit(lambda tx: None)
    hub.writer.start()
    assert hub.fell.wait(AWAIT_S)
    assert isinstance(future.exception(AWAIT_S), RuntimeError)
    assert not hub.told.tokens
    assert not hub.told.acks
    assert not hub.offer(event(2))
