"""What everybody left behind: the wire's record, the edges' outbox files, the hub's database, phones and tills.

All of it is read from files, and both databases with SQL of our own: a judge must not ask the accused. `collect` can be
repeated on a folder that was kept.
"""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

TAP, GUESTS, NUMBERED = "tap.jsonl", "guests.json", "numbered.json"
"""Files of a run beside those that `hub audit --witness` reads."""

Row = dict[str, Any]
BootKey = tuple[str, str]
"""(edge, boot)."""


class Said(NamedTuple):
    """A message of an edge as it left it; `earlier`: of a boot before the one that sent it."""

    edge: str
    boot: str
    earlier: bool
    events: list[Row]


class Told(NamedTuple):
    """An ack of the hub."""

    edge: str
    boot: str
    upto: int


class Guest(NamedTuple):
    """Somebody who was on the air. `who`: member, refuser or stranger.

    `asked`: grants shown to a till; `wallet`: grants the hub said are open, at the end, before the last were shown.
    """

    name: str
    who: str
    beacon: str
    profile: str
    device: str
    asked: list[str]
    wallet: list[str]


class Outbox(NamedTuple):
    """An outbox file: how many events it ever numbered and dropped, how many wait, and its boots' last sequences."""

    published: int
    lost: int
    waiting: int
    boots: dict[str, int]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything, as plain data.

    `wire`: what passed, in order; `unreadable`: why some of it is not there. `numbered`: the last sequence of every
    boot. From `accounts` to `redemptions`: rows of the hub, by id, which is by time; `edges` and `aside` too.
    """

    wire: list[Said | Told]
    unreadable: list[str]
    guests: list[Guest]
    outboxes: dict[str, Outbox]
    numbered: dict[BootKey, int]
    accounts: dict[BootKey, Row]
    losses: list[Row]
    visits: list[Row]
    decisions: list[Row]
    grants: list[Row]
    pushes: list[Row]
    redemptions: list[Row]
    edges: list[Row]
    aside: list[Row]
    phones: list[Row]
    tills: list[Row]


def beacon_name(uuid: str, major: int, minor: int) -> str:
    """One spelling of a beacon for all of this package."""
    return f"{uuid}/{major}/{minor}"


def read_outbox(path: Path) -> Outbox:
    """An outbox file, also while its edge runs or right after it was killed; one never begun is empty."""
    if not path.exists():
        return Outbox(0, 0, 0, {})
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone():
            return Outbox(0, 0, 0, {})
        db.execute("BEGIN")
        published, lost = db.execute("SELECT published, lost FROM state").fetchone()
        (waiting,) = db.execute("SELECT count(*) FROM event").fetchone()
        return Outbox(published, lost, waiting, dict(db.execute("SELECT boot, last_seq FROM boot").fetchall()))


def collect(home: Path, edges: Iterable[str]) -> Evidence:
    """The evidence of a run in `home`."""
    outboxes = {edge: read_outbox(home / edge / "outbox.db") for edge in edges}
    numbered = {(edge, boot): int(last) for edge, boot, last in _read_json(home / NUMBERED)}
    numbered |= {(edge, boot): last for edge, found in outboxes.items() for boot, last in found.boots.items()}
    wire = _lines(home / TAP)
    with closing(sqlite3.connect(f"file:{home / 'hub.db'}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row

        def rows(table: str, order: str) -> list[Row]:
            return [dict(row) for row in db.execute(f'SELECT * FROM "{table}" ORDER BY "{order}"')]

        return Evidence(
            wire=[Told(**line) if "upto" in line else Said(**line) for line in wire if "unreadable" not in line],
            unreadable=[line["unreadable"] for line in wire if "unreadable" in line],
            guests=[Guest(**one) for one in _read_json(home / GUESTS)],
            outboxes=outboxes,
            numbered=numbered,
            accounts={(row["edge"], row["boot"]): row for row in rows("edge_boot", "boot")},
            losses=rows("loss", "first_seq"),
            visits=rows("visit", "visit"),
            decisions=rows("decision", "decision"),
            grants=rows("offer_grant", "grant"),
            pushes=rows("push", "push"),
            redemptions=rows("redemption", "redemption"),
            edges=rows("edge", "edge"),
            aside=rows("quarantine", "quarantine"),
            phones=_lines(home / "phones.jsonl"),
            tills=_lines(home / "tills.jsonl"),
        )


def _lines(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
