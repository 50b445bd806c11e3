"""Every table: key, indexes, and what the law asks of it: how long it is kept, what erasure does to it.

Columns are the fields of the record class, in order. A record class without a table, a retention rule or an erasure
rule fails a test.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hub.core import enrolment_records, foreign_records, grants, model

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_MS = 366 * DAY_MS

Kind = Literal["text", "int", "real", "bool", "json"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `kind` decides how a value is stored."""

    name: str
    kind: Kind
    nullable: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """Rows that a row of `table` still speaks for are kept whatever their age; `match`: (its column, ours).

    With `younger` only a row that is not old itself speaks for others (in the retention column of the same table).
    """

    table: str
    match: tuple[tuple[str, str], ...]
    younger: bool = False


@dataclass(frozen=True, slots=True)
class Retention:
    """Rows whose `column` is older than `keep_ms` go; rows where it is null stay. `column` None: kept, see `why`."""

    column: str | None
    keep_ms: int
    why: str
    holds: tuple[Hold, ...] = ()


@dataclass(frozen=True, slots=True)
class Erasure:
    """What erasing a person does: delete rows, put a pseudonym in place of the profile, or nothing (with the reason).

    `searched`: no column names the person, a body may; the use case takes them out, since it holds the key it needs.

    `via` names another table whose rows of that person say which rows are meant, by the shared column.
    """

    how: Literal["delete", "pseudonymise", "searched", "none"]
    why: str
    via: tuple[str, str] | None = None
    blank: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One table; `key` is the primary key, `unique` further unique indexes, `indexes` the rest."""

    record: type[Any]
    name: str
    key: tuple[str, ...]
    retention: Retention
    erasure: Erasure
    unique: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    due: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The record's fields as columns."""
        return _COLUMNS[self.record]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(column.name for column in self.columns)


def _columns(record: type[Any]) -> tuple[Column, ...]:
    hints = get_type_hints(record)
    found = []
    for field in fields(record):
        hint, nullable = hints[field.name], False
        if get_origin(hint) in (Union, types.UnionType):
            nullable = type(None) in get_args(hint)
            (hint,) = (each for each in get_args(hint) if each is not type(None))
        base = get_origin(hint) or hint
        kind: Kind = _KINDS[base]
        found.append(Column(field.name, kind, nullable))
    return tuple(found)


_KINDS: dict[Any, Kind] = {str: "text", int: "int", float: "real", bool: "bool", dict: "json", list: "json"}
_COLUMNS = {record: _columns(record) for record in model.RECORDS}

_CONFIG = Retention(None, 0, "configuration: kept until staff change it")
_NOBODY = Erasure("none", "holds no personal data")
_SAME_PURPOSE = (("tenant", "tenant"), ("profile", "profile"), ("purpose", "purpose"))

