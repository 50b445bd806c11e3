"""MQTT payloads: strict writers, tolerant readers, and reasons that never repeat what was received."""

import copy
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from wire import messages
from wire.errors import BadMessage
from wire.messages import (
    MAX_EVENTS,
    MAX_PAYLOAD_BYTES,
    MAX_SEQ,
    Ack,
    BeaconKey,
    ClockStamp,
    LostEvent,
    Payload,
    Presence,
    PresenceEvent,
    Telemetry,
    Unread,
    read,
    read_presence,
    write,
)

BEACON = {"uuid": "d00dc41e-5f3a-4c1b-9e20-7a86b1f2c3d4", "major": 513, "minor": 40961}
CLOCK = {"source": "chrony", "offset_ms": -5, "error_ms": 12, "synced": True}
SECRET = "alice@example.com"

MESSAGE_MODELS = [
    model for model in Payload.__subclasses__() if model.__module__ == messages.__name__ and "v" in model.model_fields
]
all_models = pytest.mark.parametrize("model", MESSAGE_MODELS, ids=lambda model: model.__name__)


def enter(seq: int, **changes: Any) -> dict[str, Any]:
    return {
        "seq": seq,
        "kind": "enter",
        "beacon": dict(BEACON),
        "observed_mono_ms": 2000,
        "first_mono_ms": 1000,
        "last_mono_ms": 2000,
        "rssi_dbm": -63.5,
        "sd_db": 2.5,
        "n": 12,
        "span_ms": 1000,
    } | changes


def lost(seq: int, **changes: Any) -> dict[str, Any]:
    lost_event = {"seq": seq, "kind": "lost", "first_seq": 1, "samples": 3, "enters": 1, "exits": 0, "reason": "age"}
    return lost_event | changes


def presence(*events: Any, **changes: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "edge": "door",
        "boot": "b-1",
        "oldest_seq": 1,
        "sent_mono_ms": 5000,
        "sent_at_ms": 1_785_000_000_000,
        "clock": dict(CLOCK),
        "events": list(events),
    } | changes


def raw(data: Any) -> bytes:
    return json.dumps(data).encode()


seqs = st.integers(1, MAX_SEQ)
small = st.integers(0, MAX_SEQ)
presence_events = st.builds(
    enter,
    seqs,
    kind=st.sampled_from(["enter", "sample", "exit", "unknown"]),
    observed_mono_ms=small,
    first_mono_ms=small,
    last_mono_ms=small,
    rssi_dbm=st.floats(-127, 20),
    sd_db=st.floats(0, 1e6),
    n=st.integers(0, 1_000_000),
    span_ms=small,
)
events = st.lists(st.one_of(presence_events, st.builds(lost, seqs, samples=small)), max_size=5)


# Strict writers


@all_models
def test_an_unknown_field_is_refused_by_every_constructor(model: type[Payload]) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"colour": "red"})
    assert "extra_forbidden" in {error["type"] for error in caught.value.errors()}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (BeaconKey, BEACON),
        (ClockStamp, CLOCK),
        (PresenceEvent, enter(1)),
        (LostEvent, lost(1)),
        (Unread, {"seq": 1, "kind": "wave"}),
        (Ack, {"v": 1, "boot": "b-1", "upto": 0}),
        (Presence, presence(enter(1))),
    ],
)
def test_a_good_model_with_one_undeclared_field_is_refused(model: type[Payload], fields: dict[str, Any]) -> None:
    assert model(**fields)
    with pytest.raises(ValidationError, match="colour"):
        model(**(fields | {"colour": "red"}))


def test_a_message_is_written_as_compact_json_in_declared_order() -> None:
    assert write(Ack(v=1, boot="b-1", upto=7)) == b'{"v":1,"boot":"b-1","upto":7}'


@given(events)
def test_a_presence_message_survives_writing_and_reading(listed: list[dict[str, Any]]) -> None:
    message = Presence.model_validate(presence(*listed))
    assert read_presence(write(message)) == (message, [], 0)
    assert read(Presence, write(message)) == message


def test_a_full_batch_of_events_fits_the_largest_payload() -> None:
    longest = enter(
        MAX_SEQ,
        observed_mono_ms=2**40,
        first_mono_ms=2**40,
        last_mono_ms=2**40,
        rssi_dbm=-100.12,
        n=100_000,
        span_ms=2**20,
    )
    assert len(write(Presence.model_validate(presence(*[longest] * MAX_EVENTS)))) <= MAX_PAYLOAD_BYTES


# Tolerant readers


@pytest.mark.parametrize("where", ["top", "clock", "event", "beacon", "lost"])
@pytest.mark.parametrize("spoilt", [False, True])
def test_an_unknown_field_is_counted_and_nothing_is_lost(where: str, spoilt: bool) -> None:
    data = presence(enter(1), lost(2), *([enter(3, n=-1)] if spoilt else []))
    plain = read_presence(raw(data))
    places = {
        "top": data,
        "clock": data["clock"],
        "event": data["events"][0],
        "beacon": data["events"][0]["beacon"],
        "lost": data["events"][1],
    }
    places[where] |= {"colour": "red", "size": {"deep": [1, 2]}}
    found = read_presence(raw(data))
    assert found.unknown_fields == 2
    assert write(found.message) == write(plain.message)
    assert [seq for seq, _, _ in found.bad] == ([3] if spoilt else [])


