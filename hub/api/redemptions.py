"""`/v1/redemptions`: the till."""

from typing import Annotated, Any

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field

from hub.api.checks import Currency, Minor
from hub.api.deps import Ctx, Idempotency, Pos, first_time, once, write
from hub.api.problems import Problem, refused
from hub.core.grants import Denied, code_hash
from hub.core.model import Redemption
from hub.ports import Tx
from hub.usecases.redeem import RedeemRequest, redeem, reverse
from wire.messages import Level

router = APIRouter(tags=["pos"])

FIELDS = ("redemption", "grant", "state", "value_bp", "discount_minor", "currency", "t_lock_ms", "at_ms")
"""What a till is told. Not who it was."""

NOTED = ("grant", "value_bp", "state")
"""What the live stream is told; a repeat is told again, and says the same."""


class RedemptionRequest(BaseModel):
    """What the till scanned, and the basket."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=1, max_length=64)]
    pos: Annotated[Level, Field(description="which till")]
    store: Level
    basket_minor: Minor
    currency: Currency


class RedemptionAnswer(BaseModel):
    """What to take off."""

    redemption: str
    grant: str
    state: str
    value_bp: Annotated[int, Field(description="basis points")]
    discount_minor: Annotated[int, Field(description="minor units to take off this basket")]
    currency: str
    t_lock_ms: Annotated[int, Field(description="instant whose value counts, Unix ms")]
    at_ms: int


def _told(row: Redemption) -> dict[str, Any]:
    return {name: getattr(row, name) for name in FIELDS}


@router.post("/v1/redemptions", status_code=201, response_model=RedemptionAnswer)
async def redeem_one(
    asked: RedemptionRequest,
    ctx: Ctx,
    key: Pos,
    idempotency: Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=200)],
) -> dict[str, Any]:
    """Redeem a code. `Idempotency-Key` is required: a till that lost the answer repeats and gets the same."""
    if key.store is not None and key.store != asked.store:
        raise Problem("forbidden", f"This key is for store {key.store} only.")
    unique = once(key, idempotency, asked.model_dump())
    wanted = RedeemRequest(
        ctx.rules.tenant, code_hash(asked.code), asked.store, asked.pos, asked.basket_minor, asked.currency
    )

    def command(tx: Tx) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            done = redeem(tx, wanted, ctx.clock.now_ms(), ctx.new_id)
            if isinstance(done, Denied):
                raise refused(done)
            return _told(done)

        return first_time(tx, ctx, unique, 201, act)[1]

    told = await write(ctx, command)
    ctx.notify({"type": "redemption", "store": asked.store, **{name: told[name] for name in NOTED}})
    return told


@router.post("/v1/redemptions/{redemption}/reversal", response_model=RedemptionAnswer)
async def reverse_one(redemption: Level, ctx: Ctx, key: Pos, idempotency: Idempotency = None) -> dict[str, Any]:
    """Take a redemption back (void, return). The code stays used."""
    unique = once(key, idempotency, [redemption, "reversal"])

    def command(tx: Tx) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            if key.store is not None:
                found = tx.get(Redemption, [(ctx.rules.tenant, redemption)])
                if found and found[0].store != key.store:
                    raise Problem("forbidden", f"This key is for store {key.store} only.")
            done = reverse(tx, ctx.rules.tenant, redemption, ctx.clock.now_ms())
            if isinstance(done, Denied):
                raise refused(done)
            return _told(done)

        return first_time(tx, ctx, unique, 200, act)[1]

    told = await write(ctx, command)
    ctx.notify({"type": "redemption", **{name: told[name] for name in NOTED}})
    return told
