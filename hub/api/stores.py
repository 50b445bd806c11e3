"""`/v1/stores`, `/v1/zones`, `/v1/edges`: where things are."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hub.api.checks import Currency, Locale, Name, TimeZone
from hub.api.deps import AppContext as Hub
from hub.api.deps import Ctx, Idempotency, Paged, Staff, after_key, first_time, listing, once, read, shown, write
from hub.api.problems import refused
from hub.core import boots
from hub.core.foreign import NODE_PATTERNS, Kind, Source
from hub.core.grants import Denied
from hub.core.model import ApiKey, Edge, Shop, Zone
from hub.core.states import ZoneKind
from hub.ports import Tx
from hub.usecases.catalogue import EdgeSaid, ShopSaid, put_edge, put_shop, put_zone
from wire.messages import Level

router = APIRouter(tags=["staff"])

StoreId = Annotated[Level, Path(description="id of the store")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StoreRequest(_Body):
    """A store."""

    name: Name
    tz: TimeZone
    locale: Locale
    currency: Currency


class ZoneRequest(_Body):
    """A part of a store; offers and the arrival lock name kinds."""

    name: Name
    kind: ZoneKind


class SourceRequest(_Body):
    """A listener of another make: the node whose messages are this edge's."""

    kind: Kind
    node: Annotated[
        str,
        Field(
            max_length=260,
            description="espresense: the room, as in `espresense/rooms/<room>/status`; "
            "theengs: what stands before `/BTtoMQTT` in its topics, as `home/TheengsGateway`",
        ),
    ]

    @model_validator(mode="after")
    def _node_of_this_kind(self) -> Self:
        if not re.fullmatch(NODE_PATTERNS[self.kind], self.node):
            like = {Kind.ESPRESENSE: "`kitchen`", Kind.THEENGS: "`home/TheengsGateway`"}[self.kind]
            raise ValueError(f"node: of a node of {self.kind} it is written like {like}")
        return self


class EdgeRequest(_Body):
    """Where an edge stands."""

    store: Level
    zone: Annotated[Level | None, Field(description="null: in no zone")] = None
    till: Annotated[bool, Field(description="redeems when the hub cannot be reached")] = False
    source: Annotated[SourceRequest | None, Field(description="null: an edge of ours")] = None

    @model_validator(mode="after")
    def _tills_are_ours(self) -> Self:
        if self.till and self.source is not None:
            raise ValueError("a till edge must be one of ours: leave out `till` or `source`")
        return self


async def _put(
    ctx: Hub, key: ApiKey, idempotency: str | None, asked: Any, act: Callable[[Tx], Any | Denied]
) -> dict[str, Any]:
    unique = once(key, idempotency, asked)

    def command(tx: Tx) -> dict[str, Any]:
        def body() -> dict[str, Any]:
            done = act(tx)
            if isinstance(done, Denied):
                raise refused(done)
            return shown(done)

        return first_time(tx, ctx, unique, 200, body)[1]

    return await write(ctx, command)


@router.get("/v1/stores")
async def stores(ctx: Ctx, _: Staff, asked: Paged) -> dict[str, Any]:
    """Every store."""
    after = after_key(ctx, asked, 2)
    where = {"tenant": ctx.rules.tenant}
    rows = await read(ctx, lambda tx: tx.find(Shop, where, after=after, limit=asked.limit))
    return listing(rows, lambda row: (row.tenant, row.store), asked)


@router.put("/v1/stores/{store}")
async def put_a_store(
    store: StoreId, asked: StoreRequest, ctx: Ctx, key: Staff, idempotency: Idempotency = None
) -> dict[str, Any]:
    """Make or change a store."""
    said = ShopSaid(**asked.model_dump())
    return await _put(
        ctx,
        key,
        idempotency,
        [store, *said],
        lambda tx: put_shop(tx, ctx.rules.tenant, store, said, ctx.clock.now_ms()),
    )


@router.get("/v1/zones")
async def zones(ctx: Ctx, _: Staff, asked: Paged, store: Annotated[Level | None, Query()] = None) -> dict[str, Any]:
    """Every zone, or those of one store."""
    after = after_key(ctx, asked, 3)
    where = {"tenant": ctx.rules.tenant} | ({"store": store} if store else {})
    rows = await read(ctx, lambda tx: tx.find(Zone, where, after=after, limit=asked.limit))
    return listing(rows, lambda row: (row.tenant, row.store, row.zone), asked)


@router.put("/v1/stores/{store}/zones/{zone}")
async def put_a_zone(
    store: StoreId,
    zone: Annotated[Level, Path()],
    asked: ZoneRequest,
    ctx: Ctx,
    key: Staff,
    idempotency: Idempotency = None,
) -> dict[str, Any]:
    """Make or change a zone."""
    return await _put(
        ctx, key, idempotency, [store, zone, asked.name, asked.kind],
        lambda tx: put_zone(tx, ctx.rules.tenant, store, zone, asked.name, asked.kind.value, ctx.clock.now_ms()),
    )  # fmt: skip


@router.get("/v1/edges")
async def edges(ctx: Ctx, _: Staff, asked: Paged) -> dict[str, Any]:
    """Every enrolled edge, whether it is there, and what is wrong: `cloned` = two devices use this id."""
    after = after_key(ctx, asked, 2)
    where = {"tenant": ctx.rules.tenant}
    rows = await read(ctx, lambda tx: tx.find(Edge, where, after=after, limit=asked.limit))
    found = listing(rows, lambda row: (row.tenant, row.edge), asked)
    now_ms, items = ctx.clock.now_ms(), []
    for row, item in zip(rows, found["items"], strict=True):
        alarms = ["cloned"] if boots.is_cloned(row, now_ms) else []
        items.append({**_with_source(item), "alarms": alarms})
    return found | {"items": items}


@router.put("/v1/edges/{edge}")
async def put_an_edge(
    edge: Annotated[Level, Path()], asked: EdgeRequest, ctx: Ctx, key: Staff, idempotency: Idempotency = None
) -> dict[str, Any]:
    """Enrol or move an edge. Only enrolled edges are listened to."""
    source = Source(asked.source.kind.value, asked.source.node) if asked.source is not None else None
    said = EdgeSaid(asked.store, asked.zone, asked.till, source)
    row = await _put(
        ctx, key, idempotency, [edge, *said],
        lambda tx: put_edge(tx, ctx.rules.tenant, edge, said, ctx.clock.now_ms()),
    )  # fmt: skip
    return _with_source(row)


def _with_source(row: dict[str, Any]) -> dict[str, Any]:
    """An edge as it was asked for: `source` is one object, or null."""
    kind, node = row.pop("source_kind"), row.pop("source_node")
    return row | {"source": None if kind is None else {"kind": kind, "node": node}}
