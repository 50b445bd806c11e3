"""What every route needs: the hub's parts, who is calling, reads, writes, pages, and repeats that change nothing."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar, cast

from fastapi import Depends, Header, Query, Request

from hub.api.problems import Problem, refused
from hub.core.authority import Authority
from hub.core.grants import Denied
from hub.core.model import ApiKey, Reply
from hub.ports import Clock, Key, NewId, Notify, Store, Tx, Writer
from hub.usecases.arrivals import Rules
from hub.usecases.keys import find_key

T = TypeVar("T")

PAGE_ROWS = 100
MAX_PAGE_ROWS = 500
"""Rows of a page unless asked otherwise, and at most."""


class Watch(Protocol):
    """One open live stream: events in order of commit."""

    def __aiter__(self) -> AsyncIterator[Mapping[str, Any]]:
        """Iterate."""


class Health(NamedTuple):
    """How the hub is. `commit_age_ms` is what `/readyz` follows; `trouble` says why the store cannot commit."""

    commit_age_ms: int
    broker_connected: bool
    waiting: int
    counters: Mapping[str, float]
    gauges: Mapping[str, float]
    trouble: str = ""


class Enrolling(NamedTuple):
    """What enrolment of edges needs: the CA, where edges find the broker, the fleet prefixes.

    `changed` is called after a commit that changed who may speak on the broker; it never blocks.
    """

    authority: Authority
    broker_url: str
    prefixes: Sequence[str]
    changed: Callable[[], None]


@dataclass(frozen=True, slots=True)
class AppContext:
    """The hub as its API sees it.

    `random_bytes(n)` gives unpredictable bytes; `watch` opens a live stream, `notify` feeds it after a commit.
    `enrolling` None: this hub has no CA.
    """

    store: Store
    writer: Writer
    clock: Clock
    new_id: NewId
    rules: Rules
    prefix: str | None
    random_bytes: Callable[[int], bytes]
    watch: Callable[[], AbstractContextManager[Watch]]
    notify: Notify
    health: Callable[[], Health]
    enrolling: Enrolling | None = None


def context(request: Request) -> AppContext:
    """The hub behind this app."""
    return cast(AppContext, request.app.state.context)


Ctx = Annotated[AppContext, Depends(context)]


async def read(ctx: AppContext, query: Callable[[Tx], T]) -> T:
    """Run a query on a snapshot, off the event loop."""

    def run() -> T:
        with ctx.store.read() as tx:
            return query(tx)

    return await asyncio.to_thread(run)


async def write(ctx: AppContext, command: Callable[[Tx], T]) -> T:
    """Run a command inside the next group commit; returns after the commit.

    Raises:
        Problem: the use case refused.
        Busy: the writer's queue is full.
    """

    def run(tx: Tx) -> T:
        answer = command(tx)
        if isinstance(answer, Denied):
            raise refused(answer)  # rolls back what was done before the refusal
        return answer

    return await asyncio.wrap_future(ctx.writer.submit(run))


async def caller(ctx: Ctx, authorization: Annotated[str | None, Header()] = None) -> ApiKey:
    """The key of this request."""
    kind, _, text = (authorization or "").partition(" ")
    if kind.lower() != "bearer" or not text:
        raise Problem("unauthorised", "Send `Authorization: Bearer dc_…` with a key of this hub.")
    found = await read(ctx, lambda tx: find_key(tx, ctx.rules.tenant, text.strip(), ctx.clock.now_ms()))
    if found is None:
        raise Problem("unauthorised", "This key is unknown, revoked or has run out.")
    return found


Caller = Annotated[ApiKey, Depends(caller)]


def scoped(*scopes: str) -> Callable[[ApiKey], ApiKey]:
    """A dependency: the caller's key, refused unless it has one of these scopes."""

    def check(key: Caller) -> ApiKey:
        if key.scope not in scopes:
            raise Problem("forbidden", f"This needs a key of scope {' or '.join(scopes)}; this one is {key.scope}.")
        return key

    return check


def own_phone(key: Annotated[ApiKey, Depends(scoped("app"))]) -> ApiKey:
    """A dependency: the key of one phone, made when it enrolled."""
    if key.profile is None:
        raise Problem("forbidden", "This needs the phone's own key, which POST /v1/devices gives.")
    return key


Staff = Annotated[ApiKey, Depends(scoped("staff"))]
Pos = Annotated[ApiKey, Depends(scoped("pos"))]
Phone = Annotated[ApiKey, Depends(own_phone)]
Idempotency = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=200, description="A repeat with it changes nothing."),
]


class Once(NamedTuple):
    """A write that may be repeated: who asks, under which key, and a digest of what."""

    caller: str
    key: str
    digest: str


def once(key: ApiKey, idempotency: str | None, request: Any) -> Once | None:
    """The identity of a repeatable write; None when the caller gave no key."""
    if idempotency is None:
        return None
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return Once(key.key, idempotency, hashlib.sha256(text.encode()).hexdigest())


def first_time(
    tx: Tx, ctx: AppContext, asked: Once | None, status: int, act: Callable[[], dict[str, Any]]
) -> tuple[int, dict[str, Any], bool]:
    """Do it and remember the answer in the same commit, or give the answer of the first time.

    Returns status, body, and whether this is a repeat. Refusals are not remembered: nothing happened, ask again.

    Raises:
        Problem: the same key was used for another request.
    """
    tenant = ctx.rules.tenant
    if asked is not None:
        found = tx.get(Reply, [(tenant, asked.caller, asked.key)])
        if found:
            if found[0].request_sha256 != asked.digest:
                raise Problem(
                    "idempotency_mismatch", "This Idempotency-Key was used for another request; use a new one."
                )
            return found[0].status, found[0].body, True
    body = act()
    if asked is not None:
        tx.put([Reply(tenant, asked.caller, asked.key, asked.digest, status, body, ctx.clock.now_ms())])
    return status, body, False


class Page(NamedTuple):
    """Where to go on, and how far."""

    after: Key | None
    limit: int


def page(
    cursor: Annotated[str | None, Query(max_length=1000, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_ROWS)] = PAGE_ROWS,
) -> Page:
    """A dependency: the page asked for."""
    if cursor is None:
        return Page(None, limit)
    try:
        after = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=="))
        if not isinstance(after, list) or not all(isinstance(part, str | int) for part in after):
            raise ValueError
    except ValueError:
        raise Problem("bad_request", "cursor: give back `next` of the page before, unchanged") from None
    return Page(tuple(after), limit)


Paged = Annotated[Page, Depends(page)]


def listing(rows: Sequence[Any], key: Callable[[Any], Key], asked: Page) -> dict[str, Any]:
    """The answer of a list route: `items`, and `next` while there may be more."""
    more = None
    if len(rows) == asked.limit:
        more = base64.urlsafe_b64encode(json.dumps(key(rows[-1])).encode()).decode().rstrip("=")
    return {"items": [shown(row) for row in rows], "next": more}


def after_key(ctx: AppContext, asked: Page, length: int) -> Key | None:
    """The cursor as a primary key of this tenant; a cursor of another list or tenant is refused."""
    if asked.after is None:
        return None
    if len(asked.after) != length or asked.after[0] != ctx.rules.tenant:
        raise Problem("bad_request", "cursor: it belongs to another list")
    return asked.after


def shown(row: Any) -> dict[str, Any]:
    """A record as the API shows it."""
    return {name: value for name, value in asdict(row).items() if name not in ("tenant", "code_hash", "boots")}
