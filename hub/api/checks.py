"""Types of request fields that more than one route uses."""

from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field

_ZONES = frozenset(available_timezones())


def _is_zone(name: str) -> str:
    if name not in _ZONES:
        raise ValueError("is no IANA time zone, e.g. Europe/Vienna")
    return name


TimeZone = Annotated[str, Field(max_length=64, description="IANA, e.g. Europe/Vienna"), AfterValidator(_is_zone)]
Locale = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", description="BCP 47, e.g. de-AT")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Minor = Annotated[int, Field(ge=0, le=10**12, description="minor units, e.g. cents")]
