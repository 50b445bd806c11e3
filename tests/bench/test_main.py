import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from bench import main, registry
from bench.measure import Outcome
from wire.errors import BadRequest, BrokenInvariant


@pytest.fixture
def run(monkeypatch):
    """The command, with one benchmark put in place of all."""
    app = typer.Typer()
    app.command()(main.bench)

    def call(found, *args):
        monkeypatch.setattr(registry, "BENCHES", {"ingest": found})
        return CliRunner().invoke(app, ["ingest", *args])

    return call


def test_one_json_object_on_stdout_and_progress_on_stderr(run, tmp_path):
    def found(quick, say):
        assert quick
        say("halfway")
        return Outcome({"events_per_s": 30_000.0}, {"vs_naive": 12.5}, {"naive_per_s": 2400.0})

    done = run(found, "--quick", "--out", str(tmp_path / "out.json"))
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        "bench": "ingest",
        "figures": {"events_per_s": 30_000.0},
        "ratios": {"vs_naive": 12.5},
        "peers": {"naive_per_s": 2400.0},
    }
    assert "halfway" in done.stderr
    assert (tmp_path / "out.json").read_text() == done.stdout


def test_a_broken_promise_ends_in_a_line_and_a_status(run):
    def broken(quick, say):
        raise BrokenInvariant("7 decisions instead of 9")

    done = run(broken)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "doorchime bench: 7 decisions instead of 9\n"


def test_a_file_that_cannot_be_written_is_said(run):
    done = run(lambda quick, say: Outcome({}), "--out", "/dev/null/file")
    assert done.exit_code == 1
    assert "/dev/null/file" in done.stderr


def test_what_is_not_there_is_told_from_what_is_not_there_yet():
    with pytest.raises(BadRequest, match="there is no benchmark 'speed'; there are: "):
        registry.find("speed")
    missing = [name for name in registry.NAMES if name not in registry.BENCHES]
    for name in missing:
        with pytest.raises(BadRequest, match="not built yet"):
            registry.find(name)


def test_every_benchmark_has_a_known_name():
    assert set(registry.BENCHES) <= set(registry.NAMES)
    assert len(registry.NAMES) == len(set(registry.NAMES))


def test_doorchime_mounts_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "doorchime", "bench", "nonsense"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no benchmark 'nonsense'" in done.stderr
