"""`/healthz`, `/readyz`, `/metrics`: for whoever runs the hub. `/v1/stream`: what was just committed."""

import json
from collections.abc import AsyncIterator, Iterable

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from hub.api.deps import Ctx, Health, Staff

router = APIRouter(tags=["system"])

READY_MS = 15_000
"""Age of the last commit from which the hub is not ready, ms: three of its heartbeats (5 s)."""


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def ready(ctx: Ctx) -> JSONResponse:
    """200 while commits succeed; the broker's absence is shown but does not make the API unready."""
    health = ctx.health()
    good = health.commit_age_ms < READY_MS and not health.trouble
    body = {
        "status": "ready" if good else "not_ready",
        **({"reason": f"the store cannot commit: {health.trouble}"} if health.trouble else {}),
        "commit_age_ms": health.commit_age_ms,
        "broker": "connected" if health.broker_connected else "unreachable",
        "waiting": health.waiting,
    }
    return JSONResponse(body, 200 if good else 503)


class _Snapshot(Collector):
    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        for name, value in sorted(self._health.counters.items()):
            yield CounterMetricFamily(f"doorchime_{name}", name.replace("_", " "), value=value)
        for name, value in sorted(self._health.gauges.items()):
            yield GaugeMetricFamily(f"doorchime_{name}", name.replace("_", " "), value=value)


@router.get("/metrics")
async def metrics(ctx: Ctx) -> Response:
    """Counters and gauges in Prometheus' text format. No labels, so nothing in them can name anybody."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(ctx.health()))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get("/v1/stream", tags=["live"])
async def stream(ctx: Ctx, _: Staff) -> StreamingResponse:
    """Server-sent events, each after its commit: visit, zone, grant, lock, push, redemption, edge, alarm, gap."""
    watching = ctx.watch()

    async def lines() -> AsyncIterator[str]:
        with watching as events:
            yield ": watching\n\n"
            async for event in events:
                yield f"event: {event['type']}\ndata: {json.dumps(dict(event), separators=(',', ':'))}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
