"""`/v1/visits`, `/v1/decisions`, `/v1/profiles`, `/v1/reports`: what happened, and why."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from hub.api.deps import Ctx, Paged, Staff, after_key, listing, read, shown
from hub.api.problems import Problem
from hub.core.model import Decision, Device, Profile, Visit
from hub.core.states import VisitState
from hub.ports import Tx
from hub.usecases.consent import consents_of
from hub.usecases.reports import report
from wire.messages import Level

router = APIRouter(tags=["staff"])


@router.get("/v1/visits")
async def visits(
    ctx: Ctx,
    _: Staff,
    asked: Paged,
    store: Annotated[Level | None, Query()] = None,
    state: Annotated[VisitState | None, Query()] = None,
) -> dict[str, Any]:
    """Visits, newest first."""
    where: dict[str, Any] = {"tenant": ctx.rules.tenant}
    where |= {"store": store} if store else {}
    where |= {"state": state.value} if state else {}
    after = after_key(ctx, asked, 2)
    rows = await read(ctx, lambda tx: tx.find(Visit, where, after=after, limit=asked.limit, newest_first=True))
    return listing(rows, lambda row: (row.tenant, row.visit), asked)


@router.get("/v1/decisions")
async def decisions(
    ctx: Ctx, _: Staff, asked: Paged, profile: Annotated[Level | None, Query()] = None
) -> dict[str, Any]:
    """Decisions, newest first."""
    where = {"tenant": ctx.rules.tenant} | ({"profile": profile} if profile else {})
    after = after_key(ctx, asked, 2)
    rows = await read(ctx, lambda tx: tx.find(Decision, where, after=after, limit=asked.limit, newest_first=True))
    return listing(rows, lambda row: (row.tenant, row.decision), asked)


@router.get("/v1/decisions/{decision}")
async def why(decision: Level, ctx: Ctx, _: Staff) -> dict[str, Any]:
    """Why: every candidate with the first reason it failed for."""
    found = await read(ctx, lambda tx: tx.get(Decision, [(ctx.rules.tenant, decision)]))
    if not found:
        raise Problem("not_found", "No decision with this id; they are kept 30 days.")
    return shown(found[0])


@router.get("/v1/profiles/{profile}")
async def profile(profile: Level, ctx: Ctx, _: Staff) -> dict[str, Any]:
    """One person as staff may see them: consents and devices, without addresses."""
    tenant = ctx.rules.tenant

    def query(tx: Tx) -> dict[str, Any] | None:
        people = tx.get(Profile, [(tenant, profile)])
        if not people:
            return None
        devices = tx.find(Device, {"tenant": tenant, "profile": profile})
        kept = ("device", "channel", "os_permission", "created_at_ms", "dead_at_ms")
        return {
            **shown(people[0]),
            "consents": consents_of(tx, tenant, profile),
            "devices": [{name: getattr(device, name) for name in kept} for device in devices],
        }

    found = await read(ctx, query)
    if found is None:
        raise Problem("not_found", "No profile with this id.")
    return found


@router.get("/v1/reports")
async def reports(ctx: Ctx, _: Staff) -> dict[str, Any]:
    """How things stand, in numbers."""
    return await read(ctx, lambda tx: report(tx, ctx.rules.tenant))
