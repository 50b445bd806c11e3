"""A shopper's phone: enrols over HTTP, answers the consent screen, advertises, receives its push, shows its code."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from simulators import clock
from wire.curve import read_curve, value_bp
from wire.errors import RemoteFault
from wire.ibeacon import Beacon, parse_uuid
from wire.messages import BeaconKey, Push, read

NOTICE = {"notice": "welcome@1", "notice_sha256": "0" * 64, "method": "app_screen"}
"""The consent text that simulated people are shown."""

EVERYTHING = ("presence_detection", "personalised_offers", "marketing_push")


class Received(NamedTuple):
    """A push as it came; `steady_ns` is real time, for latencies."""

    push: Push
    received_at_ms: int
    steady_ns: int


@dataclass
class Phone:
    """`now_ms` is Unix ms; pushes arrive on paho's thread and are kept in `received`, by grant."""

    name: str
    now_ms: Callable[[], int]
    device: str = ""
    profile: str = ""
    key: str = ""
    beacon: Beacon | None = None
    received: dict[str, Received] = field(default_factory=dict)
    wallet: dict[str, Push] = field(default_factory=dict)
    repeats: int = 0
    _topic: str = ""
    _client: paho.Client | None = None
    _listening: threading.Event = field(default_factory=threading.Event)

    async def enrol(self, http: httpx.AsyncClient, app_key: str, consents: dict[str, bool], locale: str) -> None:
        """Join, and answer what was asked; an empty `consents` answers nothing."""
        asked = {"locale": locale, "tz": "UTC", "beacon": None, "channel": "mqtt", "os_permission": True}
        reply = await http.post("/v1/devices", json=asked, headers={"Authorization": f"Bearer {app_key}"})
        reply.raise_for_status()
        mine = reply.json()
        self.device, self.profile, self.key = mine["device"], mine["profile"], mine["key"]
        self._topic = mine["push_topic"]
        key = BeaconKey(**mine["beacon"])
        self.beacon = Beacon(parse_uuid(key.uuid), key.major, key.minor, -59)
        if consents:
            await self.consent(http, consents)

    async def consent(self, http: httpx.AsyncClient, purposes: dict[str, bool]) -> None:
        """Answer the consent screen."""
        headers = {"Authorization": f"Bearer {self.key}"}
        reply = await http.put("/v1/consents", json={"purposes": purposes, **NOTICE}, headers=headers)
        reply.raise_for_status()

    async def read_wallet(self, http: httpx.AsyncClient) -> None:
        """Ask the hub for the open offers: `wallet`, by grant. What was pushed may have been lost on the way."""
        reply = await http.get("/v1/offers", headers={"Authorization": f"Bearer {self.key}"})
        reply.raise_for_status()
        self.wallet = {
            one["grant"]: Push(v=1, **{name: one[name] for name in Push.model_fields if name != "v"})
            for one in reply.json()["items"]
        }

    def listen(self, host: str, port: int) -> None:
        """Connect to the broker; pushes arrive from now on, those sent while it was away included."""
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"phone-{self.device}", clean_session=False)
        client.on_connect = lambda c, *_: c.subscribe(self._topic, 1)
        client.on_subscribe = lambda *_: self._listening.set()
        client.on_message = lambda _c, _u, message: self._on_push(bytes(message.payload))
        client.connect_async(host, port)
        client.loop_start()
        self._client = client

    def wait_listening(self, timeout_s: float) -> bool:
        """Whether the subscription stands within the time."""
        return self._listening.wait(timeout_s)

    def hang_up(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def best(self, at_ms: int) -> Push | None:
        """The offer that shows the most at `at_ms`, of those not over."""
        alive = [one.push for one in list(self.received.values()) if at_ms <= one.push.expires_at_ms]
        return max(alive, key=lambda push: shown_bp(push, at_ms), default=None)

    def newest(self) -> Push | None:
        """The offer that came last, over or not."""
        found = list(self.received.values())
        return max(found, key=lambda one: one.received_at_ms).push if found else None

    def records(self) -> list[dict[str, Any]]:
        """What `hub audit --witness` compares with the store."""
        return [
            {
                "device": self.device,
                "grant": grant,
                "received_at_ms": one.received_at_ms,
                "curve": one.push.curve,
            }
            for grant, one in self.received.items()
        ]

    def _on_push(self, payload: bytes) -> None:
        at_ms, steady_ns = self.now_ms(), clock.steady_ns()
        try:
            push = read(Push, payload)
        except RemoteFault:
            return
        if push.grant in self.received:
            self.repeats += 1  # the grant is the collapse key: one offer is shown once
        else:
            self.received[push.grant] = Received(push, at_ms, steady_ns)


def shown_bp(push: Push, at_ms: int) -> int:
    """What the phone shows at `at_ms`, basis points, before any arrival lock."""
    return value_bp(read_curve(push.curve), at_ms - push.issued_at_ms)