@pytest.mark.parametrize("spoilt", [False, True])
def test_unknown_fields_everywhere_are_added_up(spoilt: bool) -> None:
    data = presence(enter(1), enter(2), lost(3), *([enter(4, n=-1)] if spoilt else []))
    for place in (data, data["clock"], *data["events"][:3], *(event["beacon"] for event in data["events"][:2])):
        place["colour"] = "red"
    assert read_presence(raw(data)).unknown_fields == 7


def test_unknown_fields_are_never_passed_on() -> None:
    data = presence(enter(1, colour="red"), clock=CLOCK | {"colour": "red"}, colour="red")
    assert b"colour" not in write(read_presence(raw(data)).message)


def test_unknown_fields_of_other_messages_are_dropped() -> None:
    assert read(Ack, b'{"v":1,"boot":"b-1","upto":3,"colour":"red"}') == Ack(v=1, boot="b-1", upto=3)


@pytest.mark.parametrize("others", [[], [enter(9, n=-1)]])
def test_an_event_of_an_unknown_kind_is_unread_and_its_fields_are_not_counted(others: list[Any]) -> None:
    found = read_presence(raw(presence(enter(1), {"seq": 2, "kind": "wave", "height_m": 2}, lost(3), *others)))
    assert found.unknown_fields == 0
    second = found.message.events[1]
    assert isinstance(second, Unread)
    assert (second.seq, second.kind) == (2, "wave")
    assert [event.seq for event in found.message.events] == [1, 2, 3]


@pytest.mark.parametrize(
    ("spoilt", "field"),
    [
        (enter(2, n=-1), "n:"),
        (enter(2, n=None), "n:"),
        (enter(2, rssi_dbm=float("nan")), "rssi_dbm:"),
        (enter(2, rssi_dbm=-128), "rssi_dbm:"),
        (enter(2, rssi_dbm=21), "rssi_dbm:"),
        (enter(2, sd_db=float("inf")), "sd_db:"),
        (enter(2, observed_mono_ms=-1), "observed_mono_ms:"),
        (enter(2, beacon=None), "beacon:"),
        (enter(2, beacon=BEACON | {"major": 65_536}), "beacon.major:"),
        (enter(2, beacon=BEACON | {"uuid": BEACON["uuid"].upper()}), "beacon.uuid:"),  # type: ignore[attr-defined]
        (enter(2, beacon=BEACON | {"uuid": f"{BEACON['uuid']}\n"}), "beacon.uuid:"),
        (lost(2, reason="Too Late"), "reason:"),
        (lost(2, first_seq=0), "first_seq:"),
        ({"seq": 2}, "kind:"),
        ({"seq": 2, "kind": None}, "kind:"),
        ({"seq": 2, "kind": ["enter"]}, "kind:"),
        ({"seq": 2, "kind": "enter"}, "beacon:"),
    ],
)
def test_one_bad_event_spoils_only_itself(spoilt: dict[str, Any], field: str) -> None:
    found = read_presence(raw(presence(enter(1), spoilt, lost(3))))
    assert [event.seq for event in found.message.events] == [1, 3]
    ((seq, event, reason),) = found.bad
    assert seq == 2
    assert event.keys() == spoilt.keys()
    assert reason.startswith(field)


@given(events, st.lists(st.tuples(seqs, st.integers(0, 5)), min_size=1, max_size=3))
def test_bad_events_among_good_ones_are_all_told_apart(good: list[dict[str, Any]], bad: list[tuple[int, int]]) -> None:
    mixed = copy.copy(good)
    for seq, at in bad:
        mixed.insert(at, enter(seq, n=-1))
    found = read_presence(raw(presence(*mixed)))
    assert found.message.events == Presence.model_validate(presence(*good)).events
    assert sorted(seq for seq, _, _ in found.bad) == sorted(seq for seq, _ in bad)
    assert write(found.message) == write(Presence.model_validate(presence(*good)))


@pytest.mark.parametrize("seq", [0, -1, MAX_SEQ + 1, None, True, "two", 1.5, [1], {}])
def test_an_event_without_a_usable_seq_spoils_the_message(seq: Any) -> None:
    with pytest.raises(BadMessage, match="no usable seq"):
        read_presence(raw(presence(enter(1), enter(2, n=-1) | {"seq": seq})))


@pytest.mark.parametrize("kind", ["enter", "lost", "wave", None])
def test_an_event_without_seq_spoils_the_message_whatever_its_kind(kind: str | None) -> None:
    with pytest.raises(BadMessage, match="no usable seq"):
        read_presence(raw(presence({"kind": kind})))


