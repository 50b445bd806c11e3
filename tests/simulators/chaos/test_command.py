"""What `doorchime sim chaos` says: a verdict with its seed, for people and for programs; and what it refuses."""

import pytest
from typer.testing import CliRunner

from simulators.chaos.arena import Verdict
from simulators.chaos.checker import Violation, figures
from simulators.chaos.command import VIOLATIONS_SHOWN, as_report, told
from simulators.main import app
from tests.simulators.chaos.clean_run import clean

WORDS = ["--seed", "7", "--broker", "iotcore", "--rounds", "10"]
FIGURES = figures(clean()) | {"pushes_repeated": 0, "slowest_sign_of_life_ms": 1234}


def test_a_kept_promise_is_said_with_the_seed():
    lines = told(Verdict([], FIGURES), WORDS)
    assert lines[-2:] == [
        "verdict:  every promise was kept",
        "again:    doorchime sim chaos --seed 7 --broker iotcore --rounds 10",
    ]
    assert not any("BROKEN" in line for line in lines)
    report = as_report(Verdict([], FIGURES), WORDS)
    assert report["kept"] is True
    assert report["figures"]["events_numbered"] == 8
    assert report["command"].endswith("--rounds 10")


def test_broken_promises_are_named_and_counted():
    violations = [Violation("nothing is lost", f"edge {n}") for n in range(VIOLATIONS_SHOWN + 5)]
    lines = told(Verdict(violations, FIGURES), WORDS)
    assert lines.count("BROKEN  nothing is lost: edge 3") == 1
    assert "        and 5 more" in lines
    assert "verdict:  25 violations" in lines
    report = as_report(Verdict(violations, FIGURES), WORDS)
    assert report["kept"] is False
    assert len(report["violations"]) == 25


def test_a_run_that_ended_early_is_judged_by_what_is_known():
    lines = told(Verdict([Violation("programs end only when they are killed", "hub ended by itself")]), WORDS)
    assert lines[0] == "BROKEN  programs end only when they are killed: hub ended by itself"
    assert "verdict:  1 violation" in lines


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--drill", "flood"], "choose one of mosquitto, empty-broker, pause, proxy"),
        (["--broker", "rabbit"], "choose one of iotcore, mosquitto"),
        (["--drill", "pause", "--rounds", "5"], "the drill pause has none"),
        (["--keep", "."], "name a folder that does not exist"),
    ],
)
def test_what_cannot_be_run_is_said_at_once(options, said):
    done = CliRunner().invoke(app, ["chaos", *options])
    assert done.exit_code == 1
    assert said in done.stderr
