"""A till: redeems a code over HTTP, repeats safely when the answer is lost."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

TRIES = 8
"""Repeats before the cashier gives up; with the pauses below about 10 s."""

PAUSE_S = 0.25

TOLD = ("grant", "redemption", "value_bp", "discount_minor", "t_lock_ms")
"""What a till keeps of an answer."""


@dataclass
class Till:
    """`accepted` and `refused` count by reason; `records` is what `hub audit --witness` compares with the store."""

    http: httpx.AsyncClient
    key: str
    store: str
    pos: str
    currency: str
    records: list[dict[str, Any]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    async def redeem(self, code: str, basket_minor: int, idempotency: str) -> dict[str, Any] | None:
        """The hub's answer, or None when it was refused or could not be reached."""
        body = {
            "code": code, "pos": self.pos, "store": self.store, "basket_minor": basket_minor, "currency": self.currency,
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": idempotency}
        for attempt in range(TRIES):
            try:
                reply = await self.http.post("/v1/redemptions", json=body, headers=headers)
            except httpx.TransportError:
                reply = None
            if reply is not None and reply.status_code < 500:
                break
            await asyncio.sleep(PAUSE_S * 2 ** min(attempt, 3))
        else:
            self.refused["unreachable"] += 1
            return None
        answer: dict[str, Any] = reply.json()
        if not reply.is_success:
            self.refused[str(answer.get("type", "")).rpartition(":")[2]] += 1
            return None
        self.records.append({name: answer[name] for name in TOLD})
        return answer