@pytest.mark.parametrize("event", [None, 5, "enter", [], [enter(1)], True])
def test_an_event_that_is_no_object_spoils_the_message(event: Any) -> None:
    with pytest.raises(BadMessage, match=r"events\.0"):
        read_presence(raw(presence(event)))


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": "1"},
        {"v": None},
        {"edge": "Door"},
        {"edge": "door\n"},
        {"edge": ""},
        {"edge": "a" * 65},
        {"boot": "a/b"},
        {"boot": "+"},
        {"oldest_seq": 0},
        {"sent_mono_ms": -1},
        {"sent_at_ms": None},
        {"clock": None},
        {"clock": CLOCK | {"error_ms": -1}},
        {"clock": CLOCK | {"source": "x" * 33}},
        {"events": {}},
        {"events": [enter(1)] * (MAX_EVENTS + 1)},
    ],
)
def test_a_bad_envelope_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadMessage, match=next(iter(changes))):
        read_presence(raw(presence(enter(1)) | changes))


@all_models
def test_version_2_is_refused_by_every_message(model: type[Payload]) -> None:
    with pytest.raises(BadMessage, match=r"^v: "):
        read(model, b'{"v":2}')


@pytest.mark.parametrize("missing", sorted(presence()))
def test_an_envelope_that_lacks_a_field_is_refused(missing: str) -> None:
    data = presence(enter(1))
    del data[missing]
    with pytest.raises(BadMessage, match=missing):
        read_presence(raw(data))


# Hostile bytes


def test_a_payload_of_the_largest_size_is_read_and_one_byte_more_is_refused() -> None:
    ack = b'{"v":1,"boot":"b-1","upto":7}'
    assert read(Ack, ack.ljust(MAX_PAYLOAD_BYTES)).upto == 7
    with pytest.raises(BadMessage, match="65537 bytes, more than 65536"):
        read(Ack, ack.ljust(MAX_PAYLOAD_BYTES + 1))
    whole = raw(presence(enter(1)))
    assert read_presence(whole.ljust(MAX_PAYLOAD_BYTES)).bad == []
    with pytest.raises(BadMessage, match="65537 bytes, more than 65536"):
        read_presence(whole.ljust(MAX_PAYLOAD_BYTES + 1))


hostile = pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0",
        b"null",
        b"[]",
        b"{}",
        b'"v"',
        b"{",
        b"\xff\xfe",
        b'{"v":1,"boot":"\xff","upto":0}',
        b'{"v":1,"boot":"\\ud800","upto":0}',
        b'{"v":1,"boot":"b","upto":' + b"9" * 6000 + b"}",
        b'{"v":1,"boot":"b","upto":1e400}',
        b'{"v":1,"boot":"b","upto":NaN}',
        b'{"v":1,"boot":"b","upto":0}{}',
        b"[" * 60_000,
        b'{"v":' * 12_000,
    ],
)


@hostile
def test_hostile_bytes_are_a_bad_message(payload: bytes) -> None:
    for call in (lambda: read(Ack, payload), lambda: read_presence(payload)):
        with pytest.raises(BadMessage):
            call()


@all_models
@given(payload=st.binary(max_size=200))
@example(payload=b"{}")
def test_any_bytes_give_a_message_or_bad_message(model: type[Payload], payload: bytes) -> None:
    try:
        message = read(model, payload)
    except BadMessage:
        return
    assert read(model, write(message)) == message


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)


@given(st.data(), anything)
def test_any_value_in_any_place_gives_a_result_or_bad_message(data: st.DataObject, value: Any) -> None:
    whole = presence(enter(1), lost(2), {"seq": 3, "kind": "wave"})
    event = data.draw(st.sampled_from(whole["events"]))
    place = data.draw(st.sampled_from([whole, whole["clock"], event, event.get("beacon", event)]))
    place[data.draw(st.sampled_from([*place, "colour"]))] = value
    try:
        found = read_presence(raw(whole))
    except BadMessage:
        return
    assert len(found.message.events) + len(found.bad) == len(whole["events"])
    assert read_presence(write(found.message)).bad == []


# Privacy


@pytest.mark.parametrize("name", [name for name in sorted(presence()) if name != "events"])
@pytest.mark.parametrize("value", [SECRET, [SECRET], {"mail": SECRET}])
def test_a_refusal_of_the_envelope_never_repeats_the_value(name: str, value: Any) -> None:
    with pytest.raises(BadMessage) as caught:
        read_presence(raw(presence(enter(1)) | {name: value}))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", [*sorted(enter(1)), "beacon.uuid"])
@pytest.mark.parametrize("value", [[SECRET], {"mail": SECRET}, "\n" + SECRET])
def test_a_refusal_of_an_event_never_repeats_the_value(name: str, value: Any) -> None:
    event = enter(2, n=-1) | ({"beacon": BEACON | {"uuid": value}} if name == "beacon.uuid" else {name: value})
    try:
        reasons = [reason for _, _, reason in read_presence(raw(presence(event))).bad]
    except BadMessage as exc:
        reasons = [str(exc)]
    assert SECRET not in " ".join(reasons)


def test_a_refusal_of_broken_json_never_repeats_it() -> None:
    with pytest.raises(BadMessage) as caught:
        read(Telemetry, f'{{"edge":"{SECRET}",{SECRET}'.encode())
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) <= 300
