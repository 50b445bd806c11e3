"""`doorchime sim chaos` as its user runs it, on both brokers; and its judge on real evidence that was tampered with.

The 200 rounds that were promised run with `make test-long`; see test_drills.py.
"""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from simulators.chaos.arena import EDGES
from simulators.chaos.checker import judge
from simulators.chaos.evidence import TAP, collect
from tests.e2e.chaos_run import chaos, check_kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The folder of a run of eight rounds, and what the run said."""
    folder = tmp_path_factory.mktemp("chaos")
    return folder / "kept", *chaos(folder, "--rounds", "8", "--keep", str(folder / "kept"))


@pytest.fixture
def evidence_of(kept, tmp_path):
    """A copy of that folder, for tampering."""
    return Path(shutil.copytree(kept[0], tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock")))


def test_eight_rounds_of_kill_9_and_pauses_keep_every_promise(kept):
    _, done, found = kept
    check_kept(done, found)
    assert done.stdout.count("\nround ") == 8
    assert "--rounds 8" in found["command"]


def rows(folder, *statements):
    with closing(sqlite3.connect(folder / "hub.db")) as db, db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0, statement


def lose_a_row(folder):
    rows(folder, "DELETE FROM edge_boot WHERE upto = (SELECT max(upto) FROM edge_boot)")


def copy_a_row(folder, table, **change):
    with closing(sqlite3.connect(folder / "hub.db")) as db, db:
        db.row_factory = sqlite3.Row
        row = dict(db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()) | change
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))


def double_a_grant(folder):
    copy_a_row(folder, "offer_grant", grant="twin", code_hash="twin")


def split_a_visit(folder):
    copy_a_row(folder, "visit", visit="half")


def swap_two_events(folder):
    """The first two messages of one life of an edge change places."""
    lines = (folder / TAP).read_text().splitlines()
    first = {}
    for place, line in enumerate(map(json.loads, lines)):
        if line.get("events"):
            before, seq = first.setdefault((line["edge"], line["boot"]), (place, line["events"][0]["seq"]))
            if line["events"][0]["seq"] > seq:
                lines[before], lines[place] = lines[place], lines[before]
                break
    (folder / TAP).write_text("".join(f"{line}\n" for line in lines))


def take_an_ack_back(folder):
    rows(folder, "UPDATE edge_boot SET upto = upto - 1, committed = committed - 1 WHERE committed > 0")


@pytest.mark.parametrize(
    ("act", "charge"),
    [
        (lose_a_row, "every sequence is in one account"),
        (double_a_grant, "each grant once"),
        (split_a_visit, "one stay is one visit"),
        (swap_two_events, "sequences leave an edge in order"),
        (take_an_ack_back, "an ack holds for ever"),
    ],
)
def test_the_judge_finds_what_was_tampered_with_in_real_evidence(evidence_of, act, charge):
    assert judge(collect(evidence_of, EDGES)) == []
    act(evidence_of)
    assert charge in {violation.charge for violation in judge(collect(evidence_of, EDGES))}


@pytest.mark.mosquitto
def test_a_mosquitto_that_drops_and_is_killed_twice_loses_nothing(tmp_path):
    done, found = chaos(tmp_path, "--drill", "mosquitto")
    check_kept(done, found)
    assert done.stdout.count("messages are dropped; mosquitto is killed") == 2


def test_ended_early_it_leaves_nothing_running(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "doorchime", "sim", "chaos", "--keep", str(tmp_path / "kept")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not process.stdout.readline().startswith("round "):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "again:    doorchime sim chaos --seed 1" in told
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [one for one in commands if str(tmp_path).encode() in one]
