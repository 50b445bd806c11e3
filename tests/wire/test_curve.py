"""v(t): the promises of every curve, checked against exact arithmetic."""

import json
from collections import Counter
from decimal import Context, Decimal
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import wire
from wire.curve import (
    MAX_LIFE_MS,
    Curve,
    HalfLife,
    Staircase,
    Walk,
    end_ms,
    fix_walk,
    read_curve,
    value_bp,
)
from wire.errors import BadMessage
from wire.half_life_q32 import HALF_LIFE_Q32, STEPS_PER_HALF_LIFE

KINDS = ("cliff", "linear", "half_life", "staircase", "per_second", "walk")
EXTRA: dict[str, dict[str, Any]] = {
    "half_life": {"half_life_ms": 400},
    "staircase": {"steps": [[300, 2000], [600, 1500]]},
    "per_second": {"rate_bp": 100},
}
GOLDEN = json.loads((Path(wire.__file__).parent / "examples" / "curves.json").read_text())

every_kind = pytest.mark.parametrize("kind", KINDS)


def plain(kind: str, **changes: Any) -> dict[str, Any]:
    return {"kind": kind, "start_bp": 3000, "floor_bp": 1000, "life_ms": 1000} | EXTRA.get(kind, {}) | changes


@st.composite
def curves(draw: st.DrawFn, kind: str) -> Curve:
    round_bp = draw(st.one_of(st.just(1), st.sampled_from([10, 50, 100, 111, 500]), st.integers(1, 10_000)))
    start = draw(st.integers(0, 10_000 // round_bp))
    life_ms = draw(st.one_of(st.integers(1, 10_000), st.integers(1, MAX_LIFE_MS)))
    raw: dict[str, Any] = {
        "kind": kind,
        "start_bp": start * round_bp,
        "floor_bp": draw(st.integers(0, start)) * round_bp,
        "life_ms": life_ms,
        "grace_ms": draw(st.one_of(st.just(0), st.integers(0, MAX_LIFE_MS))),
        "step_ms": draw(st.one_of(st.just(1), st.integers(1, life_ms))),
        "round_bp": round_bp,
        "tail_ms": draw(st.integers(0, MAX_LIFE_MS)),
    }
    if kind == "half_life":
        raw["half_life_ms"] = draw(st.one_of(st.integers(1, life_ms), st.integers(1, MAX_LIFE_MS)))
    if kind == "per_second":
        raw["rate_bp"] = draw(st.one_of(st.integers(1, 20), st.integers(1, 10_000)))
    if kind == "staircase":
        assume(life_ms > 1)
        offsets = sorted(draw(st.sets(st.integers(1, life_ms - 1), min_size=1, max_size=6)))
        size = len(offsets)
        values = draw(st.lists(st.integers(raw["floor_bp"], raw["start_bp"]), min_size=size, max_size=size))
        raw["steps"] = list(zip(offsets, sorted(values, reverse=True), strict=True))
    return read_curve(raw)


def ages(curve: Curve) -> st.SearchStrategy[int]:
    end = curve.grace_ms + curve.life_ms
    near = [curve.grace_ms, end, curve.grace_ms + curve.step_ms, end - curve.step_ms]
    return st.one_of(
        st.integers(-10, end + 10), st.builds(lambda at, by: at + by, st.sampled_from(near), st.integers(-2, 2))
    )


def any_curve_and_age(kind: str) -> st.SearchStrategy[tuple[Curve, int]]:
    return curves(kind).flatmap(lambda curve: st.tuples(st.just(curve), ages(curve)))


def exact_bp(curve: Curve, age_ms: int) -> Fraction:
    """The formula of the docstring without any rounding; `half_life` to 80 digits where it is irrational."""
    a = min(max(age_ms - curve.grace_ms, 0), curve.life_ms)
    span = curve.start_bp - curve.floor_bp
    if a == curve.life_ms:
        return Fraction(curve.floor_bp)
    if isinstance(curve, HalfLife):
        halves, rest = divmod(a, curve.half_life_ms)
        digits = Context(prec=80)
        exponent = digits.divide(Decimal(-rest), Decimal(curve.half_life_ms))
        part = Fraction(digits.power(Decimal(2), exponent)) if rest else Fraction(1)
        return curve.floor_bp + part * Fraction(span, 2**halves)
    if isinstance(curve, Staircase):
        return Fraction(min([curve.start_bp, *(bp for offset_ms, bp in curve.steps if offset_ms <= a)]))
    if curve.kind == "per_second":
        return Fraction(max(curve.floor_bp, curve.start_bp - curve.rate_bp * (a // 1000)))
    if curve.kind == "cliff":
        return Fraction(curve.start_bp)
    return curve.floor_bp + Fraction(span * (curve.life_ms - a), curve.life_ms)


def with_doubles(curve: Curve, age_ms: int) -> int:
    """`value_bp` as JavaScript would compute it: every number a double, every intermediate value below 2⁵³."""

    def small(x: float) -> float:
        assert abs(x) < 2.0**53
        assert x == floor(x)
        return x

    age = small(float(age_ms) - float(curve.grace_ms))
    life, step, span = float(curve.life_ms), float(curve.step_ms), float(curve.start_bp - curve.floor_bp)
    if age >= life:
        return curve.floor_bp
    age = small(floor(age / step) * step) if age > 0 else 0.0
    match curve.kind:
        case "cliff":
            above = span
        case "linear" | "walk":
            above = float(ceil(small(span * (life - age)) / life))
        case "half_life":
            half = float(curve.half_life_ms)
            halves = floor(age / half)
            factor = float(HALF_LIFE_Q32[floor(small((age - halves * half) * STEPS_PER_HALF_LIFE) / half)])
            above = float(ceil(small(span * factor) / 2.0 ** (32 + min(halves, 48))))
        case "staircase":
            reached = [bp for offset_ms, bp in curve.steps if offset_ms <= age]
            above = float((reached[-1] if reached else curve.start_bp) - curve.floor_bp)
        case _:
            above = max(0.0, span - small(float(curve.rate_bp) * floor(age / 1000)))
    rounded = ceil((above + curve.floor_bp) / curve.round_bp) * curve.round_bp
    return min(curve.start_bp, rounded)


@every_kind
@given(data=st.data())
def test_a_curve_never_rises(kind: str, data: st.DataObject) -> None:
    curve = data.draw(curves(kind))
    values = [value_bp(curve, age_ms) for age_ms in sorted(data.draw(st.lists(ages(curve), min_size=2)))]
    assert values == sorted(values, reverse=True)


@every_kind
def test_a_short_curve_never_rises_from_one_millisecond_to_the_next(kind: str) -> None:
    for variant in ({}, {"grace_ms": 30, "step_ms": 7, "round_bp": 50}):
        curve = read_curve(plain(kind) | variant)
        values = [value_bp(curve, age_ms) for age_ms in range(-5, end_ms(curve) + 5)]
        assert values == sorted(values, reverse=True)
        assert (values[0], values[-1]) == (3000, 1000)


@every_kind
@given(data=st.data())
def test_a_curve_stays_between_floor_and_start_on_multiples_of_its_rounding(kind: str, data: st.DataObject) -> None:
    curve, age_ms = data.draw(any_curve_and_age(kind))
    value = value_bp(curve, age_ms)
    assert curve.floor_bp <= value <= curve.start_bp
    assert value % curve.round_bp == 0


@every_kind
@given(data=st.data())
def test_a_curve_is_at_its_start_until_the_grace_is_over(kind: str, data: st.DataObject) -> None:
    curve = data.draw(curves(kind))
    before = data.draw(st.integers(-MAX_LIFE_MS, curve.grace_ms))
    assert value_bp(curve, 0) == value_bp(curve, before) == value_bp(curve, curve.grace_ms) == curve.start_bp


@every_kind
@given(data=st.data())
def test_a_curve_is_at_its_floor_from_the_end_on(kind: str, data: st.DataObject) -> None:
    curve = data.draw(curves(kind))
    end = curve.grace_ms + curve.life_ms
    after = data.draw(st.integers(0, 10 * MAX_LIFE_MS))
    assert value_bp(curve, end) == value_bp(curve, end + after) == curve.floor_bp


@every_kind
@given(data=st.data())
def test_rounding_is_in_the_shoppers_favour_and_less_than_one_unit(kind: str, data: st.DataObject) -> None:
    curve, age_ms = data.draw(any_curve_and_age(kind))
    value = value_bp(curve, age_ms)
    assert value >= exact_bp(curve, age_ms)
    counted = age_ms - max(0, age_ms - curve.grace_ms) % curve.step_ms
    if age_ms < curve.grace_ms + curve.life_ms:
        above = exact_bp(curve, counted) - curve.floor_bp
        if kind == "half_life":  # one entry of the table is at most 2^(1/256) too high
            above *= Fraction(HALF_LIFE_Q32[0] + 1, HALF_LIFE_Q32[1] - 1)
        assert value < curve.floor_bp + above + 1 + curve.round_bp


@every_kind
@given(data=st.data())
def test_the_age_counts_in_whole_steps(kind: str, data: st.DataObject) -> None:
    curve, age_ms = data.draw(any_curve_and_age(kind))
    counted = age_ms - max(0, age_ms - curve.grace_ms) % curve.step_ms
    if age_ms < curve.grace_ms + curve.life_ms:
        assert value_bp(curve, age_ms) == value_bp(curve, counted)


@every_kind
@given(data=st.data())
def test_doubles_are_enough_to_compute_a_curve(kind: str, data: st.DataObject) -> None:
    curve, age_ms = data.draw(any_curve_and_age(kind))
    assert with_doubles(curve, age_ms) == value_bp(curve, age_ms)


def test_the_largest_intermediate_values_stay_below_2_to_the_53() -> None:
    assert 10_000 * MAX_LIFE_MS < 2**53
    assert 10_000 * max(HALF_LIFE_Q32) < 2**53
    assert MAX_LIFE_MS * STEPS_PER_HALF_LIFE < 2**53


@every_kind
@given(data=st.data())
def test_a_curve_survives_being_written_and_read(kind: str, data: st.DataObject) -> None:
    curve = data.draw(curves(kind))
    assert read_curve(json.loads(curve.model_dump_json())) == curve


@given(curves("half_life"), st.integers(0, 60))
def test_half_of_what_is_above_the_floor_is_left_after_each_half_life(curve: HalfLife, halves: int) -> None:
    age_ms = curve.half_life_ms * halves
    assume(age_ms < curve.life_ms)
    curve = curve.model_copy(update={"step_ms": 1, "round_bp": 1})
    left = Fraction(curve.start_bp - curve.floor_bp, 2**halves)
    assert value_bp(curve, curve.grace_ms + age_ms) == curve.floor_bp + ceil(left)


def test_the_table_of_half_lives_is_exact() -> None:
    assert len(HALF_LIFE_Q32) == STEPS_PER_HALF_LIFE == 256
    for i, t in enumerate(HALF_LIFE_Q32):
        assert t**256 << i >= 1 << 32 * 256
        assert (t - 1) ** 256 << i < 1 << 32 * 256


def test_a_grant_ends_after_grace_life_and_tail() -> None:
    assert end_ms(read_curve(plain("cliff", grace_ms=20, tail_ms=3))) == 1023


# Refusals


@every_kind
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"start_bp": 10_001}, "start_bp"),
        ({"start_bp": -1}, "start_bp"),
        ({"start_bp": 3000.5}, "start_bp"),
        ({"start_bp": None}, "start_bp"),
        ({"floor_bp": -1}, "floor_bp"),
        ({"floor_bp": 3001}, "never rises"),
        ({"life_ms": 0}, "life_ms"),
        ({"life_ms": MAX_LIFE_MS + 1}, "life_ms"),
        ({"grace_ms": -1}, "grace_ms"),
        ({"grace_ms": MAX_LIFE_MS + 1}, "grace_ms"),
        ({"tail_ms": -1}, "tail_ms"),
        ({"step_ms": 0}, "step_ms"),
        ({"step_ms": 1001}, "step_ms is longer than life_ms"),
        ({"round_bp": 0}, "round_bp"),
        ({"round_bp": 700}, "multiples of round_bp"),
        ({"round_bp": 3000}, "multiples of round_bp"),
    ],
)
def test_an_impossible_curve_is_refused(kind: str, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadMessage, match=reason):
        read_curve(plain(kind) | changes)


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "linear",
        [],
        {},
        {"kind": "linear"},
        plain("cubic"),
        plain("linear") | {"kind": []},
        plain("half_life", half_life_ms=0),
        plain("per_second", rate_bp=0),
        plain("staircase", steps=[]),
        plain("staircase", steps=[[0, 2000]]),
        plain("staircase", steps=[[1000, 2000]]),
        plain("staircase", steps=[[300, 3001]]),
        plain("staircase", steps=[[300, 999]]),
        plain("staircase", steps=[[300, 2000], [300, 1500]]),
        plain("staircase", steps=[[600, 2000], [300, 1500]]),
        plain("staircase", steps=[[300, 1500], [600, 1501]]),
        plain("staircase", steps=[[300]]),
        plain("staircase", steps=[[i, 2000] for i in range(1, 102)]),
    ],
)
def test_what_is_no_curve_is_refused(value: Any) -> None:
    with pytest.raises(BadMessage, match="curve"):
        read_curve(value)


