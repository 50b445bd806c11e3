"""A disk that takes nothing: events go on, in memory, in order, with counted losses; and return to the disk."""

import json
import os
import resource
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.adapters.outbox import LOSS_REASON, RETRY_MS, Outbox
from edge.adapters.spool import ROW_OVERHEAD, Limits
from edge.core.outbox import LOST_BYTES
from tests.edge.adapters.test_spool import BIG, CLOCK, event, events
from wire.errors import StoreFault
from wire.messages import LostEvent

ALL = 10**6
FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None  # many examples, and no power to be cut


@contextmanager
def no_file_may_grow():
    """The kernel refuses every write of this process to a file. SQLite calls it an I/O error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "outbox.db"


def begun(path, boot="b1", memory_bytes=10**6):
    outbox = Outbox(path, BIG, memory_bytes)
    outbox.begin(boot, CLOCK, 0)
    return outbox


def held(outbox, boot="b1"):
    return outbox.read(boot, 0, ALL)


def seqs(outbox, boot="b1"):
    return [one["seq"] for one in held(outbox, boot)]


def on_disk(path):
    """Sequences per boot in the file, as another process would find them."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        found = {boot: [] for (boot,) in db.execute("SELECT boot FROM boot")}
        for boot, seq in db.execute("SELECT b.boot, seq FROM event e JOIN boot b ON b.no = e.boot_no ORDER BY seq"):
            found[boot].append(seq)
    return found


def test_events_go_on_while_the_disk_takes_nothing_and_all_return_to_it(path):
    outbox = begun(path)
    assert outbox.append(events("enter", "sample"), CLOCK, 10) == [1, 2]
    with no_file_may_grow():
        assert outbox.append(events("sample", "exit"), CLOCK, 20) == [3, 4]
        assert (outbox.trouble, outbox.refusals, outbox.in_memory) == ("disk_failing", 1, 2)
        assert seqs(outbox) == [1, 2, 3, 4]
        assert outbox.read("b1", 1, 2) == held(outbox)[1:3], "across both places"
        (boot,) = outbox.boots()
        assert (boot.oldest_seq, boot.last_seq) == (1, 4)
        assert outbox.append(events("enter"), CLOCK, 30) == [5]
        assert not outbox.mend(outbox.due_ms() - 1), "not yet"
        assert not outbox.mend(outbox.due_ms())
        assert on_disk(path) == {"b1": [1, 2]}
        assert outbox.totals(40).published == 5
    assert outbox.mend(outbox.due_ms())
    assert (outbox.trouble, outbox.due_ms(), outbox.in_memory, outbox.refusals) == ("", None, 0, 1)
    assert on_disk(path) == {"b1": [1, 2, 3, 4, 5]}
    assert outbox.append(events("exit"), CLOCK, 40) == [6]
    assert (outbox.totals(40).rows, outbox.totals(40).published, outbox.totals(40).lost) == (6, 6, 0)
    outbox.close()
    again = Outbox(path, BIG)
    again.begin("b2", CLOCK, 0)
    assert seqs(again) == [1, 2, 3, 4, 5, 6]
    again.close()


def test_what_the_hub_holds_is_not_sent_again_even_if_it_cannot_be_deleted(path):
    outbox = begun(path)
    outbox.append(events("enter", "sample", "sample"), CLOCK, 10)
    with no_file_may_grow():
        assert outbox.ack("b1", 2) == 0
        assert outbox.trouble == "disk_failing"
        assert seqs(outbox) == [3]
        (boot,) = outbox.boots()
        assert (boot.oldest_seq, boot.last_seq) == (3, 3)
        outbox.append(events("exit"), CLOCK, 20)
        assert outbox.ack("b1", 4) == 1, "the one in memory"
        (boot,) = outbox.boots()
        assert (boot.oldest_seq, boot.last_seq) == (5, 4)
        assert on_disk(path) == {"b1": [1, 2, 3]}
    assert outbox.mend(outbox.due_ms())
    assert on_disk(path) == {"b1": []}
    assert outbox.append(events("enter"), CLOCK, 30) == [5], "numbers go on from those that never were on the disk"
    outbox.close()