TABLES: tuple[Table, ...] = (
    Table(model.Shop, "shop", ("tenant", "store"), _CONFIG, _NOBODY),
    Table(model.Zone, "zone", ("tenant", "store", "zone"), _CONFIG, _NOBODY),
    Table(
        model.Edge, "edge", ("tenant", "edge"), _CONFIG, _NOBODY,
        unique=(("tenant", "source_kind", "source_node"),), indexes=(("tenant", "store"),),
    ),
    Table(
        model.EdgeBoot, "edge_boot", ("tenant", "edge", "boot"),
        Retention(
            "last_at_ms", 30 * DAY_MS,
            "an outbox holds a week; a month later nothing of that boot can come, unless the edge still runs it",
            holds=(Hold("edge", (("tenant", "tenant"), ("edge", "edge"), ("status_boot", "boot"))),),
        ),
        _NOBODY, due=("last_at_ms",),
    ),
    Table(
        model.Profile, "profile", ("tenant", "profile"),
        Retention(None, 0, "kept while the person wants it; erasure removes it"),
        Erasure("delete", "the person"),
    ),
    Table(
        model.Identity, "identity", ("tenant", "namespace", "value_hash"),
        Retention("valid_to_ms", 30 * DAY_MS, "an ended identifier is kept a month, against mistaken unlinking"),
        Erasure("delete", "identifies the person"), indexes=(("tenant", "profile"),), due=("valid_to_ms",),
    ),
    Table(
        model.Device, "device", ("tenant", "device"),
        Retention("dead_at_ms", 30 * DAY_MS, "a dead address is of no use; a month to look into complaints"),
        Erasure("delete", "reaches the person"), indexes=(("tenant", "profile"),), due=("dead_at_ms",),
    ),
    Table(
        model.ConsentEvent, "consent_event", ("tenant", "event"),
        Retention(
            "at_ms", 6 * YEAR_MS,
            "proof of consent: limitation periods of data-protection claims; they run from your last answer to the "
            "same question, and the answer in force is kept",
            holds=(
                Hold("consent", (*_SAME_PURPOSE, ("event", "event"))),
                Hold("consent_event", _SAME_PURPOSE, younger=True),
            ),
        ),
        Erasure("pseudonymise", "proof that we were allowed to, GDPR 17(3)(e)", blank={"actor": ""}),
        indexes=(("tenant", "profile"),), due=("at_ms",),
    ),
    Table(
        model.Consent, "consent", ("tenant", "profile", "purpose"),
        Retention(None, 0, "the state in force; erasure removes it"), Erasure("delete", "the person's choices"),
    ),
    Table(
        model.Offer, "offer", ("tenant", "offer", "version"), _CONFIG, _NOBODY, indexes=(("tenant", "state"),),
    ),
    Table(
        model.Visit, "visit", ("tenant", "visit"),
        Retention("seen_at_ms", 90 * DAY_MS, "a season, for reports; not a diary"),
        Erasure("delete", "where the person was"),
        indexes=(("tenant", "profile", "store", "seen_at_ms"), ("tenant", "store", "state")),
        due=("deadline_ms", "seen_at_ms"),
    ),
    Table(
        model.ZoneStay, "zone_stay", ("tenant", "visit", "entered_at_ms"),
        Retention("entered_at_ms", 90 * DAY_MS, "as its visit"),
        Erasure("delete", "where the person was", via=("visit", "visit")), due=("entered_at_ms",),
    ),
    Table(
        model.Decision, "decision", ("tenant", "decision"),
        Retention("at_ms", 30 * DAY_MS, "to answer why, and to evaluate the policy of a month"),
        Erasure("delete", "what was decided about the person"),
        unique=(("tenant", "trigger"),), indexes=(("tenant", "profile"),), due=("at_ms",),
    ),
    Table(
        model.Grant, "offer_grant", ("tenant", "grant"),
        Retention("issued_at_ms", grants.KEPT_MS, "longer than any life plus cool-down, for complaints at the till"),
        Erasure("delete", "promised to the person"),
        unique=(("tenant", "code_hash"),), indexes=(("tenant", "profile", "state"), ("tenant", "state")),
        due=("due_at_ms", "issued_at_ms"),
    ),
    Table(
        model.Push, "push", ("tenant", "push"),
        Retention("settled_at_ms", 7 * DAY_MS, "a week to look into delivery"),
        Erasure("delete", "sent to the person"),
        unique=(("tenant", "grant", "device"),), indexes=(("tenant", "profile"), ("tenant", "state")),
        due=("due_at_ms", "settled_at_ms"),
    ),
    Table(
        model.Redemption, "redemption", ("tenant", "redemption"),
        Retention("at_ms", 10 * YEAR_MS, "tax records"),
        Erasure("pseudonymise", "tax records must stay, GDPR 17(3)(b)"),
        unique=(("tenant", "grant"),), indexes=(("tenant", "profile"),), due=("at_ms",),
    ),
    Table(
        model.Quarantine, "quarantine", ("tenant", "quarantine"),
        Retention("at_ms", DAY_MS, "raw events are personal data: a day to mend the fault and replay"),
        Erasure("searched", "bodies name beacons: hub.usecases.quarantine"), due=("at_ms",),
    ),
    Table(
        model.Loss, "loss", ("tenant", "edge", "boot", "first_seq"),
        Retention("at_ms", 90 * DAY_MS, "to see how an edge has done over a season"), _NOBODY, due=("at_ms",),
    ),
    Table(
        model.ApiKey, "api_key", ("tenant", "key"),
        Retention("revoked_at_ms", 90 * DAY_MS, "to tell whose a leaked key was"),
        Erasure("delete", "speaks for the person"), indexes=(("tenant", "profile"),), due=("revoked_at_ms",),
    ),
    Table(
        model.Reply, "reply", ("tenant", "caller", "idempotency"),
        Retention("at_ms", DAY_MS, "a caller that repeats after a day asks anew"),
        Erasure("none", "answers to a phone's own key; gone within 24 h"), due=("at_ms",),
    ),
    Table(
        foreign_records.ForeignAccount, "foreign_account", ("tenant", "edge"),
        Retention("last_at_ms", 90 * DAY_MS, "to see how an edge has done over a season"), _NOBODY,
        due=("last_at_ms",),
    ),
    Table(
        foreign_records.ForeignTrack, "foreign_track", ("tenant", "edge", "profile"),
        Retention("due_ms", DAY_MS, "ends minutes after the last report; a forgotten one within a day"),
        Erasure("delete", "that the person is heard"), indexes=(("tenant", "profile"),), due=("due_ms",),
    ),
    Table(
        enrolment_records.EdgeClaim, "edge_claim", ("tenant", "claim"),
        Retention("expires_at_ms", 90 * DAY_MS, "to tell who let an edge in, as long as its first certificate lives"),
        _NOBODY, indexes=(("tenant", "edge"),), due=("expires_at_ms",),
    ),
    Table(
        enrolment_records.EdgeCertificate, "edge_certificate", ("tenant", "serial"),
        Retention("not_after_ms", 90 * DAY_MS, "revocation must outlive the certificate; then a season to look back"),
        _NOBODY, indexes=(("tenant", "edge"),), due=("not_after_ms",),
    ),
    Table(model.Seal, "seal", ("tenant",), _CONFIG, _NOBODY),
)  # fmt: skip

BY_RECORD: dict[type[Any], Table] = {table.record: table for table in TABLES}
