"""v(t): what an offer is worth at an age. Pure integer arithmetic, the same on hub, edge, till and phone.

Values are basis points (10,000 = 100 %), ages and durations milliseconds. With

    a = clamp(age_ms − grace_ms, 0, life_ms), rounded down to a multiple of step_ms

the kinds are

    cliff        start while a < life, floor at life
    linear       floor + (start − floor) · (life − a) / life
    half_life    floor + (start − floor) · 2^(−a / half_life), dropping to the floor at life
    staircase    the last step whose offset has been reached
    per_second   start − rate · whole seconds, not below the floor
    walk         linear, over a life that `fix_walk` sets at issue from the walking time

Every division rounds in the shopper's favour (the age down, the value up to a multiple of `round_bp`). Every curve
never rises, stays in [floor_bp, start_bp], is exactly `start_bp` at age 0 and exactly `floor_bp` from
grace_ms + life_ms on. All intermediate values stay below 2⁵³, so a language with doubles only can follow.
Golden values for other languages: `wire/examples/curves.json`.
"""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from wire.errors import BadMessage
from wire.half_life_q32 import HALF_LIFE_Q32, STEPS_PER_HALF_LIFE
from wire.messages import Payload

MAX_LIFE_MS = 30 * 86_400_000
"""30 days: longer is a price list, not a decaying offer; keeps (start − floor) · life below 2⁵³."""

WALK_SPEED_M_PER_S = 1.3
"""Comfortable walking speed of adults, m/s (Bohannon 1997: 1.27–1.46)."""

WALK_FACTOR = (3, 2)
"""Life of a `walk` curve ÷ walking time, as a fraction: half as much again, so that a slow walker gets a fair share."""

Bp = Annotated[int, Field(ge=0, le=10_000, description="basis points")]
Ms = Annotated[int, Field(ge=0, le=MAX_LIFE_MS)]


class _Curve(Payload):
    start_bp: Annotated[Bp, Field(description="value at age 0")]
    floor_bp: Annotated[Bp, Field(description="value from grace + life on")]
    life_ms: Annotated[int, Field(gt=0, le=MAX_LIFE_MS, description="time from start to floor")]
    grace_ms: Annotated[Ms, Field(description="time before the decay begins")] = 0
    step_ms: Annotated[int, Field(ge=1, le=MAX_LIFE_MS, description="the age is rounded down to this")] = 1
    round_bp: Annotated[int, Field(ge=1, le=10_000, description="the value is rounded up to this")] = 1
    tail_ms: Annotated[Ms, Field(description="how long the floor is still honoured after the life")] = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.floor_bp > self.start_bp:
            raise ValueError("floor_bp is above start_bp: a curve never rises")
        if self.start_bp % self.round_bp or self.floor_bp % self.round_bp:
            raise ValueError("start_bp and floor_bp must be multiples of round_bp, or they could not be shown")
        if self.step_ms > self.life_ms:
            raise ValueError("step_ms is longer than life_ms")
        return self


class Cliff(_Curve):
    """All or nothing: the control arm of every other curve."""

    kind: Literal["cliff"]


class Linear(_Curve):
    """Straight from start to floor."""

    kind: Literal["linear"]


class Walk(_Curve):
    """Straight from start to floor; `life_ms` is the shortest, `fix_walk` sets it at issue."""

    kind: Literal["walk"]


class HalfLife(_Curve):
    """Half of what is above the floor is left after each `half_life_ms`."""

    kind: Literal["half_life"]
    half_life_ms: Annotated[int, Field(gt=0, le=MAX_LIFE_MS)]


class Staircase(_Curve):
    """Steps `(offset_ms, bp)`: offsets rise, values fall, all before life and within [floor, start]."""

    kind: Literal["staircase"]
    steps: Annotated[list[tuple[Ms, Bp]], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _falling(self) -> Self:
        last_ms, last_bp = 0, self.start_bp
        for offset_ms, bp in self.steps:
            if not last_ms < offset_ms < self.life_ms or not self.floor_bp <= bp <= last_bp:
                raise ValueError("steps must rise in time inside (0, life_ms) and fall in value, not below floor_bp")
            last_ms, last_bp = offset_ms, bp
        return self


class PerSecond(_Curve):
    """`rate_bp` less with each whole second."""

    kind: Literal["per_second"]
    rate_bp: Annotated[int, Field(ge=1, le=10_000)]


Curve = Annotated[
    Cliff | Linear | Walk | HalfLife | Staircase | PerSecond,
    Field(discriminator="kind", description="how it decays"),
]
_CURVE: TypeAdapter[Curve] = TypeAdapter(Curve)


def read_curve(value: Any) -> Curve:
    """Validate a curve from plain data (a dict, as in a push or an offer).

    Raises:
        BadMessage: not a curve; the text names the field.
    """
    try:
        return _CURVE.validate_python(value, extra="ignore")
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = "no such kind" if first["type"] == "union_tag_invalid" else first["msg"]
        raise BadMessage(f"curve {where}: {what}") from exc


def end_ms(curve: Curve) -> int:
    """Age at which a grant with this curve expires, ms."""
    return curve.grace_ms + curve.life_ms + curve.tail_ms


def fix_walk(curve: Curve, distance_m: int) -> Curve:
    """A `walk` curve with its life set for a walk of `distance_m` ≥ 0, never below what it was; others unchanged."""
    if not isinstance(curve, Walk):
        return curve
    up, down = WALK_FACTOR
    life_ms = math.ceil(distance_m / WALK_SPEED_M_PER_S * 1000 * up / down)
    return curve.model_copy(update={"life_ms": min(max(life_ms, curve.life_ms), MAX_LIFE_MS)})


def value_bp(curve: Curve, age_ms: int) -> int:
    """Worth at `age_ms` (negative counts as 0), basis points, in [floor_bp, start_bp]."""
    age_ms -= curve.grace_ms
    if age_ms >= curve.life_ms:
        return curve.floor_bp
    age_ms = age_ms // curve.step_ms * curve.step_ms if age_ms > 0 else 0
    value = _above_floor(curve, age_ms) + curve.floor_bp
    return min(curve.start_bp, -(-value // curve.round_bp) * curve.round_bp)


def _above_floor(curve: Curve, age_ms: int) -> int:
    span = curve.start_bp - curve.floor_bp
    match curve:
        case Cliff():
            return span
        case Linear() | Walk():
            return -(-span * (curve.life_ms - age_ms) // curve.life_ms)
        case HalfLife():
            halves, rest_ms = divmod(age_ms, curve.half_life_ms)
            factor = HALF_LIFE_Q32[rest_ms * STEPS_PER_HALF_LIFE // curve.half_life_ms]
            # past 48 halvings nothing of 14 bits times 33 bits is left but the round-up
            return -(-span * factor >> (32 + min(halves, 48)))
        case Staircase():
            reached = [bp for offset_ms, bp in curve.steps if offset_ms <= age_ms]
            return (reached[-1] if reached else curve.start_bp) - curve.floor_bp
        case PerSecond():
            return max(0, span - curve.rate_bp * (age_ms // 1000))