def test_memory_is_bounded_and_what_it_drops_is_counted_and_named(path):
    outbox = begun(path, memory_bytes=5_000)
    outbox.append(events("sample"), CLOCK, 0)
    with no_file_may_grow():
        for n in range(100):
            outbox.append(events("enter", "sample", "exit"), CLOCK, n)
    kept = held(outbox)
    lost = [LostEvent.model_validate(one) for one in kept if one["kind"] == "lost"]
    assert {one.reason for one in lost} == {LOSS_REASON}
    alive = Counter(one["kind"] for one in kept)
    for name, kind, given in (("samples", "sample", 101), ("enters", "enter", 100), ("exits", "exit", 100)):
        assert sum(getattr(one, name) for one in lost) + alive[kind] == given
    assert outbox.totals(100).lost == sum(one.seq - one.first_seq + 1 for one in lost)
    in_memory = [one for one in kept if one["seq"] > 1]
    assert sum(len(json.dumps(one, separators=(",", ":"))) + ROW_OVERHEAD for one in in_memory) <= 5_000
    assert outbox.fill > 0.5, "back-pressure: samples come more rarely"
    before = held(outbox), outbox.totals(100)
    assert outbox.mend(outbox.due_ms())
    assert (held(outbox), outbox.totals(100)) == before
    outbox.close()


def test_a_disk_that_fills_up_is_told_from_one_that_fails(path):
    outbox = begun(path)
    outbox.append(events("enter"), CLOCK, 0)
    outbox._disk._db.execute("PRAGMA max_page_count = 1")  # what a full disk looks like to SQLite
    outbox.append(events(*["sample"] * 500), CLOCK, 1)
    assert outbox.trouble == "disk_full"
    outbox._disk._db.execute("PRAGMA max_page_count = 100000")
    assert outbox.mend(outbox.due_ms())
    assert on_disk(path) == {"b1": list(range(1, 502))}
    outbox.close()


def test_a_start_on_a_disk_that_takes_nothing_works_from_memory(path):
    path.parent.mkdir()
    with no_file_may_grow():
        outbox = begun(path)
        assert outbox.trouble == "disk_failing"
        assert outbox.append(events("enter", "exit"), CLOCK, 10) == [1, 2]
        assert seqs(outbox) == [1, 2]
        assert not outbox.mend(outbox.due_ms())
        (boot,) = outbox.boots()
        assert (boot.boot, boot.oldest_seq, boot.last_seq) == ("b1", 1, 2)
    assert outbox.mend(outbox.due_ms())
    assert on_disk(path) == {"b1": [1, 2]}
    outbox.close()


def test_what_earlier_starts_left_on_a_full_disk_is_sent_first(path):
    before = begun(path, "b0")
    before.append(events("enter", "sample"), CLOCK, 0)
    before._disk._db.execute("PRAGMA wal_autocheckpoint = 0")
    outbox = Outbox(path, BIG)
    with no_file_may_grow():
        outbox.begin("b1", CLOCK, 0)
        outbox.append(events("exit"), CLOCK, 10)
        first, second = outbox.boots()
        assert (first.boot, first.oldest_seq, first.last_seq) == ("b0", 1, 2)
        assert (second.boot, second.oldest_seq, second.last_seq) == ("b1", 1, 1)
        assert (seqs(outbox, "b0"), seqs(outbox, "b1")) == ([1, 2], [1])
        outbox.ack("b0", 2)
        assert [one.boot for one in outbox.boots()] == ["b1"]
    assert outbox.mend(outbox.due_ms())
    assert on_disk(path) == {"b1": [1]}
    outbox.close()
    before.close()