def test_fields_a_curve_does_not_know_are_skipped() -> None:
    assert read_curve(plain("linear", colour="red")) == read_curve(plain("linear"))


# Walks


def test_a_walk_of_130_metres_lasts_100_seconds_and_half_as_much_again() -> None:
    fixed = fix_walk(read_curve(plain("walk")), 130)
    assert fixed.life_ms == 150_000


@given(curves("walk"), st.integers(0, 10_000_000), st.integers(0, 10_000_000))
def test_a_fixed_walk_is_a_valid_curve_that_a_longer_way_never_shortens(curve: Walk, one: int, other: int) -> None:
    shorter, longer = (fix_walk(curve, distance_m) for distance_m in sorted((one, other)))
    assert curve.step_ms <= shorter.life_ms <= longer.life_ms <= MAX_LIFE_MS
    assert read_curve(longer.model_dump()) == longer
    assert longer.model_copy(update={"life_ms": curve.life_ms}) == curve


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "walk"])
def test_other_curves_are_not_changed_by_a_walk(kind: str) -> None:
    curve = read_curve(plain(kind))
    assert fix_walk(curve, 500) is curve


# Golden values for other languages


@pytest.mark.parametrize("case", GOLDEN, ids=[f"{n}-{case['curve']['kind']}" for n, case in enumerate(GOLDEN)])
def test_the_golden_values_hold(case: dict[str, Any]) -> None:
    curve = read_curve(case["curve"])
    assert [[age_ms, value_bp(curve, age_ms)] for age_ms, _ in case["values"]] == case["values"]
    assert all(value >= exact_bp(curve, age_ms) for age_ms, value in case["values"])


def test_the_golden_values_cover_each_kind_and_each_boundary() -> None:
    counts = Counter(case["curve"]["kind"] for case in GOLDEN)
    assert counts.keys() == set(KINDS)
    assert min(counts.values()) >= 3
    for case in GOLDEN:
        curve = read_curve(case["curve"])
        end = curve.grace_ms + curve.life_ms
        listed = [age_ms for age_ms, _ in case["values"]]
        assert {-1, 0, 1, curve.grace_ms, end - 1, end, end + 1} <= set(listed)
        assert listed == sorted(set(listed))


@every_kind
@pytest.mark.parametrize("field", ["grace_ms", "step_ms", "round_bp"])
def test_the_golden_values_show_each_refinement_of_each_kind(kind: str, field: str) -> None:
    assert any(case["curve"].get(field, 1) > 1 for case in GOLDEN if case["curve"]["kind"] == kind)
