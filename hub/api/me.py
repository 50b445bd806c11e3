"""`/v1/me`: what we hold about the caller, and the way out. `/v1/sightings`: the phone heard the store itself."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from hub.api.deps import Ctx, Idempotency, Once, Phone, first_time, once, read, shown, write
from hub.api.problems import Problem
from hub.core.model import Device, Profile, Shop
from hub.ports import Tx
from hub.usecases.arrivals import Effects
from hub.usecases.consent import consents_of
from hub.usecases.me import erase, export
from hub.usecases.presence import SightingReport, record_sighting
from wire.messages import Level, UnixMs

router = APIRouter(tags=["app"])


@router.get("/v1/me")
async def me(ctx: Ctx, key: Phone) -> dict[str, Any]:
    """The caller's profile, devices and consents."""
    tenant, profile = ctx.rules.tenant, str(key.profile)

    def query(tx: Tx) -> dict[str, Any]:
        people = tx.get(Profile, [(tenant, profile)])
        devices = tx.find(Device, {"tenant": tenant, "profile": profile})
        return {
            "profile": shown(people[0]) if people else None,
            "devices": [shown(device) for device in devices],
            "consents": consents_of(tx, tenant, profile),
        }

    return await read(ctx, query)


@router.get("/v1/me/export")
async def whole(ctx: Ctx, key: Phone) -> dict[str, Any]:
    """Everything held about the caller, by record (GDPR 15, 20)."""
    return await read(ctx, lambda tx: export(tx, ctx.rules.tenant, str(key.profile)))


@router.delete("/v1/me")
async def forget(ctx: Ctx, key: Phone) -> dict[str, Any]:
    """Erase the caller. The key stops working with this answer; tax records and proof of consent stay, nameless."""

    def command(tx: Tx) -> dict[str, int]:
        return erase(tx, ctx.rules, str(key.profile), ctx.clock.now_ms(), ctx.new_id)

    return {"erased": await write(ctx, command)}


class SightingRequest(BaseModel):
    """The phone noticed that it entered or left a store."""

    model_config = ConfigDict(extra="forbid")

    store: Level
    state: Literal["entered", "left"]
    at_ms: UnixMs
    nonce: Annotated[Level, Field(description="new for every sighting; a repeat with it changes nothing")]


@router.post("/v1/sightings", status_code=202)
async def sighting(asked: SightingRequest, ctx: Ctx, key: Phone, idempotency: Idempotency = None) -> dict[str, Any]:
    """Take a phone's own sighting into the same visit that edges see. 202 in any case, as consent is not revealed."""
    unique = once(key, f"sighting/{asked.nonce}", asked.model_dump(mode="json"))
    assert isinstance(unique, Once)
    found: list[Effects] = []

    def command(tx: Tx) -> Effects:
        tenant = ctx.rules.tenant
        if not tx.get(Shop, [(tenant, asked.store)]):
            raise Problem("unknown_store", f"There is no store {asked.store}.")

        def act() -> dict[str, Any]:
            report = SightingReport(
                tenant, str(key.profile), str(key.device), asked.store, asked.state == "entered",
                asked.at_ms, asked.nonce,
            )  # fmt: skip
            done = record_sighting(tx, report, ctx.rules, ctx.clock.now_ms(), ctx.new_id)
            if done is not None:
                found.append(done)
            return {}

        first_time(tx, ctx, unique, 202, act)
        return found[0] if found else Effects()

    await write(ctx, command)
    return {"accepted": True}
