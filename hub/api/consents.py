"""`/v1/consents`: what a person agrees to."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from hub.api.deps import Ctx, Idempotency, Phone, first_time, once, read, write
from hub.core.states import Purpose
from hub.ports import Tx
from hub.usecases.consent import ConsentChange, consents_of, record_consents

router = APIRouter(tags=["app"])


class ConsentRequest(BaseModel):
    """Answers, and the text they answer."""

    model_config = ConfigDict(extra="forbid")

    purposes: Annotated[dict[Purpose, bool], Field(min_length=1, description="what is left out stays as it is")]
    notice: Annotated[str, Field(min_length=1, max_length=100, description="id and version of the text shown")]
    notice_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the text shown")]
    method: Annotated[str, Field(pattern=r"^(app_screen|qr_signup|pos|paper|import)$")] = "app_screen"


class ConsentAnswer(BaseModel):
    """Every purpose, yes or no."""

    purposes: dict[str, bool]


@router.get("/v1/consents", response_model=ConsentAnswer)
async def consents(ctx: Ctx, key: Phone) -> dict[str, Any]:
    """What is in force."""
    return {"purposes": await read(ctx, lambda tx: consents_of(tx, ctx.rules.tenant, str(key.profile)))}


@router.put("/v1/consents", response_model=ConsentAnswer)
async def change(asked: ConsentRequest, ctx: Ctx, key: Phone, idempotency: Idempotency = None) -> dict[str, Any]:
    """Give, deny or withdraw. In force with the answer; waiting messages are held back."""
    unique = once(key, idempotency, asked.model_dump(mode="json"))
    wanted = ConsentChange(
        tenant=ctx.rules.tenant,
        profile=str(key.profile),
        purposes={purpose.value: given for purpose, given in asked.purposes.items()},
        notice=asked.notice,
        notice_sha256=asked.notice_sha256,
        method=asked.method,
        actor=f"device:{key.device}",
    )

    def command(tx: Tx) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            return {"purposes": record_consents(tx, wanted, ctx.clock.now_ms(), ctx.new_id)}

        return first_time(tx, ctx, unique, 200, act)[1]

    return await write(ctx, command)
