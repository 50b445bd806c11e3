"""The live table of a demonstration: who is where, what their offers are worth now, what the edges say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from simulators.phone import Phone, shown_bp
from simulators.scene import Place
from wire.messages import Telemetry

ROWS = 10
"""Offers shown, newest first: what fits a terminal of 40 lines."""

BAR = 20
"""Width of a full value bar, characters."""


@dataclass
class Scoreboard:
    """What the table shows; the demonstration fills it in. `redeemed`: grant → value in basis points."""

    place: Place
    elapsed_s: float = 0.0
    duration_s: float = 0.0
    now_ms: int = 0
    hub: Mapping[str, Any] = field(default_factory=dict)
    telemetry: Mapping[str, Telemetry] = field(default_factory=dict)
    phones: Mapping[str, Phone] = field(default_factory=dict)
    locked: Mapping[str, int] = field(default_factory=dict)
    redeemed: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    rate: float = 1.0


def render(board: Scoreboard) -> RenderableType:
    """The whole screen."""
    head = Text.assemble(
        ("doorchime", "bold"),
        f"  {board.place.name}   {board.elapsed_s:5.1f} of {board.duration_s:.0f} s{_rate(board)}   {board.note}",
    )
    return Group(head, _zones(board), _offers(board), _edges(board))


def line(board: Scoreboard) -> str:
    """The same in one line, for a log."""
    hub = board.hub
    if not hub:
        return f"{board.elapsed_s:5.1f} s{_rate(board)}  {board.note}"
    return (
        f"{board.elapsed_s:5.1f} s{_rate(board)}  present {hub['present']}  visits {hub['visits']}  "
        f"offers {sum(hub['grants'].values())}  delivered {hub['pushes']['sent']}  redeemed {hub['redemptions']}  "
        f"expired {hub['grants']['expired']}  events {hub['accounts']['upto']}  {board.note}"
    )


def _rate(board: Scoreboard) -> str:
    return "" if board.rate == 1.0 else f" × {board.rate:.1f}"


def _zones(board: Scoreboard) -> RenderableType:
    counts = board.hub.get("zones", {}).get(board.place.store, {}) if board.hub else {}
    table = Table(box=None, pad_edge=False, expand=True)
    for zone in board.place.zones:
        table.add_column(zone.zone, justify="center")
    table.add_column("no zone", justify="center", style="dim")
    cells = []
    for zone_id in (*(zone.zone for zone in board.place.zones), ""):
        people = counts.get(zone_id, 0)
        cells.append("●" * min(people, 12) + (f" {people}" if people else "·"))
    table.add_row(*cells)
    return Panel(table, title="people by zone", title_align="left")


def _offers(board: Scoreboard) -> RenderableType:
    table = Table(box=None, pad_edge=False, expand=True)
    for name, options in (("phone", {}), ("offer", {"ratio": 1}), ("value", {}), ("", {"min_width": BAR}), ("", {})):
        table.add_column(name, **options)  # type: ignore[arg-type]
    received = [(one, phone) for phone in board.phones.values() for one in list(phone.received.values())]
    received.sort(key=lambda pair: pair[0].received_at_ms, reverse=True)
    for one, phone in received[:ROWS]:
        push = one.push
        value_bp, style, state = shown_bp(push, board.now_ms), "yellow", "falling"
        if push.grant in board.redeemed:
            value_bp, style, state = board.redeemed[push.grant], "green", "redeemed"
        elif push.grant in board.locked:
            value_bp, style, state = board.locked[push.grant], "cyan", "locked at the door"
        elif board.now_ms > push.expires_at_ms:
            value_bp, style, state = 0, "dim", "expired"
        start_bp = int(push.curve.get("start_bp", 10_000)) or 1
        bar = "█" * round(BAR * value_bp / start_bp)
        title = Text(push.title, no_wrap=True, overflow="ellipsis")  # as written: brackets are no markup
        table.add_row(phone.name, title, f"{value_bp / 100:5.1f} %", Text(bar, style), Text(state, style))
    if not received:
        table.add_row(Text("nothing yet", "dim"))
    return Panel(table, title="offers on phones", title_align="left")


def _edges(board: Scoreboard) -> RenderableType:
    table = Table(box=None, pad_edge=False, expand=True)
    for name in ("edge", "health", "heard", "not ours, dropped", "published", "waiting", "at the hub"):
        table.add_column(name, justify="left" if name in ("edge", "health") else "right")
    reached = {row["edge"]: row for row in board.hub.get("edges", [])} if board.hub else {}
    for spec in board.place.edges:
        told = board.telemetry.get(spec.edge)
        row = reached.get(spec.edge, {})
        if told is None:
            table.add_row(spec.edge, Text("starting", "dim"))
            continue
        style = "green" if told.health == "ok" else "red"
        counters = told.counters
        table.add_row(
            spec.edge,
            Text(f"{told.health}, {row.get('status', '?')}", style),
            f"{counters.get('adverts_heard', 0):,}",
            f"{counters.get('adverts_dropped_private', 0):,}",
            f"{counters.get('events_published', 0):,}",
            f"{told.gauges.get('outbox_rows', 0):,.0f}",
            f"{row.get('upto', 0):,}",
        )
    return Panel(table, title="edges", title_align="left")