def test_an_answer_about_a_disk_that_cannot_be_opened_is_remembered(path):
    """Or the sender would wait for ever: it does not send again what was answered."""
    before = begun(path, "b0")
    before.append(events("enter", "sample", "exit"), CLOCK, 0)
    before.close()
    with no_file_may_grow():
        outbox = begun(path)
        assert outbox.ack("b0", 2) == 0
    assert outbox.mend(outbox.due_ms())
    assert on_disk(path) == {"b0": [3], "b1": []}
    outbox.close()


def test_stopping_puts_what_it_can_on_the_disk_and_says_what_it_cannot(path, caplog):
    outbox = begun(path)
    with no_file_may_grow():
        outbox.append(events("enter"), CLOCK, 0)
    outbox.close()
    assert on_disk(path) == {"b1": [1]}
    outbox = begun(path, "b2")
    with no_file_may_grow():
        outbox.append(events("enter", "exit"), CLOCK, 0)
        outbox.close()
    (line,) = [record for record in caplog.records if record.getMessage().startswith("events in memory are lost")]
    assert line.fields == {"events": 2}
    assert on_disk(path)["b2"] == []


def test_age_counts_on_from_memory_to_disk(path):
    outbox = begun(path)
    with no_file_may_grow():
        outbox.append(events("enter"), CLOCK, 1_000)
    assert outbox.totals(61_000).oldest_age_ms == 60_000
    assert outbox.mend(61_000)
    assert outbox.totals(71_000).oldest_age_ms == 70_000
    outbox.close()


def test_what_is_too_old_goes_from_memory_too(path):
    outbox = Outbox(path, Limits(10**9, max_age_ms=3_600_000))
    outbox.begin("b1", CLOCK, 0)
    with no_file_may_grow():
        outbox.append(events("enter"), CLOCK, 0)
        assert outbox.expire(10_000_000)
    assert [one["reason"] for one in held(outbox)] == ["age"]
    outbox.close()


def test_an_event_that_is_refused_stays_while_its_disk_takes_nothing(path):
    outbox = begun(path)
    outbox.append(events("sample", "sample"), CLOCK, 0)
    with no_file_may_grow():
        outbox.append(events("sample", "sample"), CLOCK, 1)
        outbox.refuse("b1", 1)
        outbox.refuse("b1", 3)
        assert [one["kind"] for one in held(outbox)] == ["sample", "sample", "lost", "sample"]
    assert outbox.mend(outbox.due_ms())
    outbox.refuse("b1", 1)
    outbox.refuse("b1", 2)
    first, last = held(outbox)
    assert (first["first_seq"], first["seq"], first["samples"], last["kind"]) == (1, 3, 3, "sample")
    outbox.close()


@pytest.mark.parametrize("what", ["a folder", "no folder", "newer"])
def test_what_can_never_be_written_is_said_at_once(path, what):
    if what == "a folder":
        path.mkdir(parents=True)
    elif what == "no folder":
        path.parent.write_text("a file in the way")
    else:
        begun(path).close()
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreFault, match="outbox"):
        Outbox(path, BIG)


