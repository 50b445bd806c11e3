"""Schedules run in the store's time; a body is right or names what is wrong."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from hub.core.offers import Schedule, content_for, open_at, read_body
from tests.hub.build import offer
from wire.errors import BadRequest


def at(text, tz):
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("schedule", "local", "is_open"),
    [
        ({"from_local": "09:00", "to_local": "18:00"}, "2026-10-05T09:00", True),
        ({"from_local": "09:00", "to_local": "18:00"}, "2026-10-05T08:59", False),
        ({"from_local": "09:00", "to_local": "18:00"}, "2026-10-05T18:00", False),
        ({"from_local": "22:00", "to_local": "02:00", "weekdays": [5]}, "2026-10-09T23:00", True),  # Friday
        ({"from_local": "22:00", "to_local": "02:00", "weekdays": [5]}, "2026-10-10T01:59", True),  # its small hours
        ({"from_local": "22:00", "to_local": "02:00", "weekdays": [5]}, "2026-10-09T01:00", False),
        ({"weekdays": [6, 7]}, "2026-10-05T12:00", False),
        ({"from_local": "02:30", "to_local": "03:00"}, "2026-03-29T03:00", False),  # the hour that does not exist
        ({"from_local": "02:00", "to_local": "03:00"}, "2026-10-25T02:30", True),  # the hour that comes twice
    ],
)
@pytest.mark.parametrize("tz", ["Europe/Vienna", "America/New_York"])
def test_local_hours(schedule, local, is_open, tz):
    assert open_at(Schedule(**schedule), tz, at(local, tz)) is is_open


def test_the_same_instant_differs_by_store():
    schedule, noon = Schedule(from_local="12:00", to_local="13:00"), at("2026-10-05T12:30", "Europe/Vienna")
    assert open_at(schedule, "Europe/Vienna", noon)
    assert not open_at(schedule, "Europe/London", noon)


def test_a_period_bounds_the_days():
    schedule = Schedule(from_at_ms=1000, to_at_ms=2000)
    assert [open_at(schedule, "UTC", t) for t in (999, 1000, 1999, 2000)] == [False, True, True, False]


def test_language_falls_back():
    body = read_body(offer().body)
    assert [content_for(body, locale).title for locale in ("de-AT", "en-GB", "fr", "")] == [
        "Hallo", "Hello", "Hello", "Hello",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"currency": "euro"}, "currency"),
        ({"trigger": {"on": "dwell"}}, "dwell_s"),
        ({"trigger": {"on": "enter", "zone_kind": "roof"}}, "zone_kind"),
        ({"curve": {"kind": "linear", "start_bp": 1, "floor_bp": 2, "life_ms": 5}}, "never rises"),
        ({"content": {}}, "content"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_body_names_its_fault(change, named):
    with pytest.raises(BadRequest, match=named):
        read_body({**offer().body, **change})
