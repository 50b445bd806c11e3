"""The golden payloads of version 1 are read, and written back the same."""

import json
from pathlib import Path
from typing import Any

import pytest

import wire
from wire import messages
from wire.curve import HalfLife, end_ms, read_curve, value_bp
from wire.messages import Payload, Push, read, read_presence, write

EXAMPLES = Path(wire.__file__).parent / "examples"
MODELS: dict[str, type[Payload]] = {
    "v1-presence.json": messages.Presence,
    "v1-presence-lost.json": messages.Presence,
    "v1-presence-earlier-boot.json": messages.Presence,
    "v1-ack.json": messages.Ack,
    "v1-status.json": messages.Status,
    "v1-telemetry.json": messages.Telemetry,
    "v1-config.json": messages.EdgeConfig,
    "v1-config-ack.json": messages.ConfigAck,
    "v1-occupancy.json": messages.Occupancy,
    "v1-push.json": messages.Push,
}
PRESENCE = [name for name, model in MODELS.items() if model is messages.Presence]


def raw(name: str) -> bytes:
    return (EXAMPLES / name).read_bytes()


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def test_every_example_file_has_a_model_and_every_model_a_file() -> None:
    assert {path.name for path in EXAMPLES.glob("v1-*.json")} == MODELS.keys()


def test_every_topic_payload_has_an_example() -> None:
    topic_payloads = {
        model
        for model in Payload.__subclasses__()
        if model.__module__ == messages.__name__ and "v" in model.model_fields
    }
    assert topic_payloads - {messages.PresenceEnvelope} == set(MODELS.values())


@pytest.mark.parametrize("name", MODELS)
def test_an_example_is_written_back_byte_for_byte_as_compact_json(name: str) -> None:
    data = json.loads(raw(name))
    message = read(MODELS[name], raw(name))
    assert write(message) == compact(data)
    assert json.loads(write(message)) == data


@pytest.mark.parametrize("name", MODELS)
def test_an_example_holds_nothing_undeclared(name: str) -> None:
    model = MODELS[name]
    assert model.model_validate_json(raw(name), extra="forbid") == read(model, raw(name))


@pytest.mark.parametrize("name", MODELS)
def test_an_example_read_as_what_was_written_is_the_same_message(name: str) -> None:
    message = read(MODELS[name], raw(name))
    assert read(MODELS[name], write(message)) == message


@pytest.mark.parametrize("name", PRESENCE)
def test_a_presence_example_is_read_without_a_complaint(name: str) -> None:
    found = read_presence(raw(name))
    assert found.bad == []
    assert found.unknown_fields == 0
    assert write(found.message) == compact(json.loads(raw(name)))


@pytest.mark.parametrize("name", PRESENCE)
def test_the_events_of_a_presence_example_stand_in_sequence_order(name: str) -> None:
    message = read_presence(raw(name)).message
    seqs = [event.seq for event in message.events]
    assert seqs == sorted(set(seqs))
    first = message.events[0]
    assert message.oldest_seq <= (first.first_seq if isinstance(first, messages.LostEvent) else first.seq)


def test_the_presence_examples_show_every_kind_of_event() -> None:
    kinds = {event["kind"] for name in PRESENCE for event in json.loads(raw(name))["events"]}
    assert kinds == {"enter", "sample", "exit", "unknown", "lost"}


def test_only_the_example_of_an_earlier_boot_has_no_time_of_sending() -> None:
    without = [name for name in PRESENCE if read_presence(raw(name)).message.sent_mono_ms is None]
    assert without == ["v1-presence-earlier-boot.json"]


def test_the_push_example_carries_a_half_life_curve_that_fits_its_deadline() -> None:
    push = read(Push, raw("v1-push.json"))
    curve = read_curve(push.curve)
    assert isinstance(curve, HalfLife)
    assert json.loads(write(curve)) == push.curve
    assert push.issued_at_ms + end_ms(curve) == push.expires_at_ms
    assert [value_bp(curve, age_ms) for age_ms in (0, 450_000, 870_000, 1_830_000)] == [3000, 1800, 1200, 500]