class Refusals(RuleBasedStateMachine):
    """A disk that takes writes or not, as it likes, and power cuts. Against a plain model of every sequence given."""

    MEMORY = 4_000

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="outbox-", dir=FAST)
        self.path = Path(self.folder.name) / "outbox.db"
        self.now, self.starts, self.refusing = 0, 0, False
        self.kinds, self.acked = {}, {}
        self.start()

    def teardown(self):
        self.outbox.close()
        self.folder.cleanup()

    @contextmanager
    def disk(self):
        if self.refusing:
            with no_file_may_grow():
                yield
        else:
            yield

    def start(self):
        self.starts += 1
        self.boot = f"b{self.starts}"
        with self.disk():
            self.outbox = Outbox(self.path, BIG, self.MEMORY)
            self.outbox.begin(self.boot, CLOCK, self.now)
        self.kinds[self.boot], self.acked[self.boot] = [], 0

    @rule(kinds=st.lists(st.sampled_from(["enter", "exit", "sample", "sample", "unknown"]), max_size=20))
    def append(self, kinds):
        with self.disk():
            given = self.outbox.append([event(kind) for kind in kinds], CLOCK, self.now)
        first = len(self.kinds[self.boot]) + 1
        assert given == list(range(first, first + len(kinds)))
        self.kinds[self.boot] += kinds
        assert bool(self.outbox.trouble) or not self.outbox.in_memory

    @rule()
    def the_disk_changes_its_mind(self):
        self.refusing = not self.refusing

    @rule(ms=st.sampled_from([1, RETRY_MS]))
    def mend(self, ms):
        self.now += ms
        with self.disk():
            if self.outbox.mend(self.now):
                assert not self.outbox.trouble

    @rule(choice=st.integers(0, 100), share=st.floats(0, 1))
    def ack(self, choice, share):
        boots = self.outbox.boots()
        boot = boots[choice % len(boots)]
        rows = [seq for seq in seqs(self.outbox, boot.boot) if seq <= round(boot.last_seq * share)]
        if rows:
            with self.disk():
                self.outbox.ack(boot.boot, rows[-1])
            self.acked[boot.boot] = rows[-1]

    @precondition(lambda self: self.starts < 6)
    @rule()
    def power_cut(self):
        """What only memory held is gone; what the disk did not delete is back."""
        for place in self.outbox._places:
            place.close()
        found = on_disk(self.path) if self.path.stat().st_size else {}
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as db:
            last = dict(db.execute("SELECT boot, last_seq FROM boot")) if found else {}
            firsts = dict(
                db.execute("SELECT boot, min(first_seq) FROM event e JOIN boot b ON b.no = e.boot_no GROUP BY boot")
                if found
                else []
            )
        if self.boot not in found:
            del self.kinds[self.boot], self.acked[self.boot]
        else:
            self.kinds[self.boot] = self.kinds[self.boot][: last[self.boot]]
        for boot in self.kinds:
            self.acked[boot] = firsts.get(boot, len(self.kinds[boot]) + 1) - 1
        self.start()

    @invariant()
    def every_sequence_is_in_exactly_one_place(self):
        spans = {one.boot: one for one in self.outbox.boots()}
        assert list(spans)[-1] == self.boot
        rows_held = 0
        for boot, kinds in self.kinds.items():
            if self.outbox._disk is None and boot != self.boot:
                assert boot not in spans, "it waits on a disk that does not even let itself be opened"
                continue
            at = self.acked[boot]
            rows = held(self.outbox, boot)
            assert bool(rows) <= (boot in spans)
            if boot in spans:
                assert spans[boot].last_seq == len(kinds)
                assert spans[boot].oldest_seq == at + 1
            for one in rows:
                rows_held += 1
                first = one.get("first_seq", one["seq"])
                assert first == at + 1, f"{boot}: a hole before {first}"
                if one["kind"] == "lost":
                    gone = Counter("exit" if kind == "unknown" else kind for kind in kinds[first - 1 : one["seq"]])
                    counted = (one["samples"], one["enters"], one["exits"])
                    assert counted == (gone["sample"], gone["enter"], gone["exit"])
                else:
                    assert one["kind"] == kinds[one["seq"] - 1]
                at = one["seq"]
            assert at == len(kinds), f"{boot}: the last ones are missing"
        totals = self.outbox.totals(self.now)
        if self.outbox._disk is not None:
            assert totals.published == sum(len(kinds) for kinds in self.kinds.values())
        assert totals.rows >= rows_held
        if self.outbox._memory is not None:
            memory = self.outbox._memory.totals(self.now)
            losses = sum(one["kind"] == "lost" for one in held(self.outbox._memory, self.boot))
            assert memory.bytes <= self.MEMORY + losses * (LOST_BYTES + ROW_OVERHEAD)


TestRefusals = Refusals.TestCase
TestRefusals.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_the_limit_of_these_tests_does_refuse(tmp_path):
    with no_file_may_grow(), pytest.raises(OSError, match="large"):
        os.write(os.open(tmp_path / "f", os.O_CREAT | os.O_WRONLY), b"x")
