"""The live table says what is so: people per zone, what each offer is worth at this moment, how the edges are."""

import re

import pytest
from rich.console import Console

from simulators.phone import Phone, Received
from simulators.scene import EdgeSpec, Place, ZoneSpec
from simulators.table import BAR, ROWS, Scoreboard, line, render
from wire.messages import Push, Telemetry

T0_MS = 1_790_942_400_000
LIFE_MS = 60_000
CURVE = {"kind": "linear", "start_bp": 3000, "floor_bp": 500, "life_ms": LIFE_MS}
PLACE = Place(
    name="Corner shop", store="s1", tz="UTC", locale="en", currency="EUR",
    zones=(ZoneSpec("door", "Door", "door"), ZoneSpec("floor", "Floor", "floor"), ZoneSpec("till", "Till", "till")),
    edges=(EdgeSpec("e-door", "door"), EdgeSpec("e-floor", "floor"), EdgeSpec("e-till", "till")),
    offers={}, cast=(), expects_expiry=True,
)  # fmt: skip
HUB = {
    "present": 3, "visits": 5, "redemptions": 1, "pushes": {"sent": 4},
    "grants": {"issued": 2, "locked": 1, "redeemed": 1, "expired": 1},
    "accounts": {"upto": 1234},
    "zones": {"s1": {"door": 2, "floor": 14, "": 1}, "elsewhere": {"till": 9}},
    "edges": [
        {"edge": "e-door", "status": "online", "upto": 1200},
        {"edge": "e-floor", "status": "offline", "upto": 34},
    ],
}  # fmt: skip


def phone(name, *grants, title="Ten off"):
    """Somebody whose grants were issued so many ms after T0."""
    found = Phone(name, lambda: T0_MS)
    for grant, issued_ms in grants:
        push = Push(
            v=1, grant=grant, title=title, body="", code=f"code-{grant}", store="s1", issued_at_ms=T0_MS + issued_ms,
            expires_at_ms=T0_MS + issued_ms + LIFE_MS, curve=CURVE,
        )  # fmt: skip
        found.received[grant] = Received(push, T0_MS + issued_ms, 0)
    return found


def telemetry(edge, health="ok", **gauges):
    counters = {"adverts_heard": 12_345, "adverts_dropped_private": 678, "events_published": 1_201}
    return Telemetry(v=1, edge=edge, boot="b1", mono_ms=1, health=health, counters=counters, gauges=gauges)


def board(**changes):
    values = {
        "elapsed_s": 30.0, "duration_s": 75.0, "now_ms": T0_MS + 30_000, "hub": HUB, "note": "all is well",
        "telemetry": {"e-door": telemetry("e-door", outbox_rows=7), "e-floor": telemetry("e-floor", "degraded")},
        "phones": {
            "ann": phone("ann", ("g-falls", 0)),
            "ben": phone("ben", ("g-lock", 0)),
            "cy": phone("cy", ("g-paid", 0)),
            "dee": phone("dee", ("g-over", -LIFE_MS)),
        },
        "locked": {"g-lock": 2800, "g-paid": 2800},
        "redeemed": {"g-paid": 2600},
    }  # fmt: skip
    return Scoreboard(PLACE, **values | changes)


def drawn(shown, width=120):
    console = Console(width=width, height=40, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(render(shown))
    return capture.get()


def row(text, *words):
    """The one line that holds all of these."""
    (found,) = [line_ for line_ in text.splitlines() if all(word in line_ for word in words)]
    return found


def test_the_head_says_where_and_when():
    assert row(drawn(board()), "doorchime", "Corner shop", "30.0 of 75 s", "all is well")


def test_people_are_counted_by_zone_of_this_store():
    text = drawn(board())
    heads = row(text, "door", "floor", "till", "no zone")
    counts = row(text, "● 1", "●● 2")
    assert heads.index("door") < heads.index("floor") < heads.index("till") < heads.index("no zone")
    assert re.findall(r"(●*)(?: (\d+)|·)", counts) == [("●●", "2"), ("●" * 12, "14"), ("", ""), ("●", "1")]


def test_an_offer_falls_in_front_of_everybody_until_it_is_locked_redeemed_or_over():
    text = drawn(board())
    assert row(text, "ann", "Ten off", "17.5 %", "falling").count("█") == round(BAR * 1750 / 3000)
    assert row(text, "ben", "28.0 %", "locked at the door").count("█") == round(BAR * 2800 / 3000)
    assert row(text, "cy", "26.0 %", "redeemed").count("█") == round(BAR * 2600 / 3000), "what the till took off"
    assert row(text, "dee", "0.0 %", "expired").count("█") == 0
    later = drawn(board(now_ms=T0_MS + 42_000))
    assert row(later, "ann", "12.5 %", "falling")
    assert row(later, "ben", "28.0 %", "locked at the door"), "arrival froze it"


@pytest.mark.parametrize(("after_ms", "value"), [(0, "30.0 %"), (LIFE_MS, " 5.0 %"), (LIFE_MS + 1, " 0.0 %")])
def test_the_value_is_what_the_curve_says_to_the_last_moment(after_ms, value):
    text = drawn(board(now_ms=T0_MS + after_ms, phones={"ann": phone("ann", ("g", 0))}))
    assert value in row(text, "ann")


def test_the_newest_offers_are_shown_and_not_more_than_fit():
    many = {f"p{n:02d}": phone(f"p{n:02d}", (f"g{n}", n)) for n in range(ROWS + 5)}
    shown = re.findall(r"p\d\d", drawn(board(phones=many)))
    assert shown == [f"p{n:02d}" for n in reversed(range(5, ROWS + 5))]
    assert "nothing yet" in drawn(board(phones={"ann": phone("ann")}))


def test_edges_show_their_health_what_they_heard_and_what_waits():
    text = drawn(board())
    heads = row(text, "edge", "health", "heard", "not ours, dropped", "published", "waiting", "at the hub")
    door = row(text, "e-door")
    assert re.sub(r"[\s│]+", " ", door).strip() == "e-door ok, online 12,345 678 1,201 7 1,200"
    assert heads.rstrip("│ \n").endswith("at the hub")
    assert "degraded, offline" in row(text, "e-floor")
    assert "starting" in row(text, "e-till"), "nothing was heard of it yet"


def test_before_the_hub_answers_there_is_a_table_all_the_same():
    text = drawn(Scoreboard(PLACE, note="starting"))
    assert "nothing yet" in text
    assert text.count("starting") == 1 + len(PLACE.edges)
    assert line(Scoreboard(PLACE, note="starting")).split() == ["0.0", "s", "starting"]


def test_the_whole_fits_a_terminal_of_40_lines_and_80_columns():
    many = {f"p{n:02d}": phone(f"p{n:02d}", (f"g{n}", n), title="Two for one " * 10) for n in range(30)}
    lines = drawn(board(phones=many), width=80).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80


def test_text_of_an_offer_cannot_draw_on_the_screen():
    """A title is whatever staff wrote; brackets are no markup."""
    text = drawn(board(phones={"ann": phone("ann", ("g", 0), title="[bold]2 for 1[/bold] [red]")}))
    assert "[bold]2 for 1[/bold] [red]" in text


def test_the_line_for_a_log_holds_the_same_figures():
    assert line(board()) == (
        " 30.0 s  present 3  visits 5  offers 5  delivered 4  redeemed 1  expired 1  events 1234  all is well"
    )
