"""The API as one FastAPI app: a router per noun, problems for errors, bodies of bounded size."""

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api import consents, devices, enrolment, me, offers, problems, redemptions, stores, system, visits
from hub.api.deps import AppContext

MAX_BODY_BYTES = 262_144
"""Largest request body: an offer with 50 languages has about 40 kB."""

__all__ = ["AppContext", "create_app"]


def create_app(context: AppContext) -> FastAPI:
    """The app over a wired hub."""
    app = FastAPI(
        title="doorchime",
        version="1",
        description="In-store presence to one consented, decaying offer on the right phone.",
        redirect_slashes=False,
    )
    app.state.context = context
    for part in (devices, consents, me, offers, stores, enrolment, visits, redemptions, system):
        app.include_router(part.router)
    problems.install(app)
    app.add_middleware(_BoundedBody)
    return app


class _BoundedBody:
    """Refuses a body beyond the limit, whatever its header says, before it is in memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY_BYTES:
                raise HTTPException(413, f"The body has more than {MAX_BODY_BYTES} bytes.")
            return message

        await self._app(scope, bounded, send)
