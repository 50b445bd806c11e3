"""Scripts: JSON lines, each one a method of `FakeBlueZ` with its arguments, and when.

    {"do": "fail", "member": "StartDiscovery", "error": "NotReady", "times": 3}
    {"at_s": 10, "do": "stall", "heals": "power"}
    {"at_s": 95.5, "do": "advertise", "address": "C0:11:22:33:44:55", "adv": "0201061aff4c00…", "rssi_dbm": -60}

`at_s` counts from the first scan of any client; a line without it follows the line before it at once. Bytes are
hexadecimal. Lines that are empty or begin with `#` are skipped.
"""

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from simulators.bluez.behaviour import Behaviour
from simulators.bluez.radio import FakeBlueZ
from wire.errors import BadConfig

VERBS = (
    "advertise", "behave", "block", "fail", "forget", "hang", "invalidate", "keep", "kill_daemon", "lose_bus", "mend",
    "plug", "power", "reboot", "reject_stop", "restart_daemon", "restore_bus", "stall", "start_daemon", "unplug",
    "unstall",
)  # fmt: skip
"""Methods that a script may call."""

MAX_LINE_BYTES = 16_384
"""Longest line, far above the longest advertisement, bytes."""


class Step(NamedTuple):
    """One line; `at_s` None: at once."""

    line_no: int
    at_s: float | None
    verb: str
    arguments: dict[str, Any]


def read(lines: Iterable[str]) -> Iterator[Step]:
    """The steps of a script.

    Raises:
        BadConfig: while iterating: a line that is none, an unknown verb or argument, a value out of its range, or a
            time before the one of an earlier line.
    """
    latest_s = 0.0
    for line_no, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            step = _step(line_no, text)
        except ValueError as exc:
            raise BadConfig(f"line {line_no}: {_reason(exc)}") from exc
        if step.at_s is not None and step.at_s < latest_s:
            raise BadConfig(f"line {line_no}: at_s {step.at_s:g} comes after {latest_s:g}")
        latest_s = step.at_s or latest_s
        yield step


def _step(line_no: int, text: str) -> Step:
    if len(text) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES} bytes")
    given = json.loads(text)
    if not isinstance(given, dict) or given.get("do") not in VERBS:
        raise ValueError(f"`do` is one of {', '.join(VERBS)}")
    verb = given["do"]
    found = _model(verb).model_validate_json(text)
    arguments = {name: getattr(found, name) for name in found.model_fields_set - {"do", "at_s"}}
    return Step(line_no, getattr(found, "at_s", None), verb, arguments)


@cache
def _model(verb: str) -> type[BaseModel]:
    """What the method takes, as a model."""
    method = Behaviour if verb == "behave" else getattr(FakeBlueZ, verb)
    hints = get_type_hints(method)
    fields: dict[str, Any] = {"do": (str, ...), "at_s": (float | None, Field(None, ge=0, le=1e7))}
    for name, parameter in inspect.signature(method).parameters.items():
        if name != "self":
            fields[name] = (hints[name], ... if parameter.default is parameter.empty else parameter.default)
    return create_model(verb, __config__=ConfigDict(extra="forbid", val_json_bytes="hex"), **fields)


def _reason(exc: ValueError) -> str:
    if isinstance(exc, ValidationError):
        first = exc.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"not JSON: {exc}" if isinstance(exc, json.JSONDecodeError) else str(exc)


async def apply(step: Step, radio: FakeBlueZ) -> None:
    """Do what the line says.

    Raises:
        BadConfig: it cannot be done now: the adapter is not there, …
    """
    act: Callable[..., Awaitable[None] | None] = getattr(radio, step.verb)
    try:
        done = act(**step.arguments)
        if done is not None:
            await done
    except BadConfig as exc:
        raise BadConfig(f"line {step.line_no}: {exc}") from exc
