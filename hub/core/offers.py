"""What an offer says: trigger, schedule in the store's time, curve, amounts, content. Validated when staff write it."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hub.core.model import Offer
from hub.core.states import ZoneKind
from wire.curve import Curve
from wire.errors import BadRequest
from wire.messages import Level, UnixMs

COOLDOWN_DEFAULT_S = 7 * 86_400
"""Re-issue cool-down, s: a countdown that starts again within days is a lie (CMA v. Emma Sleep)."""

DAYS = 7  # in a week
ALL_DAY = ("00:00", "24:00")

LocalTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$", description="store's local time")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Trigger(_Part):
    """What makes a decision happen: arriving in, or staying for `dwell_s` in, the store or a kind of zone."""

    on: Literal["enter", "dwell"]
    zone_kind: Annotated[ZoneKind | None, Field(description="null: the store as a whole")] = None
    stores: Annotated[list[Level], Field(max_length=1000, description="where; empty = every store")] = []
    dwell_s: Annotated[int, Field(ge=0, le=86_400)] = 0

    @model_validator(mode="after")
    def _dwell_has_time(self) -> Self:
        if (self.on == "dwell") != (self.dwell_s > 0):
            raise ValueError("dwell_s belongs to, and is needed by, a trigger on dwell")
        return self


class Schedule(_Part):
    """When the offer may be issued; weekdays 1 = Monday; `to_local` before `from_local` wraps over midnight."""

    from_at_ms: UnixMs | None = None
    to_at_ms: UnixMs | None = None
    weekdays: Annotated[list[Annotated[int, Field(ge=1, le=7)]], Field(min_length=1, max_length=7)] = [
        1, 2, 3, 4, 5, 6, 7,
    ]  # fmt: skip
    from_local: LocalTime = "00:00"
    to_local: LocalTime = "24:00"


class Content(_Part):
    """What the shopper reads."""

    title: Annotated[str, Field(min_length=1, max_length=120)]
    body: Annotated[str, Field(max_length=500)] = ""


class OfferBody(_Part):
    """One offer."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    trigger: Trigger
    redeem_store: Annotated[Level | None, Field(description="null: the store that triggered it")] = None
    schedule: Schedule = Schedule()
    curve: Curve
    distance_m: Annotated[int, Field(ge=0, le=10_000, description="walk to the store, for a `walk` curve")] = 0
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217")]
    min_basket_minor: Annotated[int, Field(ge=0, le=10**9)] = 0
    max_discount_minor: Annotated[int, Field(gt=0, le=10**9)] = 10**9
    priority: Annotated[int, Field(ge=0, le=1000, description="higher goes first")] = 100
    cooldown_s: Annotated[int, Field(ge=0, le=366 * 86_400, description="per person, from issue")] = COOLDOWN_DEFAULT_S
    content: Annotated[dict[str, Content], Field(min_length=1, max_length=50, description="by language, BCP 47")]


def read_body(body: object) -> OfferBody:
    """Validate an offer's body.

    Raises:
        BadRequest: names the first field that is wrong.
    """
    try:
        return OfferBody.model_validate(body)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        raise BadRequest(f"offer {'.'.join(map(str, first['loc']))}: {first['msg']}") from exc


def content_for(body: OfferBody, locale: str) -> Content:
    """The text in the shopper's language, else in the first language given."""
    language = locale.split("-")[0]
    return body.content.get(locale) or body.content.get(language) or next(iter(body.content.values()))


def open_at(schedule: Schedule, tz: str, at_ms: int) -> bool:
    """Whether the offer may be issued at this instant; local times are those of the store's zone `tz`."""
    if schedule.from_at_ms is not None and at_ms < schedule.from_at_ms:
        return False
    if schedule.to_at_ms is not None and at_ms >= schedule.to_at_ms:
        return False
    if len(set(schedule.weekdays)) == DAYS and (schedule.from_local, schedule.to_local) == ALL_DAY:
        return True  # no need to know what time it is there
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(tz))
    now, start, end = f"{local:%H:%M}", schedule.from_local, schedule.to_local
    if start <= end:
        return local.isoweekday() in schedule.weekdays and start <= now < end
    # over midnight: the small hours belong to the weekday on which the window opened
    weekday = local.isoweekday() if now >= start else (local.isoweekday() + 5) % 7 + 1
    return weekday in schedule.weekdays and (now >= start or now < end)


def current(offers: list[Offer]) -> list[tuple[Offer, OfferBody]]:
    """Offers that can be read, with their bodies. Staff's writing was validated then: one that cannot be read is our
    own fault, and must not stop the others, nor the visits of people; `hub audit` names it."""
    return [(offer, body) for offer in offers if (body := readable(offer)) is not None]


def readable(offer: Offer) -> OfferBody | None:
    """The body of an offer, or None when it cannot be read."""
    try:
        return read_body(offer.body)
    except BadRequest:
        return None
