"""`doorchime demo` as its user runs it: on the synthetic shop, and on a recording."""

import contextlib
import json
import math
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

FIELDS = {
    "adverts_heard", "adverts_dropped_private", "events_published", "events_committed", "events_lost",
    "consent_refused", "duplicates_ignored", "visits", "offers_issued", "grants_expired", "pushes_delivered",
    "redemptions", "invariant_violations", "speed_reached", "latency_ms",
}  # fmt: skip


def demo(tmp_path, *options):
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "doorchime", "demo", "--headless", "--report", str(report), *options],
        capture_output=True, text=True, timeout=360, check=False,
    )  # fmt: skip
    return done, json.loads(report.read_text()) if report.exists() else None


def test_the_synthetic_shop_keeps_every_promise(tmp_path):
    done, found = demo(tmp_path, "--seed", "3", "--keep", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(found) >= FIELDS
    for name in ("visits", "pushes_delivered", "redemptions", "adverts_dropped_private", "consent_refused"):
        assert found[name] > 0, name
    assert found["grants_expired"] > 0
    refused = found["consent_refused"] + found["identity_refused"] + found["quarantined"]
    assert found["events_published"] == found["events_committed"] + refused + found["events_lost"]
    assert found["invariant_violations"] == 0
    assert set(found["latency_ms"]["advert_to_push"]) == {"p50", "p95", "p99"}
    logs = "".join(path.read_text() for path in (tmp_path / "kept").glob("*.log") if path.name != "mqtt.log")
    for line in filter(None, logs.splitlines()):
        assert json.loads(line)["event"], "every line of a log is one JSON object"


def test_a_shop_where_nobody_says_no_fails_the_demonstration_and_says_so(tmp_path):
    plan = tmp_path / "quiet.toml"
    plan.write_text(QUIET)
    done, found = demo(tmp_path, "--scenario", str(plan), "--duration", "6")
    assert done.returncode == 1
    assert "consent_refused is 0" in done.stdout
    assert found["invariant_violations"] == 0


def test_a_fast_run_keeps_every_promise_and_says_how_fast_it_was(tmp_path):
    done, found = demo(tmp_path, "--seed", "5", "--speed", "20")
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["pushes_delivered"] > 0
    assert 0 < found["speed_reached"] <= 20
    assert found["duration_s"] / found["real_s"] == pytest.approx(found["speed_reached"], rel=0.1)


def test_a_run_that_is_told_to_end_leaves_nothing_running(tmp_path):
    kept = tmp_path / "kept"
    command = [sys.executable, "-m", "doorchime", "demo", "--headless", "--keep", str(kept)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            if "present" in line:
                break
        running.send_signal(signal.SIGTERM)
        _, told = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "signal" in told
    for name in ("hub", "edges-1"):
        assert json.loads((kept / f"{name}.log").read_text().splitlines()[-1])["event"] == "stopped", name
    assert not [pid for pid in Path("/proc").glob("[0-9]*/cmdline") if str(kept).encode() in read(pid)]


def read(path):
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def test_a_recording_is_played_through_the_whole_system(tmp_path):
    trace = tmp_path / "walk.trace.jsonl"
    trace.write_text(recorded_walk())
    done, found = demo(tmp_path, "--trace", str(trace))
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["pushes_delivered"] > 0
    assert found["redemptions"] > 0
    assert found["edges"] == 5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--scenario", "nowhere"], "choose one of corner-shop"),
        (["--speed", "0.5"], "choose from 1"),
        (["--trace", "missing.trace.jsonl"], "missing.trace.jsonl"),
    ],
)
def test_what_cannot_be_shown_is_said_at_once(tmp_path, options, told):
    done, found = demo(tmp_path, *options)
    assert done.returncode == 1
    assert told in done.stderr
    assert found is None


def recorded_walk(length_s=40, seed=5):
    """Two tags that walk past five scanners in a row; truth for one of them."""
    dice = random.Random(seed)
    scanners = [{"id": f"S{n}", "zone": "hall" if n < 2 else "room"} for n in range(5)]
    header = {
        "trace": 1, "name": "walk", "source": "made here", "licence": "none", "rate_hz": 4,
        "zones": ["hall", "room"], "scanners": scanners, "beacons": ["one", "two"],
    }  # fmt: skip
    lines = [header, {"t_ms": 0, "beacon": "one", "truth": "hall"}]
    for t_ms in range(0, length_s * 1000, 250):
        for tag, offset in (("one", 0.0), ("two", 1.0)):
            at = 4 * t_ms / (length_s * 1000) + offset
            for n in range(5):
                rssi = -55 - 25 * math.log10(1 + 2 * abs(at - n)) + dice.gauss(0, 3)
                if dice.random() < 0.8:
                    lines.append({"t_ms": t_ms, "scanner": f"S{n}", "beacon": tag, "rssi_dbm": round(rssi, 1)})
    return "".join(json.dumps(line) + "\n" for line in lines)


QUIET = """
version = 1
name = "quiet"
store = "quiet"
duration_s = 6
[[zone]]
id = "door"
name = "Door"
kind = "door"
rect = [0, 0, 5, 5]
[[edge]]
id = "e1"
zone = "door"
at = [1, 1]
[[habit]]
id = "stands"
stops = [{ at = [1, 2] }, { at = [2, 2], stay_s = [30, 30] }, { at = [3, 2] }]
[[crowd]]
who = "member"
habit = "stands"
count = 1
start_s = [0, 0]
[[offer]]
id = "welcome"
[offer.body]
name = "Welcome"
currency = "EUR"
trigger = { on = "enter" }
curve = { kind = "cliff", start_bp = 1000, floor_bp = 0, life_ms = 60000 }
content = { en = { title = "Hello" } }
"""
