"""Runs `doorchime sim chaos` and reads its verdict."""

import json
import random
import subprocess
import sys


def chaos(folder, *options, within_s=350):
    """Run the command; its output, exit status and report. The seed is new each time, and is said when it fails."""
    report = folder / "report.json"
    seed = str(random.randrange(1_000_000))
    done = subprocess.run(
        [sys.executable, "-m", "doorchime", "sim", "chaos", "--seed", seed, "--report", str(report), *options],
        capture_output=True, text=True, timeout=within_s, check=False,
    )  # fmt: skip
    assert report.exists(), done.stdout + done.stderr
    return done, json.loads(report.read_text())


def check_kept(done, found):
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["kept"] is True
    assert found["violations"] == []
    n = found["figures"]
    assert n["events_numbered"] == n["committed"] + n["consent_refused"] + n["identity_refused"] > 0
    assert n["lost"] == n["quarantined"] == 0
    assert n["visits"] > 0
    assert "verdict:  every promise was kept" in done.stdout
