"""A quick run of the whole benchmark: its shape, and that what it measures is right. Never how fast it is."""

import json

import pytest
import typer
from typer.testing import CliRunner

from bench import main
from bench.decoding import ORACLE

RATIOS = {"cost_vs_bleak", "cost_vs_bleak_strangers", "decode_vs_struct", "presence_vs_naive"}
FIGURES = {"presence_per_s", "decode_per_s", "visits_exact_of_232", "visits_exact_of_232_median", "walkbys_taken"}
FIGURES |= {"corpora", "bleak_us", "own_us_edge", "own_us_strangers", "enter_p50_s", "enter_p95_s", "exit_p50_s"}
PEERS = {"naive_presence_per_s", "naive_visits_exact_of_232", "naive_walkbys_taken"}


@pytest.mark.timeout(400)
def test_a_quick_run_says_every_figure():
    app = typer.Typer()
    app.command()(main.bench)
    done = CliRunner().invoke(app, ["edge", "--quick"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bench"] == "edge"
    assert found["ratios"].keys() >= RATIOS
    assert found["figures"].keys() >= FIGURES
    assert found["peers"].keys() >= PEERS
    assert 200 < found["figures"]["visits_exact_of_232"] <= 232
    assert found["figures"]["walkbys_taken"] <= found["figures"]["corpora"]
    left_out = "LEFT OUT" in done.stderr
    assert left_out is not ORACLE.is_file()
    assert left_out is not any(name.startswith("decode_") for name in found["peers"])
