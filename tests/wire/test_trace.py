"""Traces: both kinds read, bad lines named, and the reader usable afterwards."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import BadTrace
from wire.trace import MAX_LINE_BYTES, Frame, Header, Line, Scanner, Sighting, TraceReader, Truth, write_line

HEADER = {
    "trace": 1,
    "name": "flat",
    "source": "recorded by hand",
    "licence": "CC0-1.0",
    "zones": ["hall", "kitchen"],
    "scanners": [{"id": "ap-1", "zone": "kitchen", "x_m": 1.5, "y_m": 2.0}, {"id": "ap-2", "zone": None}],
    "beacons": ["wearable"],
    "rate_hz": None,
}
SIGHTING = {"t_ms": 18, "scanner": "ap-1", "beacon": "wearable", "rssi_dbm": -93}
TRUTH = {"t_ms": 18, "beacon": "wearable", "truth": "hall"}
FRAME = {"t_ms": 0, "scanner": "nrf52", "address": "3d:48:67:51:99:5b", "rssi_dbm": -74, "adv": "1eff0600"}

finite = st.floats(allow_nan=False, allow_infinity=False)
times = st.integers(0, 2**63)
ids = st.text(min_size=1, max_size=200)
scanners = st.builds(
    Scanner,
    id=ids,
    zone=st.none() | st.text(),
    x_m=st.none() | finite,
    y_m=st.none() | finite,
)
headers = st.builds(
    Header,
    trace=st.just(1),
    name=st.text(),
    source=st.text(),
    licence=st.text(),
    zones=st.lists(st.text(), max_size=3),
    scanners=st.lists(scanners, max_size=3),
    beacons=st.lists(ids, max_size=3),
    rate_hz=st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    note=st.text(),
    groups=st.dictionaries(st.text(), st.lists(st.text(), max_size=2), max_size=2),
)
sightings = st.builds(Sighting, t_ms=times, scanner=ids, beacon=ids, rssi_dbm=finite)
truths = st.builds(Truth, t_ms=times, beacon=ids, truth=st.none() | st.text(), scored=st.booleans())
frames = st.builds(
    Frame, t_ms=times, scanner=ids, address=st.text(), rssi_dbm=finite, adv=st.binary(max_size=40).map(bytes.hex)
)


def line(data: Any) -> bytes:
    return json.dumps(data).encode() + b"\n"


def in_order(records: list[Any]) -> list[Line]:
    return sorted(records, key=lambda record: record.t_ms)


def read_all(reader: TraceReader) -> tuple[list[Line], list[int]]:
    """Every record, and the numbers of the lines that could not be read."""
    records: list[Line] = []
    bad: list[int] = []
    while True:
        try:
            records.append(next(reader))
        except StopIteration:
            return records, bad
        except BadTrace as exc:
            bad.append(exc.line_no)


def test_a_trace_of_sightings_is_read_with_its_header() -> None:
    lost = {"t_ms": 47_130, "beacon": "wearable", "truth": None, "scored": False}
    reader = TraceReader([line(HEADER), line(TRUTH), line(SIGHTING), line(lost)])
    assert reader.header == Header.model_validate(HEADER)
    assert list(reader) == [
        Truth(t_ms=18, beacon="wearable", truth="hall", scored=True),
        Sighting(t_ms=18, scanner="ap-1", beacon="wearable", rssi_dbm=-93),
        Truth(t_ms=47_130, beacon="wearable", truth=None, scored=False),
    ]


def test_a_trace_of_frames_is_read_from_its_first_line_on() -> None:
    reader = TraceReader([line(FRAME), line(FRAME | {"t_ms": 5, "adv": ""})])
    assert reader.header is None
    assert list(reader) == [Frame.model_validate(FRAME), Frame.model_validate(FRAME | {"t_ms": 5, "adv": ""})]


def test_a_header_alone_is_a_trace_without_records() -> None:
    assert list(TraceReader([line(HEADER)])) == []


def test_a_reader_that_has_ended_stays_ended() -> None:
    reader = TraceReader([line(FRAME)])
    assert len(list(reader)) == 1
    assert list(reader) == []


def test_blank_lines_are_skipped_but_counted() -> None:
    reader = TraceReader([b"\n", line(HEADER), b"  \r\n", line(SIGHTING), b"", b"{\n"])
    assert read_all(reader) == ([Sighting.model_validate(SIGHTING)], [6])


def test_a_missing_newline_at_the_end_is_no_fault() -> None:
    assert len(list(TraceReader([line(HEADER), line(SIGHTING).rstrip()]))) == 1


def test_unknown_keys_are_skipped() -> None:
    scanner = {"id": "ap-3", "zone": "hall", "colour": "red"}
    reader = TraceReader([line(HEADER | {"colour": "red", "scanners": [scanner]}), line(SIGHTING | {"colour": "red"})])
    assert reader.header is not None
    assert reader.header.scanners == [Scanner(id="ap-3", zone="hall")]
    assert list(reader) == [Sighting.model_validate(SIGHTING)]


@pytest.mark.parametrize("rssi_dbm", [0, 127, -200, -93.5, 1000])
def test_impossible_signal_strengths_are_kept_as_recorded(rssi_dbm: float) -> None:
    (sighting,) = TraceReader([line(HEADER), line(SIGHTING | {"rssi_dbm": rssi_dbm})])
    assert isinstance(sighting, Sighting)
    assert sighting.rssi_dbm == rssi_dbm


@pytest.mark.parametrize(
    "bad",
    [
        b"{\n",
        b"null\n",
        b"[]\n",
        b'"text"\n',
        b"\xff\xfe\n",
        b"\0\n",
        b"[" * 10_000,
        line({}),
        line(SIGHTING | {"rssi_dbm": float("nan")}),
        line(SIGHTING | {"rssi_dbm": float("inf")}),
        line(SIGHTING | {"rssi_dbm": None}),
        line(SIGHTING | {"scanner": ""}),
        line(SIGHTING | {"beacon": "x" * 201}),
        line(SIGHTING | {"t_ms": -1}),
        line(SIGHTING | {"t_ms": 18.5}),
        line(TRUTH | {"truth": 7}),
        line(TRUTH | {"scored": None}),
        line(FRAME),
    ],
)
def test_a_bad_line_names_its_number_and_the_reader_goes_on(bad: bytes) -> None:
    reader = TraceReader([line(HEADER), line(SIGHTING), bad, line(SIGHTING)])
    next(reader)
    with pytest.raises(BadTrace, match=r"^line 3: ") as caught:
        next(reader)
    assert caught.value.line_no == 3
    assert list(reader) == [Sighting.model_validate(SIGHTING)]


@pytest.mark.parametrize("adv", ["1", "1E", "0x1e", "1e ", "zz", "1e\n", None])
def test_advertising_data_that_is_not_lower_case_hexadecimal_is_a_bad_line(adv: str | None) -> None:
    reader = TraceReader([line(FRAME), line(FRAME | {"adv": adv}), line(FRAME)])
    records, bad = read_all(reader)
    assert (len(records), bad) == (2, [2])


def test_a_first_frame_that_is_bad_names_line_1_and_the_reader_goes_on() -> None:
    reader = TraceReader([line(FRAME | {"adv": "1"}), line(FRAME)])
    records, bad = read_all(reader)
    assert (len(records), bad) == (1, [1])


def test_a_step_back_in_time_is_a_bad_line_and_does_not_turn_back_the_clock() -> None:
    stamps = [18, 17, 0, 18, 40, 39, 41]
    reader = TraceReader([line(HEADER), *(line(SIGHTING | {"t_ms": t_ms}) for t_ms in stamps)])
    records, bad = read_all(reader)
    assert [record.t_ms for record in records] == [18, 18, 40, 41]
    assert bad == [3, 4, 7]


def test_a_step_back_in_time_names_both_times() -> None:
    reader = TraceReader([line(FRAME | {"t_ms": 9}), line(FRAME | {"t_ms": 8})])
    next(reader)
    with pytest.raises(BadTrace, match=r"^line 2: t_ms 8 comes after 9$"):
        next(reader)


def test_a_line_of_the_largest_size_is_read_and_one_byte_more_is_refused() -> None:
    fits = line(SIGHTING).ljust(MAX_LINE_BYTES)
    reader = TraceReader([line(HEADER), fits + b" ", fits])
    with pytest.raises(BadTrace, match=r"^line 2: 1000001 bytes, more than 1000000$"):
        next(reader)
    assert list(reader) == [Sighting.model_validate(SIGHTING)]


@pytest.mark.parametrize("lines", [[], [b""], [b"\n"], [b"\n", b"  \n"]])
def test_an_empty_file_is_no_trace(lines: list[bytes]) -> None:
    with pytest.raises(BadTrace, match="the file is empty"):
        TraceReader(lines)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (b"{\n", "not a JSON object"),
        (b"x" * (MAX_LINE_BYTES + 1), "bytes, more than"),
        (line({}), 'neither "trace" nor "adv"'),
        (line(SIGHTING), 'neither "trace" nor "adv"'),
        (line(HEADER | {"trace": 2}), "trace: "),
        (line(HEADER | {"trace": "one"}), "trace: "),
        (line(HEADER | {"rate_hz": 0}), "rate_hz: "),
        (line(HEADER | {"scanners": [{"id": "ap-1"}]}), "scanners.0.zone: "),
        (line({key: value for key, value in HEADER.items() if key != "licence"}), "licence: "),
    ],
)
def test_a_first_line_that_is_no_header_is_refused_at_once(first: bytes, reason: str) -> None:
    with pytest.raises(BadTrace) as caught:
        TraceReader([b"\n", first, line(SIGHTING)])
    assert caught.value.line_no == 2
    assert reason in str(caught.value)


def test_absent_fields_stay_absent_when_written() -> None:
    assert write_line(Truth.model_validate(TRUTH)) == b'{"t_ms":18,"beacon":"wearable","truth":"hall"}\n'
    assert json.loads(write_line(Header.model_validate(HEADER))) == HEADER


@given(headers, st.lists(st.one_of(sightings, truths), max_size=5).map(in_order))
def test_sightings_survive_writing_and_reading(header: Header, records: list[Line]) -> None:
    written = [write_line(header), *map(write_line, records)]
    assert all(one.endswith(b"\n") and one.count(b"\n") == 1 for one in written)
    reader = TraceReader(written)
    assert reader.header == header
    assert list(reader) == records


@given(st.lists(frames, min_size=1, max_size=5).map(in_order))
def test_frames_survive_writing_and_reading(records: list[Line]) -> None:
    reader = TraceReader(map(write_line, records))
    assert reader.header is None
    assert list(reader) == records


@given(st.lists(st.one_of(st.binary(max_size=50), st.sampled_from([line(SIGHTING), line(TRUTH), line(FRAME)]))))
def test_any_lines_give_records_or_bad_traces_and_the_reader_gets_to_the_end(lines: list[bytes]) -> None:
    records, bad = read_all(TraceReader([line(HEADER), *lines]))
    blank = sum(not one.strip() for one in lines)
    assert len(records) + len(bad) + blank == len(lines)
    assert bad == sorted(set(bad))


@given(st.lists(st.binary(max_size=50)))
def test_any_first_line_gives_a_reader_or_bad_trace(lines: list[bytes]) -> None:
    with pytest.raises(BadTrace):
        TraceReader(lines)


@pytest.mark.parametrize("rssi_dbm", ["-74", "-74.0", "-74.5", "127"])
def test_a_line_is_written_as_it_was_read(rssi_dbm: str) -> None:
    read = b'{"t_ms":0,"scanner":"s","address":"aa","rssi_dbm":%s,"adv":""}\n' % rssi_dbm.encode()
    assert write_line(next(TraceReader([read]))) == read
