"""Programs as processes: killed and stopped together with what they have started themselves."""

import os
import sys
from pathlib import Path

import pytest

from simulators.programs import Program
from tests.e2e.system import until
from wire.errors import LocalFault

PARENT = """
import subprocess, sys, threading
def work():  # children belong to the thread that started them
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    print(child.pid, flush=True)
    child.wait()
threading.Thread(target=work).start()
"""


def state_of(pid):
    """R, S, T (stopped), … or None when there is no such process, or only its name is left."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else state


@pytest.fixture
async def family(tmp_path):
    """A running program, and the process ids of it and its child."""
    program = Program(tmp_path, "family", "-c", PARENT, runs=(sys.executable,))
    program.start()
    log = tmp_path / "family.log"
    child = await until(lambda: log.exists() and log.read_text().strip(), "the child was started")
    (parent,) = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and parent_of(int(child)) == int(pid)]
    yield program, parent, int(child)
    program.kill()


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_kill_leaves_nobody(family):
    program, parent, child = family
    program.kill()
    assert state_of(parent) is None
    assert state_of(child) is None
    assert not program.running
    program.check()  # it did not end by itself
    program.kill()


async def test_a_pause_stops_all_of_it_until_it_is_resumed_or_killed(family):
    program, parent, child = family
    program.pause()
    await until(lambda: state_of(parent) == state_of(child) == "T", "both are stopped")
    program.resume()
    await until(lambda: state_of(parent) != "T" and state_of(child) != "T", "both go on")
    program.pause()
    await until(lambda: state_of(parent) == state_of(child) == "T", "both are stopped again")
    program.kill()
    assert state_of(parent) is state_of(child) is None


async def test_a_program_that_ends_by_itself_is_noticed(tmp_path):
    program = Program(tmp_path, "brief", "-c", "print('last words'); raise SystemExit(3)", runs=(sys.executable,))
    program.pause()  # before the start nothing is there to be stopped
    program.start()
    await until(lambda: not program.running, "it ended")
    with pytest.raises(LocalFault, match=r"brief ended by itself, exit code 3: last words"):
        program.check()
