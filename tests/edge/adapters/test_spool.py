"""The outbox: whatever happens, every sequence is acknowledged, held, or covered by exactly one counted loss."""

import json
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.adapters.spool import AGE_SLACK_MS, ROW_OVERHEAD, Limits, Spool
from edge.core.outbox import LOST_BYTES
from wire.errors import StoreFault
from wire.messages import ClockStamp, LostEvent

CLOCK = ClockStamp(source="kernel", offset_ms=5, error_ms=1, synced=True)
BIG = Limits(max_bytes=10**9, max_age_ms=10**12)
KEY = {"uuid": "d0c41e02-0000-4000-8000-000000000000", "major": 1, "minor": 2}


def event(kind="sample", at_ms=0):
    return {
        "kind": kind, "beacon": KEY, "observed_mono_ms": at_ms, "first_mono_ms": at_ms, "last_mono_ms": at_ms,
        "rssi_dbm": -60.5, "sd_db": 1.0, "n": 3, "span_ms": 0,
    }  # fmt: skip


def events(*kinds):
    return [event(kind) for kind in kinds]


def begun(path, limits=BIG, boot="b1", mono_ms=0):
    spool = Spool(path, limits)
    spool.begin(boot, CLOCK, mono_ms)
    return spool


def held(spool, boot):
    return spool.read(boot, 0, 10**6)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "outbox.db"


def test_events_are_numbered_read_and_deleted_on_the_hubs_word(path):
    spool = begun(path)
    assert spool.append(events("enter", "sample"), CLOCK, 10) == [1, 2]
    assert spool.append(events("exit"), CLOCK, 20) == [3]
    assert [one["kind"] for one in held(spool, "b1")] == ["enter", "sample", "exit"]
    assert [one["seq"] for one in spool.read("b1", 1, 1)] == [2]
    assert spool.ack("b1", 2) == 2
    assert spool.ack("b1", 2) == 0
    (boot,) = spool.boots()
    assert (boot.oldest_seq, boot.last_seq, boot.clock) == (3, 3, CLOCK)
    assert spool.totals(25)[:4] == (1, spool.totals(25).bytes, 5, 3)
    spool.close()


