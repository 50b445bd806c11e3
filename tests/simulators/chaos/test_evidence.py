"""Evidence is read from the files as they are, also from those of a process that was killed while it wrote."""

import json
import signal
import subprocess
import sys

import pytest

from hub.stores import open_store
from simulators.chaos.evidence import GUESTS, NUMBERED, TAP, Guest, Outbox, Said, Told, collect, read_outbox
from tests.hub.build import house

WRITER = """
import sys
from pathlib import Path
from edge.adapters.spool import Limits, Spool
from wire.messages import ClockStamp
stamp = ClockStamp(source="none", offset_ms=0, error_ms=0, synced=False)
spool = Spool(Path(sys.argv[1]), Limits(1_000_000, 1_000_000))
spool.begin("b1", stamp, 0)
beacon = {"uuid": "d0c41e02-0000-4000-8000-000000000001", "major": 1, "minor": 1}
for number in range(5):
    spool.append([{"kind": "sample", "beacon": beacon}], stamp, number)
spool.ack("b1", 2)
print("written", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def killed_outbox(tmp_path):
    path = tmp_path / "door" / "outbox.db"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "written\n"
    yield path, process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_an_outbox_is_read_while_it_is_in_use_and_after_its_owner_was_killed(killed_outbox):
    path, process = killed_outbox
    found = Outbox(published=5, lost=0, waiting=3, boots={"b1": 5})
    assert read_outbox(path) == found
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_outbox(path) == found


def test_an_outbox_that_was_never_begun_is_empty(tmp_path):
    assert read_outbox(tmp_path / "outbox.db") == Outbox(0, 0, 0, {})
    (tmp_path / "outbox.db").touch()
    assert read_outbox(tmp_path / "outbox.db") == Outbox(0, 0, 0, {})


@pytest.mark.usefixtures("killed_outbox")
def test_everything_in_a_folder_is_collected(tmp_path):
    store = open_store(f"sqlite:{tmp_path / 'hub.db'}")
    store.migrate()
    with store.write() as tx:
        house(tx)
    said = {"edge": "door", "boot": "b1", "earlier": False, "events": [{"seq": 1}]}
    told = {"edge": "door", "boot": "b1", "upto": 1}
    guest = {
        "name": "ann",
        "who": "member",
        "beacon": "u/1/1",
        "profile": "p",
        "device": "d",
        "asked": [],
        "wallet": [],
    }
    passed = (said, told, {"unreadable": "why"})
    (tmp_path / TAP).write_text("".join(json.dumps(one) + "\n" for one in passed))
    (tmp_path / GUESTS).write_text(json.dumps([guest]))
    (tmp_path / NUMBERED).write_text(json.dumps([["door", "b0", 7]]))
    for name in ("phones.jsonl", "tills.jsonl"):
        (tmp_path / name).write_text("")
    found = collect(tmp_path, ["door"])
    store.close()
    assert found.wire == [Said(**said), Told(**told)]
    assert found.unreadable == ["why"]
    assert found.guests == [Guest(**guest)]
    assert found.numbered == {("door", "b0"): 7, ("door", "b1"): 5}
    assert found.outboxes["door"].waiting == 3
    assert found.accounts == {}
    assert found.visits == found.grants == found.losses == found.redemptions == []
