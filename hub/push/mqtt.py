"""MQTT to the app: for kiosks, tablets and phones with the app open. A phone asleep does not hear it.

MQTT 3.1.1 has no expiry, so the payload carries the absolute deadline and the app shows nothing after it. The grant's
id in the payload is the collapse key: a repeated message shows one offer.
"""

import asyncio

from pydantic import ValidationError

from hub.core.model import Push
from hub.ports import Fate, Publish, Receipt
from wire import messages
from wire.errors import BadTopic
from wire.topics import push_topic


class MqttChannel:
    """Publishes to the device's own topic. See `hub.ports.Channel`."""

    def __init__(self, publish: Publish, timeout_s: float) -> None:
        self._publish = publish
        self._timeout_s = timeout_s

    async def deliver(self, push: Push, ttl_s: int) -> Receipt:
        """DELIVERED once the broker has acknowledged it; whether the app listens, it cannot tell."""
        try:
            topic = push_topic(push.device)
            payload = messages.write(messages.Push.model_validate(push.body))
        except (BadTopic, ValidationError) as exc:
            return Receipt(Fate.REFUSED, type(exc).__name__)
        try:
            async with asyncio.timeout(min(self._timeout_s, ttl_s)):
                await self._publish(topic, payload, False)
        except TimeoutError:
            return Receipt(Fate.TRY_LATER, "no PUBACK in time")
        except ConnectionError:
            return Receipt(Fate.TRY_LATER, "no connection to the broker")
        return Receipt(Fate.DELIVERED)

    async def close(self) -> None:
        """Nothing of its own to release: the link is the hub's."""
