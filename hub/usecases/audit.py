"""Every promise, read back from the store and from what phones, tills and edges recorded themselves.

An invariant is a function that yields one line per violation; lines name grants, visits and edges, never people.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from hub.core import decision, foreign, grants, watermark
from hub.core.foreign_records import ForeignAccount
from hub.core.identity import is_pseudonym
from hub.core.model import ConsentEvent, Decision, EdgeBoot, Grant, Offer, Push, Redemption, Visit
from hub.core.offers import readable
from hub.core.states import OPEN_VISIT, WHOLE_VISIT, GrantState, Purpose, PushState, VisitState
from hub.ports import Tx

R = TypeVar("R")

PAGE = 5_000
"""Rows read at a time."""


class Violation(NamedTuple):
    """One broken promise."""

    invariant: str
    detail: str


@dataclass(frozen=True, slots=True)
class Witness:
    """What others recorded. All optional: an empty witness checks the store against itself.

    They are of the last days, and hold nothing about people who were erased before they used an offer: the store has
    nothing left to compare with. `phones`: one dict per push received {device, grant, received_at_ms, curve}; `tills`:
    one per accepted redemption {grant, redemption, value_bp, discount_minor, t_lock_ms}; `published`: edge → last
    sequence it gave out, summed over its boots; `bystanders`: hexadecimal identifiers that must be nowhere; `texts`:
    lines of logs and captures.
    """

    phones: list[dict[str, Any]] = field(default_factory=list)
    tills: list[dict[str, Any]] = field(default_factory=list)
    published: dict[str, int] = field(default_factory=dict)
    bystanders: frozenset[str] = frozenset()
    texts: Iterable[tuple[str, str]] = ()


@dataclass(slots=True)
class _Facts:
    tx: Tx
    tenant: str
    grace_ms: int
    at_ms: int
    witness: Witness
    visits: dict[str, Visit]
    grants: dict[str, Grant]
    pushes: list[Push]
    redemptions: list[Redemption]
    ledger: dict[tuple[str, str], list[ConsentEvent]]

    def in_force(self, profile: str, purpose: str, at_ms: int) -> bool:
        """Whether the ledger says yes at that instant. Within one millisecond nobody can tell the order: yes too."""
        said = [event for event in self.ledger.get((profile, purpose), []) if event.at_ms <= at_ms]
        before = [event for event in said if event.at_ms < at_ms]
        return any(event.action == "given" for event in (*before[-1:], *said[len(before) :]))

    def outlived(self, grant_seen_at_ms: int) -> bool:
        """Whether a grant that lived at that instant may have gone by retention since."""
        return self.at_ms - (grant_seen_at_ms - grants.LONGEST_LIFE_MS) >= grants.KEPT_MS


def audit(tx: Tx, tenant: str, grace_ms: int, at_ms: int, witness: Witness) -> list[Violation]:
    """Check everything as it stands at `at_ms`; an empty list means that every promise was kept.

    What erasure and retention took away breaks no promise.
    """
    ledger: dict[tuple[str, str], list[ConsentEvent]] = defaultdict(list)
    for event in _all(tx, ConsentEvent, tenant):
        ledger[event.profile, event.purpose].append(event)
    for events in ledger.values():
        events.sort(key=lambda event: (event.at_ms, event.event))
    facts = _Facts(
        tx=tx,
        tenant=tenant,
        grace_ms=grace_ms,
        at_ms=at_ms,
        witness=witness,
        visits={row.visit: row for row in _all(tx, Visit, tenant)},
        grants={row.grant: row for row in _all(tx, Grant, tenant)},
        pushes=list(_all(tx, Push, tenant)),
        redemptions=list(_all(tx, Redemption, tenant)),
        ledger=ledger,
    )
    return [Violation(name, detail) for name, check in INVARIANTS.items() for detail in check(facts)]


def _all(tx: Tx, kind: type[R], tenant: str) -> Iterator[R]:
    """Every row; pages by primary key, which `find` orders by."""
    after: tuple[Any, ...] | None = None
    while rows := tx.find(kind, {"tenant": tenant}, after=after, limit=PAGE):
        yield from rows
        if len(rows) < PAGE:
            return
        after = KEYS[kind](rows[-1])


KEYS: dict[type[Any], Callable[[Any], tuple[Any, ...]]] = {
    ConsentEvent: lambda row: (row.tenant, row.event),
    Visit: lambda row: (row.tenant, row.visit),
    Grant: lambda row: (row.tenant, row.grant),
    Push: lambda row: (row.tenant, row.push),
    Redemption: lambda row: (row.tenant, row.redemption),
    Decision: lambda row: (row.tenant, row.decision),
    EdgeBoot: lambda row: (row.tenant, row.edge, row.boot),
    ForeignAccount: lambda row: (row.tenant, row.edge),
}


def _accounts(facts: _Facts) -> Iterator[str]:
    reached: Counter[str] = Counter()
    for row in _all(facts.tx, EdgeBoot, facts.tenant):
        reached[row.edge] += row.upto
        if not watermark.accounted(row):
            yield f"edge {row.edge} boot {row.boot}: the accounts do not add up to its watermark {row.upto}"
    for account in _all(facts.tx, ForeignAccount, facts.tenant):
        reached[account.edge] += account.received
        if not foreign.accounted(account):
            yield f"edge {account.edge}: the accounts do not add up to the {account.received} reports received"
    for edge, published in facts.witness.published.items():
        if reached[edge] != published:
            yield f"edge {edge} published {published} events, the hub accounts for {reached[edge]}"


def _consent_to_push(facts: _Facts) -> Iterator[str]:
    for push in facts.pushes:
        for purpose in decision.NEEDED:
            if not facts.in_force(push.profile, purpose, push.created_at_ms):
                yield f"grant {push.grant} was decided without {purpose} in force"
        sent_at_ms = push.settled_at_ms
        if push.state == PushState.SENT and sent_at_ms is not None and not _sendable(facts, push, sent_at_ms):
            yield f"grant {push.grant} was sent without marketing_push in force"


def _sendable(facts: _Facts, push: Push, sent_at_ms: int) -> bool:
    # consent is read when the push is taken, which is before it is settled: a withdrawal in between is not a breach
    return any(
        facts.in_force(push.profile, Purpose.MARKETING_PUSH, at_ms) for at_ms in (sent_at_ms, push.created_at_ms)
    )


def _consent_to_presence(facts: _Facts) -> Iterator[str]:
    for visit in facts.visits.values():
        if not facts.in_force(visit.profile, Purpose.PRESENCE_DETECTION, visit.entered_at_ms):
            yield f"visit {visit.visit} began without presence_detection in force"


def _one_push_per_visit(facts: _Facts) -> Iterator[str]:
    per_visit = Counter(grant.visit for grant in facts.grants.values())
    for visit, count in per_visit.items():
        if count > decision.PUSHES_PER_VISIT:
            yield f"visit {visit} led to {count} grants"
    heard: dict[str, set[str]] = defaultdict(set)
    for one in facts.witness.phones:
        grant = facts.grants.get(str(one["grant"]))
        if grant is not None:
            heard[grant.visit].add(grant.grant)
    for visit, found in heard.items():
        if len(found) > decision.PUSHES_PER_VISIT:
            yield f"phones received {len(found)} offers for visit {visit}"


def _redeemed_value(facts: _Facts) -> Iterator[str]:
    for row in facts.redemptions:
        grant = facts.grants.get(row.grant)
        if grant is None:
            if not is_pseudonym(row.profile) and not facts.outlived(row.t_lock_ms):
                yield f"redemption {row.redemption} is of a grant that does not exist"
            continue
        value_bp = grants.value_at(grant, row.t_lock_ms)
        if row.value_bp != value_bp:
            yield f"grant {row.grant} was redeemed at {row.value_bp} bp, its curve says {value_bp} at t_lock"
        if not grant.issued_at_ms <= row.t_lock_ms <= grant.expires_at_ms:
            yield f"grant {row.grant}: t_lock lies outside its life"
        most = min(-(-row.basket_minor * value_bp // 10_000), grant.max_discount_minor, row.basket_minor)
        if row.discount_minor != most:
            yield f"grant {row.grant}: {row.discount_minor} taken off, {most} promised"


def _locked_value(facts: _Facts) -> Iterator[str]:
    for grant in facts.grants.values():
        if (grant.lock_at_ms is None) != (grant.lock_bp is None):
            yield f"grant {grant.grant} is half locked"
        elif grant.lock_at_ms is not None and grant.lock_bp != grants.value_at(grant, grant.lock_at_ms):
            yield f"grant {grant.grant} is locked at {grant.lock_bp} bp, not at its curve"


def _nothing_twice(facts: _Facts) -> Iterator[str]:
    for grant, count in Counter(row.grant for row in facts.redemptions).items():
        if count > 1:
            yield f"grant {grant} was redeemed {count} times"
    for grant, count in Counter(push.grant for push in facts.pushes).items():
        if count > 1:
            yield f"grant {grant} has {count} pushes"
    for trigger, count in Counter(row.trigger for row in _all(facts.tx, Decision, facts.tenant)).items():
        if count > 1:
            yield f"trigger {trigger} was decided {count} times"
    accepted: dict[str, set[str]] = defaultdict(set)
    for one in facts.witness.tills:
        accepted[str(one["grant"])].add(str(one["redemption"]))
    for grant_id, found in accepted.items():
        if len(found) > 1:
            yield f"tills were told {len(found)} times that grant {grant_id} is redeemed"


def _visits_whole(facts: _Facts) -> Iterator[str]:
    by_person: dict[tuple[str, str], list[Visit]] = defaultdict(list)
    for visit in facts.visits.values():
        by_person[visit.profile, visit.store].append(visit)
    for rows in by_person.values():
        visits = sorted((row for row in rows if row.state in WHOLE_VISIT), key=lambda visit: visit.entered_at_ms)
        for before, after in pairwise(visits):
            if after.entered_at_ms - before.seen_at_ms <= facts.grace_ms:
                yield f"visits {before.visit} and {after.visit} are one visit, split"
            if before.state in OPEN_VISIT:
                yield f"visit {before.visit} is open, though {after.visit} came after it"
        for part in rows:
            if part.state == VisitState.MERGED and not any(
                visit.entered_at_ms <= part.entered_at_ms and part.seen_at_ms <= visit.seen_at_ms for visit in visits
            ):
                yield f"visit {part.visit} is said to be part of another, and none covers it"


def _decisions(facts: _Facts) -> Iterator[str]:
    granted = {grant.decision for grant in facts.grants.values()}
    for row in _all(facts.tx, Decision, facts.tenant):
        if not 0 < row.propensity <= 1:
            yield f"decision {row.decision} has propensity {row.propensity}"
        if (row.grant is not None) != (row.decision in granted):
            yield f"decision {row.decision} and its grant do not agree"


def _witnesses_agree(facts: _Facts) -> Iterator[str]:
    erased = {row.grant for row in facts.redemptions if is_pseudonym(row.profile)}
    for one in facts.witness.phones:
        grant = facts.grants.get(str(one["grant"]))
        if grant is None:
            if one["grant"] not in erased:
                yield f"a phone received grant {one['grant']}, which the hub does not know"
        elif one["curve"] != grant.curve:
            yield f"a phone was shown another curve than grant {grant.grant} promises"
    rows = {row.redemption: row for row in facts.redemptions}
    for one in facts.witness.tills:
        row = rows.get(str(one["redemption"]))
        if row is None:
            yield f"a till was told of redemption {one['redemption']}, which the hub does not know"
        elif (row.value_bp, row.discount_minor, row.t_lock_ms) != tuple(
            one[name] for name in ("value_bp", "discount_minor", "t_lock_ms")
        ):
            yield f"a till was told other terms than redemption {row.redemption} has"
    used = {row.grant for row in facts.redemptions}
    for grant in facts.grants.values():
        if (grant.state in (GrantState.REDEEMED, GrantState.REVERSED)) != (grant.grant in used):
            yield f"grant {grant.grant} is {grant.state}, its redemptions say otherwise"


def _bystanders(facts: _Facts) -> Iterator[str]:
    """Nothing about a bystander in any table, log or message."""
    needles = facts.witness.bystanders
    if not needles:
        return
    for table, row in facts.tx.scan(facts.tenant):
        if _mentions(str(row), needles):
            yield f"table {table} mentions a bystander"
    for place, text in facts.witness.texts:
        if _mentions(text, needles):
            yield f"{place} mentions a bystander"


def _mentions(text: str, needles: frozenset[str]) -> bool:
    plain = text.lower().replace("-", "").replace(":", "")
    return any(needle in plain for needle in needles)


def _offers(facts: _Facts) -> Iterator[str]:
    live = {"tenant": facts.tenant, "state": "live", "superseded_at_ms": None}
    for offer in facts.tx.find(Offer, live, limit=PAGE):
        if readable(offer) is None:
            yield f"offer {offer.offer} version {offer.version} is passed over: publish it anew"


INVARIANTS: dict[str, Callable[[_Facts], Iterator[str]]] = {
    "every sequence is accounted for": _accounts,
    "no push without consent in force": _consent_to_push,
    "no visit without consent in force": _consent_to_presence,
    "at most one push per visit": _one_push_per_visit,
    "redeemed at the curve's value at t_lock": _redeemed_value,
    "locked at the curve's value": _locked_value,
    "nothing twice": _nothing_twice,
    "no visit split": _visits_whole,
    "every decision is whole": _decisions,
    "every live offer can be read": _offers,
    "phones and tills saw what the store says": _witnesses_agree,
    "nothing about a bystander anywhere": _bystanders,
}