def test_the_file_is_its_owners_alone(path):
    begun(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_an_earlier_boot_left_comes_first_with_its_own_clock(path):
    spool = begun(path)
    spool.append(events("enter", "exit"), CLOCK, 10)
    spool.close()
    later = ClockStamp(source="none", offset_ms=9, error_ms=9, synced=False)
    spool = Spool(path, BIG)
    spool.begin("b2", later, 0)
    spool.append(events("enter"), later, 5)
    first, second = spool.boots()
    assert (first.boot, first.clock, first.oldest_seq, first.last_seq) == ("b1", CLOCK, 1, 2)
    assert (second.boot, second.oldest_seq, second.last_seq) == ("b2", 1, 1)
    spool.ack("b1", 2)
    assert [boot.boot for boot in spool.boots()] == ["b2"]
    assert spool.totals(5).published == 3, "counted over every boot ever"
    spool.close()


def test_samples_go_first_oldest_first_and_runs_merge(path):
    row = len(json.dumps({"seq": 10, **event()}, separators=(",", ":"))) + ROW_OVERHEAD
    spool = begun(path, Limits(max_bytes=20 * row, max_age_ms=10**12))
    spool.append(events("enter", *["sample"] * 10, "exit", *["sample"] * 12), CLOCK, 0)
    kept = held(spool, "b1")
    assert [one["kind"] for one in kept if one["kind"] not in ("sample", "lost")] == ["enter", "exit"]
    lost = [one for one in kept if one["kind"] == "lost"]
    assert lost[0]["first_seq"] == 2
    assert all(one["enters"] == one["exits"] == 0 for one in lost)
    totals = spool.totals(0)
    assert totals.lost == totals.samples_dropped == sum(one["samples"] for one in lost) > 0
    assert totals.bytes <= 20 * row
    spool.close()


def test_enters_and_exits_go_only_when_no_sample_is_left(path):
    spool = begun(path, Limits(max_bytes=5_000, max_age_ms=10**12))
    for n in range(200):
        spool.append(events("enter", "sample", "exit"), CLOCK, n)
    kept = held(spool, "b1")
    assert Counter(one["kind"] for one in kept)["sample"] <= 1
    lost = [one for one in kept if one["kind"] == "lost"]
    counted = Counter()
    for one in lost:
        LostEvent.model_validate(one)
        counted.update({name: one[name] for name in ("samples", "enters", "exits")})
    alive = Counter(one["kind"] for one in kept)
    for name, kind in (("samples", "sample"), ("enters", "enter"), ("exits", "exit")):
        assert counted[name] + alive[kind] == 200
    assert spool.totals(0).bytes <= 5_000
    spool.close()


def test_a_refused_event_becomes_a_loss_beside_its_neighbours(path):
    spool = begun(path)
    spool.append(events("enter", "sample", "sample", "exit"), CLOCK, 0)
    spool.refuse("b1", 2)
    spool.refuse("b1", 3)
    spool.refuse("b1", 3)
    lost = held(spool, "b1")[1]
    assert (lost["first_seq"], lost["seq"], lost["samples"], lost["reason"]) == (2, 3, 2, "refused")
    assert spool.totals(0).lost == 2
    spool.close()


def test_old_events_become_a_loss_in_running_time(path):
    spool = begun(path, Limits(10**9, max_age_ms=3_600_000))
    spool.append(events("enter", "sample"), CLOCK, 0)
    spool.append(events("exit"), CLOCK, 3_600_000 + AGE_SLACK_MS)
    assert [one["kind"] for one in held(spool, "b1")] == ["enter", "sample", "exit"]
    spool.append(events("enter"), CLOCK, 3_600_001 + AGE_SLACK_MS)
    kinds = [(one["kind"], one["seq"]) for one in held(spool, "b1")]
    assert kinds == [("lost", 2), ("exit", 3), ("enter", 4)]
    assert held(spool, "b1")[0]["reason"] == "age"
    spool.close()


def test_what_grows_too_old_merges_with_a_newer_loss_beside_it(path):
    spool = begun(path, Limits(10**9, max_age_ms=100_000))
    spool.append(events("enter"), CLOCK, 0)
    spool.append(events("sample"), CLOCK, 100_000)
    spool.refuse("b1", 2)
    spool.append(events("exit"), CLOCK, 105_001 + AGE_SLACK_MS)
    lost, kept = held(spool, "b1")
    assert (lost["first_seq"], lost["seq"], lost["samples"], lost["enters"]) == (1, 2, 1, 1)
    assert kept["kind"] == "exit"
    assert spool.totals(0).lost == 2
    spool.close()


def test_age_does_not_rewrite_the_reason_of_a_loss_that_stands_alone(path):
    spool = begun(path, Limits(10**9, max_age_ms=100_000))
    spool.append(events("sample"), CLOCK, 0)
    spool.refuse("b1", 1)
    spool.begin("b2", CLOCK, 0)
    spool.append(events("enter"), CLOCK, 0)
    spool.append(events("enter"), CLOCK, 100_001 + AGE_SLACK_MS)
    assert [held(spool, boot)[0]["reason"] for boot in ("b1", "b2")] == ["refused", "age"]
    spool.close()


def test_damage_behind_a_sound_header_is_found_too(path):
    spool = begun(path)
    spool.append(events(*["sample"] * 500), CLOCK, 0)
    spool.close()
    body = bytearray(path.read_bytes())
    body[8192:40_960] = b"\xa5" * (40_960 - 8192)
    path.write_bytes(body)
    spool = begun(path)
    assert spool.corrupt is not None
    assert spool.append(events("enter"), CLOCK, 0) == [1]
    spool.close()


def test_a_new_start_with_a_boot_clock_near_zero_ages_nothing(path):
    limits = Limits(10**9, max_age_ms=3_600_000)
    spool = begun(path, limits)
    spool.append(events("enter"), CLOCK, 3_000_000)
    spool.close()
    spool = Spool(path, limits)
    spool.begin("b2", CLOCK, 17)
    spool.append(events("enter"), CLOCK, 18)
    assert [one["kind"] for one in held(spool, "b1")] == ["enter"]
    assert spool.totals(500_018).oldest_age_ms == 500_001
    spool.close()


def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(path):
    path.parent.mkdir()
    for number in (1, 2, 3, 3):
        path.write_bytes(b"not a database at all, whatever the name says" * 200)
        spool = begun(path)
        assert spool.corrupt == path.with_name(f"outbox.db.corrupt-{number}")
        spool.append(events("enter"), CLOCK, 0)
        spool.close()


def test_a_newer_file_is_not_touched(path):
    begun(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(StoreFault, match="newer version"):
        Spool(path, BIG)


def test_a_full_disk_is_said_and_leaves_nothing_half_written(path):
    spool = begun(path)
    spool.append(events("enter"), CLOCK, 0)
    before = spool.totals(0)
    spool._db.execute("PRAGMA max_page_count = 1")  # what a full disk looks like to SQLite
    with pytest.raises(StoreFault):
        spool.append(events(*["sample"] * 500), CLOCK, 1)
    assert spool.totals(0) == before
    spool._db.execute("PRAGMA max_page_count = 100000")
    assert spool.append(events("exit"), CLOCK, 2) == [2]
    spool.close()


PRINTER = """
import sys
from pathlib import Path
from edge.adapters.spool import Spool
from tests.edge.adapters.test_spool import BIG, CLOCK, events
spool = Spool(Path(sys.argv[1]), BIG)
spool.begin("b1", CLOCK, 0)
while True:
    print(spool.append(events("enter", "sample"), CLOCK, 0)[-1], flush=True)
"""


def test_what_was_said_to_be_kept_survives_kill_9(path):
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", PRINTER, str(path)], stdout=subprocess.PIPE, text=True, cwd=root
    )  # fmt: skip
    said = 0
    for line in process.stdout:
        said = int(line)
        if said >= 300:
            process.send_signal(signal.SIGKILL)
            break
    rest = process.stdout.read().split()
    process.stdout.close()
    process.wait(60)
    said = int(rest[-1]) if rest else said
    spool = Spool(path, BIG)
    seqs = [one["seq"] for one in held(spool, "b1")]
    spool.close()
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= said
    assert len(seqs) % 2 == 0, "an append is there whole or not at all"


class Accounts(RuleBasedStateMachine):
    """Against a plain model: for every boot, which sequences were acknowledged; the rest must be held or lost."""

    LIMIT = 6_000

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="spool-")
        self.path = Path(self.folder.name) / "outbox.db"
        self.limits = Limits(self.LIMIT, max_age_ms=100_000)
        self.now = 0
        self.starts = 0
        self.kinds = {}  # boot → kind of every sequence given out
        self.acked = {}
        self.spool = None
        self.start()

    def teardown(self):
        self.spool.close()
        self.folder.cleanup()

    def start(self):
        self.spool = Spool(self.path, self.limits)
        self.starts += 1
        self.boot = f"b{self.starts}"
        self.spool.begin(self.boot, CLOCK, self.now)
        self.kinds[self.boot], self.acked[self.boot] = [], 0

    @rule(kinds=st.lists(st.sampled_from(["enter", "exit", "sample", "sample", "sample", "unknown"]), max_size=30))
    def append(self, kinds):
        seqs = self.spool.append(events(*kinds), CLOCK, self.now)
        first = len(self.kinds[self.boot]) + 1
        assert seqs == list(range(first, first + len(kinds)))
        self.kinds[self.boot] += kinds

    @rule(choice=st.integers(0, 100), share=st.floats(0, 1))
    def ack(self, choice, share):
        boots = self.spool.boots()
        boot = boots[choice % len(boots)]
        upto = round(boot.last_seq * share)
        # the hub answers whole rows: a loss is acknowledged with its last sequence
        rows = [one["seq"] for one in held(self.spool, boot.boot) if one["seq"] <= upto]
        if rows:
            self.spool.ack(boot.boot, rows[-1])
            self.acked[boot.boot] = rows[-1]

    @rule(choice=st.integers(0, 100))
    def refuse(self, choice):
        boot = self.spool.boots()[0]
        rows = held(self.spool, boot.boot)
        if rows:
            self.spool.refuse(boot.boot, rows[choice % len(rows)]["seq"])

    @rule(ms=st.sampled_from([1, 1000, 30_000, 200_000]))
    def wait(self, ms):
        self.now += ms

    @rule()
    def expire(self):
        lost = self.spool.totals(self.now).lost
        assert self.spool.expire(self.now) == (self.spool.totals(self.now).lost > lost)

    @precondition(lambda self: self.starts < 6)
    @rule(mono=st.integers(0, 1000))
    def restart(self, mono):
        before = self.spool.totals(self.now)
        self.spool.close()
        self.now = mono
        self.start()
        assert self.spool.totals(self.now)[3:] == before[3:]

    @invariant()
    def every_sequence_is_in_exactly_one_place(self):
        lost_in_all, bytes_held, rows_held = 0, 0, 0
        for boot, kinds in self.kinds.items():
            at = self.acked[boot]
            rows = held(self.spool, boot)
            previous = None
            for one in rows:
                rows_held += 1
                bytes_held += len(json.dumps(one, separators=(",", ":"))) + ROW_OVERHEAD
                first = one.get("first_seq", one["seq"])
                assert first == at + 1, f"{boot}: a hole before {first}"
                if one["kind"] == "lost":
                    assert previous != "lost", "neighbours merge"
                    gone = Counter("exit" if kind == "unknown" else kind for kind in kinds[first - 1 : one["seq"]])
                    assert (one["samples"], one["enters"], one["exits"]) == tuple(
                        gone[kind] for kind in ("sample", "enter", "exit")
                    )
                    lost_in_all += one["seq"] - first + 1
                else:
                    assert one["kind"] == kinds[one["seq"] - 1]
                previous, at = one["kind"], one["seq"]
            assert at == len(kinds), f"{boot}: the last ones are missing"
        totals = self.spool.totals(self.now)
        assert totals.published == sum(len(kinds) for kinds in self.kinds.values())
        assert (totals.rows, totals.bytes) == (rows_held, bytes_held)
        assert totals.lost >= lost_in_all
        losses = sum(one["kind"] == "lost" for boot in self.kinds for one in held(self.spool, boot))
        assert totals.bytes <= self.LIMIT + losses * (LOST_BYTES + ROW_OVERHEAD)


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_a_long_outage_at_full_outbox_stays_fast(path):
    """Running totals, not scans: the last append of many looks at no more than a bounded number of rows."""
    spool = begun(path, Limits(max_bytes=2_000_000, max_age_ms=10**12))
    dice = random.Random(1)
    for n in range(300):
        spool.append(events(*dice.choices(["sample", "enter", "exit"], [8, 1, 1], k=50)), CLOCK, n)
    assert spool.totals(0).bytes <= 2_000_000
    spool.close()
