"""Errors as RFC 9457 problems: which status each has is written here, once."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hub.core.grants import Denied
from hub.ports import Busy
from wire.errors import BadMessage, BadRequest, StoreFault

STATUS = {
    "unauthorised": 401,
    "forbidden": 403,
    "unknown_code": 404,
    "unknown_store": 404,
    "unknown_zone": 404,
    "unknown_redemption": 404,
    "not_found": 404,
    "unknown_claim": 404,
    "already_enrolled": 409,
    "already_redeemed": 409,
    "already_reversed": 409,
    "source_taken": 409,
    "idempotency_in_use": 409,
    "claim_used": 409,
    "no_authority": 409,
    "claim_expired": 410,
    "expired": 410,
    "revoked": 410,
    "reserved_name": 422,
    "wrong_name": 422,
    "wrong_store": 422,
    "wrong_currency": 422,
    "basket_too_small": 422,
    "invalid": 422,
    "idempotency_mismatch": 422,
    "bad_request": 400,
    "busy": 503,
}
"""Fixed word of a refusal → HTTP status. The word is the last part of the problem's `type`."""

RETRY_AFTER_S = 1
"""What a busy hub asks for: many group commits later."""

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A refusal on its way out of a request."""

    def __init__(self, reason: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.more = reason, detail, more


def refused(answer: Denied) -> Problem:
    """The problem for a use case's refusal."""
    return Problem(answer.reason, answer.detail)


def _render(reason: str, detail: str, status: int | None = None, **more: Any) -> JSONResponse:
    code = status or STATUS[reason]
    body = {
        "type": f"urn:doorchime:problem:{reason}",
        "title": reason.replace("_", " ").capitalize(),
        "status": code,
        "detail": detail,
        **more,
    }
    headers = {}
    if code == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if code == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return JSONResponse(body, code, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of this app a problem."""

    async def problem(_: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, Problem)
        return _render(exc.reason, exc.detail, **exc.more)

    async def busy(_: Request, exc: Exception) -> JSONResponse:
        return _render("busy", str(exc))

    async def away(_: Request, exc: Exception) -> JSONResponse:
        return _render("busy", "The hub's store cannot be reached at present. Nothing was changed: try again later.")

    async def bad(_: Request, exc: Exception) -> JSONResponse:
        return _render("bad_request", str(exc))

    async def invalid(_: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, RequestValidationError)
        # where and what, never the value: it may be somebody's
        errors = [{"where": ".".join(map(str, one["loc"])), "what": one["msg"]} for one in exc.errors()][:20]
        first = errors[0] if errors else {"where": "body", "what": "cannot be read"}
        return _render("invalid", f"{first['where']}: {first['what']}", errors=errors)

    async def http(_: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, HTTPException)
        word = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}.get(exc.status_code, "http_error")
        response = _render(word, str(exc.detail), exc.status_code)
        response.headers.update(exc.headers or {})
        return response

    async def ours(_: Request, exc: Exception) -> JSONResponse:
        return _render("internal", "A fault of the hub; it has been logged. Nothing was changed.", 500)

    handlers: list[tuple[type[Exception], Callable[[Request, Exception], Awaitable[JSONResponse]]]] = [
        (Problem, problem),
        (Busy, busy),
        (StoreFault, away),
        (BadRequest, bad),
        (BadMessage, bad),
        (RequestValidationError, invalid),
        (HTTPException, http),
        (Exception, ours),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
