"""`/v1/offers`: the shopper's wallet with a phone's key, the catalogue with a staff key."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from hub.api.deps import Ctx, Idempotency, Paged, Staff, after_key, first_time, listing, once, read, scoped, write
from hub.api.problems import Problem, refused
from hub.core.grants import Denied
from hub.core.model import ApiKey, Offer
from hub.core.offers import OfferBody
from hub.ports import Tx
from hub.usecases.catalogue import put_offer
from hub.usecases.me import wallet
from wire.messages import Level

router = APIRouter()


class OfferRequest(BaseModel):
    """One offer as staff write it."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["draft", "live", "paused", "ended"]
    body: Annotated[OfferBody, Field(description="what it is; see the schema")]


@router.get("/v1/offers", tags=["app", "staff"])
async def offers(ctx: Ctx, key: Annotated[ApiKey, Depends(scoped("app", "staff"))], asked: Paged) -> dict[str, Any]:
    """With a phone's key: its open offers, each with its code and its value now. With a staff key: current versions."""
    tenant, hmac_key = ctx.rules.tenant, ctx.rules.hmac_key
    if key.scope == "app":
        if key.profile is None:
            raise Problem("forbidden", "This needs the phone's own key, which POST /v1/devices gives.")
        profile = key.profile
        mine = await read(ctx, lambda tx: wallet(tx, tenant, profile, hmac_key, ctx.clock.now_ms()))
        return {"items": mine, "next": None}
    after = after_key(ctx, asked, 3)
    where = {"tenant": tenant, "superseded_at_ms": None}
    rows = await read(ctx, lambda tx: tx.find(Offer, where, after=after, limit=asked.limit))
    return listing(rows, lambda row: (row.tenant, row.offer, row.version), asked)


@router.put("/v1/offers/{offer}", tags=["staff"])
async def put(
    offer: Annotated[Level, Path()], asked: OfferRequest, ctx: Ctx, key: Staff, idempotency: Idempotency = None
) -> dict[str, Any]:
    """Write a new version; what was promised under an older one stays as promised."""
    plain = asked.body.model_dump(mode="json")
    unique = once(key, idempotency, [offer, asked.state, plain])

    def command(tx: Tx) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            done = put_offer(tx, ctx.rules.tenant, offer, asked.state, plain, ctx.clock.now_ms())
            if isinstance(done, Denied):
                raise refused(done)
            return {"offer": done.offer, "version": done.version, "state": done.state}

        return first_time(tx, ctx, unique, 200, act)[1]

    return await write(ctx, command)
