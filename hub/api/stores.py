"""`/v1/stores`, `/v1/zones`, `/v1/edges`: where things are."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from hub.api.checks import Currency, Locale, Name, TimeZone
from hub.api.deps import AppContext as Hub
from hub.api.deps import Ctx, Idempotency, Paged, Staff, after_key, first_time, listing, once, read, shown, write
from hub.api.problems import refused
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


class EdgeRequest(_Body):
    """Where an edge stands."""

    store: Level
    zone: Annotated[Level | None, Field(description="null: in no zone")] = None
    till: Annotated[bool, Field(description="redeems when the hub cannot be reached")] = False


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
    """Every enrolled edge and whether it is there."""
    after = after_key(ctx, asked, 2)
    where = {"tenant": ctx.rules.tenant}
    rows = await read(ctx, lambda tx: tx.find(Edge, where, after=after, limit=asked.limit))
    return listing(rows, lambda row: (row.tenant, row.edge), asked)


@router.put("/v1/edges/{edge}")
async def put_an_edge(
    edge: Annotated[Level, Path()], asked: EdgeRequest, ctx: Ctx, key: Staff, idempotency: Idempotency = None
) -> dict[str, Any]:
    """Enrol or move an edge. Only enrolled edges are listened to."""
    said = EdgeSaid(asked.store, asked.zone, asked.till)
    return await _put(
        ctx, key, idempotency, [edge, *said],
        lambda tx: put_edge(tx, ctx.rules.tenant, edge, said, ctx.clock.now_ms()),
    )  # fmt: skip
