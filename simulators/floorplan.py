"""A synthetic shop as a TOML file: zones, edges, radio, and who comes. Metres, seconds, dBm."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wire.errors import BadConfig
from wire.messages import Level

Point = tuple[float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ZonePlan(_Part):
    """A rectangle of the floor."""

    id: Level
    name: str
    kind: Literal["approach", "door", "floor", "till"]
    rect: Annotated[tuple[float, float, float, float], Field(description="x0, y0, x1, y1 in m")]

    def holds(self, at: Point) -> bool:
        """Whether a point lies in it."""
        x0, y0, x1, y1 = self.rect
        return x0 <= at[0] < x1 and y0 <= at[1] < y1


class EdgePlan(_Part):
    """Where an edge hangs."""

    id: Level
    zone: Level
    at: Point


class Walls(_Part):
    """A wall that dampens what crosses it."""

    line: tuple[float, float, float, float]
    loss_db: Annotated[float, Field(ge=0, le=60)]


class RadioPlan(_Part):
    """How signals fade. Log-distance path loss, shadowing that changes as one walks, bursty loss (Gilbert-Elliott)."""

    power_dbm: float = -59
    exponent: Annotated[float, Field(ge=1, le=6)] = 2.4
    shadowing_db: Annotated[float, Field(ge=0, le=20)] = 4.0
    decorrelation_m: Annotated[float, Field(gt=0, le=100)] = 2.5
    fading_db: Annotated[float, Field(ge=0, le=20)] = 2.5
    noise_floor_dbm: float = -98
    loss_good: Annotated[float, Field(ge=0, le=1)] = 0.05
    loss_bad: Annotated[float, Field(ge=0, le=1)] = 0.8
    good_to_bad: Annotated[float, Field(ge=0, le=1)] = 0.02
    bad_to_good: Annotated[float, Field(ge=0, le=1)] = 0.25


class Stop(_Part):
    """A place on somebody's way, and how long they stay there."""

    at: Point
    stay_s: Annotated[tuple[float, float], Field(description="shortest and longest")] = (0.0, 0.0)
    redeems: bool = False


class Habit(_Part):
    """A way of using the shop: where from, which stops, how fast."""

    id: Level
    speed_m_per_s: Annotated[tuple[float, float], Field(description="slowest and fastest")] = (1.0, 1.5)
    stops: Annotated[list[Stop], Field(min_length=2)]


class Crowd(_Part):
    """A number of people of one kind with one habit. `start_s`: when the first and the last set out."""

    who: Literal["member", "refuser", "bystander"]
    habit: Level
    count: Annotated[int, Field(ge=0, le=500)]
    start_s: tuple[float, float]
    advert_ms: Annotated[int, Field(ge=20, le=10_000, description="advertising interval")] = 300


class OfferPlan(_Part):
    """An offer, as `PUT /v1/offers/{id}` takes its body."""

    id: Level
    body: dict[str, object]


class FloorPlan(_Part):
    """The whole scenario."""

    version: Literal[1]
    name: Level
    store: Level
    tz: str = "UTC"
    locale: str = "en"
    currency: str = "EUR"
    duration_s: Annotated[float, Field(gt=0, le=86_400, description="unless --duration says otherwise")]
    basket_minor: Annotated[tuple[int, int], Field(description="smallest and largest basket")] = (1_500, 9_000)
    radio: RadioPlan = RadioPlan()
    zone: Annotated[list[ZonePlan], Field(min_length=1)]
    edge: Annotated[list[EdgePlan], Field(min_length=1)]
    wall: list[Walls] = []
    habit: Annotated[list[Habit], Field(min_length=1)]
    crowd: Annotated[list[Crowd], Field(min_length=1)]
    offer: Annotated[list[OfferPlan], Field(min_length=1)]

    def zone_at(self, at: Point) -> str | None:
        """Zone of a point, None outside every zone."""
        return next((zone.id for zone in self.zone if zone.holds(at)), None)


def names() -> list[str]:
    """The scenarios that come with the package."""
    folder = files("simulators").joinpath("scenarios")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load(name: str) -> FloorPlan:
    """A scenario by name, or from a path that ends in `.toml`.

    Raises:
        BadConfig: there is none, or it cannot be used.
    """
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text("utf-8")
        except OSError as exc:
            raise BadConfig(f"scenario {name}: {exc.strerror}") from exc
    elif name in names():
        text = files("simulators").joinpath(f"scenarios/{name}.toml").read_text("utf-8")
    else:
        raise BadConfig(f"scenario {name}: there is none; choose one of {', '.join(names())}, or name a .toml file")
    try:
        plan = FloorPlan.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as exc:
        raise BadConfig(f"scenario {name}: {exc}") from exc
    habits = {habit.id for habit in plan.habit}
    zones = {zone.id for zone in plan.zone}
    lost = [crowd.habit for crowd in plan.crowd if crowd.habit not in habits]
    lost += [edge.zone for edge in plan.edge if edge.zone not in zones]
    if lost:
        raise BadConfig(f"scenario {name}: nothing is called {lost[0]}")
    return plan
