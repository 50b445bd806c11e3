"""What every channel must do. Give `channel`, `received` and `breakage`, and inherit the tests."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from hub.core.model import Push
from hub.ports import Channel, Fate
from wire import messages

PATIENCE_S = 60

Received = Callable[[str], Awaitable[messages.Push]]
"""Waits for the next message that the given device got."""

Breakage = Callable[[], Awaitable[None]]
"""Takes the way to the device down."""


def a_push(number: int = 1, device: str = "phone-1", *, expires_at_ms: int = 2_000_000_000_000) -> Push:
    """One to `device`, with a whole body."""
    grant = f"grant-{number}"
    body = messages.Push(
        v=1, grant=grant, title="Coffee", body="Half price, for a while", code=f"c{number}", store="vienna-1",
        issued_at_ms=1_790_942_400_000, expires_at_ms=expires_at_ms, curve={"kind": "cliff"},
    )  # fmt: skip
    return Push(
        tenant="default", push=f"push-{number}", grant=grant, profile="p1", device=device, channel="mqtt", address="",
        state="leased", reason="", attempts=1, due_at_ms=None, expires_at_ms=expires_at_ms,
        created_at_ms=1_790_942_400_000, settled_at_ms=None, body=body.model_dump(mode="json"),
    )  # fmt: skip


class ChannelContract:
    """The promises of `hub.ports.Channel`."""

    @pytest.fixture
    def channel(self) -> Channel:
        raise AssertionError("give a channel")

    @pytest.fixture
    def received(self) -> Received:
        raise AssertionError("give a way to see what a device received")

    @pytest.fixture
    def breakage(self) -> Breakage:
        raise AssertionError("give a way to break the line")

    async def test_delivered_means_the_device_can_have_it_whole(self, channel: Channel, received: Received) -> None:
        push = a_push()
        receipt = await channel.deliver(push, 60)
        assert receipt.fate is Fate.DELIVERED
        async with asyncio.timeout(PATIENCE_S):
            assert (await received("phone-1")).model_dump(mode="json") == push.body

    async def test_each_device_gets_its_own(self, channel: Channel, received: Received) -> None:
        pushes = [a_push(n, device=f"phone-{n % 2 + 1}") for n in range(1, 21)]
        receipts = await asyncio.gather(*(channel.deliver(push, 60) for push in pushes))
        assert {receipt.fate for receipt in receipts} == {Fate.DELIVERED}
        async with asyncio.timeout(PATIENCE_S):
            for device in ("phone-1", "phone-2"):
                grants = {(await received(device)).grant for _ in range(10)}
                assert grants == {push.grant for push in pushes if push.device == device}

    async def test_a_repeat_carries_the_same_collapse_key(self, channel: Channel, received: Received) -> None:
        push = a_push()
        await channel.deliver(push, 60)
        await channel.deliver(replace(push, attempts=2), 30)
        async with asyncio.timeout(PATIENCE_S):
            assert (await received("phone-1")).grant == (await received("phone-1")).grant == push.grant

    async def test_a_body_that_is_none_is_refused_not_raised(self, channel: Channel) -> None:
        receipt = await channel.deliver(replace(a_push(), body={}), 60)
        assert receipt.fate is Fate.REFUSED

    async def test_a_broken_line_is_a_receipt(self, channel: Channel, breakage: Breakage) -> None:
        await breakage()
        receipt = await channel.deliver(a_push(), 60)
        assert receipt.fate is Fate.TRY_LATER

    async def test_a_receipt_names_nobody(self, channel: Channel, breakage: Breakage) -> None:
        await breakage()
        push = a_push()
        detail = (await channel.deliver(push, 60)).detail
        assert not any(secret in detail for secret in (push.profile, push.device, push.body["code"]))

    async def test_close_is_idempotent(self, channel: Channel) -> None:
        await channel.close()
        await channel.close()
