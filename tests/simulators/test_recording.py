"""A recording as a scene, on a small one made here."""

import itertools
import json
import lzma

import pytest

from simulators.recording import ADDED, RecordedScene
from wire.errors import BadConfig


def write(path, *lines, opened=open):
    with opened(path, "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return path


HEADER = {
    "trace": 1, "name": "Small House", "source": "made here", "licence": "none", "rate_hz": 2,
    "zones": ["Hall", "Living Room"], "beacons": ["a", "b"],
    "scanners": [{"id": "AA:BB", "zone": "Hall"}, {"id": "aa-bb", "zone": None}],
}  # fmt: skip


def test_scanners_zones_and_tags_become_edges_zones_and_people(tmp_path):
    path = write(
        tmp_path / "x.trace.jsonl",
        HEADER,
        {"t_ms": 0, "scanner": "AA:BB", "beacon": "a", "rssi_dbm": -70},
        {"t_ms": 10, "beacon": "a", "truth": "Living Room"},
        {"t_ms": 2500, "scanner": "aa-bb", "beacon": "b", "rssi_dbm": -70.5},
    )
    scene = RecordedScene(path)
    assert [(edge.edge, edge.zone) for edge in scene.place.edges] == [("aa-bb", "hall"), ("aa-bb-2", None)]
    assert [(zone.zone, zone.kind) for zone in scene.place.zones] == [("hall", "floor"), ("living-room", "door")]
    assert [actor.name for actor in scene.place.cast] == ["tag-1", "tag-2", *(actor.name for actor in ADDED)]
    assert scene.duration_s == 2.5


def test_without_truth_the_first_clear_scanner_is_the_door(tmp_path):
    path = write(
        tmp_path / "x.trace.jsonl.xz",
        HEADER,
        {"t_ms": 0, "scanner": "AA:BB", "beacon": "a", "rssi_dbm": -95},
        {"t_ms": 5, "scanner": "AA:BB", "beacon": "a", "rssi_dbm": -75},
        opened=lzma.open,
    )
    assert [zone.kind for zone in RecordedScene(path).place.zones] == ["door", "floor"]


def test_a_bad_line_is_passed_over(tmp_path):
    path = write(
        tmp_path / "x.trace.jsonl",
        HEADER,
        {"t_ms": 0, "scanner": "AA:BB", "beacon": "a"},
        {"t_ms": 1000, "scanner": "AA:BB", "beacon": "a", "rssi_dbm": -75},
    )
    assert RecordedScene(path).duration_s == 1.0


@pytest.mark.parametrize(
    ("rate_hz", "pauses_ms", "sparse"),
    [
        (None, [6_000, 6_000, 500], True),
        (None, [500, 6_000, 500], False),
        (None, [2_500, 2_500, 2_501], False),
        (None, [], False),
        (2, [6_000, 6_000, 6_000], False),  # heard rarely, but advertisements
        (0.2, [500, 500, 500], True),
    ],
)
def test_a_sparse_recording_is_played_as_reports_of_listeners_of_another_make(tmp_path, rate_hz, pauses_ms, sparse):
    at_ms, lines = 0, []
    for pause_ms in [0, *pauses_ms]:
        at_ms += pause_ms
        for scanner in ("AA:BB", "aa-bb"):
            lines.append({"t_ms": at_ms, "scanner": scanner, "beacon": "a", "rssi_dbm": -70})
    scene = RecordedScene(write(tmp_path / "x.trace.jsonl", {**HEADER, "rate_hz": rate_hz}, *lines))
    assert scene.place.listeners == ("espresense" if sparse else None)
    added = [t_s for t_s, *_ in itertools.islice(scene._added(), 2 * len(ADDED))]
    assert max(added) == (5.0 if sparse else 0.5)


@pytest.mark.parametrize("text", ["", "{}\n", "not json\n"])
def test_what_is_no_recording_is_refused(tmp_path, text):
    path = tmp_path / "x.trace.jsonl"
    path.write_text(text)
    with pytest.raises(BadConfig):
        RecordedScene(path)


def test_frames_are_refused_with_what_to_give_instead(tmp_path):
    frame = {"t_ms": 0, "scanner": "s", "address": "a", "rssi_dbm": -1, "adv": ""}
    with pytest.raises(BadConfig, match="name no tags"):
        RecordedScene(write(tmp_path / "x.frames.jsonl", frame))
    with pytest.raises(BadConfig):
        RecordedScene(tmp_path / "missing.trace.jsonl")
