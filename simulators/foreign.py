"""Listeners of another make without hardware: what scanners heard, told as ESPresense or Theengs Gateway tell it.

For recordings that hold such reports rather than advertisements: each sighting becomes one message. A node is an MQTT
client of its own, with birth, last will and, for ESPresense, telemetry as a sign of life.
"""

import asyncio
import json
import math
import threading
from collections import Counter, deque
from typing import Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from simulators import clock
from simulators.tempo import Tempo
from wire.errors import BadFrame, LocalFault
from wire.ibeacon import MANUFACTURER_AD_TYPE, Beacon, decode_ad, format_uuid
from wire.messages import Telemetry
from wire.trace import Frame

TELEMETRY_MS = 15_000
"""How often an ESPresense node sends its telemetry, ms."""

SKIP_MS = 5_000
"""How often a node tells of a device that stands still, ms. Sightings of a recording are told as they were."""

CONNECT_S = 30.0
"""Longest wait for a node's connection, s."""

ECHO_S = 5.0
"""A message not heard again after this was lost by the broker, real s: QoS 0."""

KINDS = ("espresense", "theengs")


class Told(NamedTuple):
    """One MQTT message; QoS 0."""

    topic: str
    payload: bytes


def node_of(kind: str, name: str) -> str:
    """The node's name, as the hub wants it in the `source` of an edge."""
    return name if kind == "espresense" else f"home/{name}"


def status_topic(kind: str, name: str) -> str:
    """Where a node says that it is there, and its last will that it is not."""
    return f"espresense/rooms/{name}/status" if kind == "espresense" else f"home/{name}/LWT"


def telemetry(name: str, up_s: int) -> Told:
    """What an ESPresense node says of itself."""
    body = {"ip": "127.0.0.1", "uptime": up_s, "firm": "esp32", "rssi": -60, "ver": "simulated", "count": 0}
    return Told(f"espresense/rooms/{name}/telemetry", json.dumps(body).encode())


def report(kind: str, name: str, frame: Frame) -> Told:
    """What a node says of a frame that it heard: with the address, and of everybody, as these makes do."""
    adv = bytes.fromhex(frame.adv)
    address = frame.address.replace(":", "").lower().rjust(12, "0")
    try:
        beacon = decode_ad(adv)
    except BadFrame:
        beacon = None
    told = _espresense if kind == "espresense" else _theengs
    return told(name, address, round(frame.rssi_dbm, 2), beacon, _manufacturer_data(adv))


def _espresense(name: str, address: str, rssi_dbm: float, beacon: Beacon | None, data: bytes) -> Told:
    if beacon is not None:
        device = f"iBeacon:{format_uuid(beacon.uuid)}-{beacon.major}-{beacon.minor}"
    elif data[:2] == b"\x4c\x00":
        device = f"apple:{data[2:4].hex()}:{len(data)}"
    else:
        device = f"md:{data[1::-1].hex()}:{len(data)}"
    power_dbm = beacon.power_dbm if beacon is not None else -65
    body: dict[str, Any] = {
        "mac": address,
        "id": device,
        "rssi@1m": power_dbm,
        "rssi": rssi_dbm,
        "rxAdj": 0,
        "rssiVar": 3.1,
        "distance": round(math.pow(10, (power_dbm - rssi_dbm) / 27), 2),  # its path-loss exponent is 2.7
        "var": 0.12,
        "int": 500,
    }
    return Told(f"espresense/devices/{device}/{name}", json.dumps(body).encode())


def _theengs(name: str, address: str, rssi_dbm: float, beacon: Beacon | None, data: bytes) -> Told:
    spelled = ":".join(address[place : place + 2] for place in range(0, 12, 2)).upper()
    body: dict[str, Any] = {"id": spelled, "rssi": round(rssi_dbm)}
    if beacon is not None:
        body |= {
            "brand": "GENERIC", "model": "iBeacon", "model_id": "IBEACON", "type": "BCON", "mfid": "4c00",
            "uuid": beacon.uuid.hex(), "major": _signed(beacon.major), "minor": _signed(beacon.minor),
            "txpower": beacon.power_dbm,
        }  # fmt: skip
    else:
        body["manufacturerdata"] = data.hex()
    return Told(f"home/{name}/BTtoMQTT/{address.upper()}", json.dumps(body).encode())


def _signed(number: int) -> int:
    """As its decoder has it."""
    return number - 0x10000 if number >= 0x8000 else number


def _manufacturer_data(adv: bytes) -> bytes:
    """The first such structure, company included; empty where there is none."""
    at = 0
    while at + 1 < len(adv) and adv[at]:
        if adv[at + 1] == MANUFACTURER_AD_TYPE:
            return adv[at + 2 : at + 1 + adv[at]]
        at += 1 + adv[at]
    return b""


class Nodes:
    """Nodes of one kind on a broker, by name; takes frames where real edges would hear them from a `Feed`.

    `counts`: sent (messages about devices), unheard (no such node, or it is not connected). `prefix`: of our fleet.
    """

    def __init__(self, kind: str, names: list[str], broker: tuple[str, int], prefix: str, tempo: Tempo) -> None:
        self.kind = kind
        self.counts: Counter[str] = Counter()
        self._broker, self._prefix, self._tempo = broker, bytes.fromhex(prefix), tempo
        self._nodes = {name: _Node(kind, name) for name in names}
        self._next_ms: dict[tuple[str, str], int] = {}
        self._echo = _Echo(tempo) if tempo.file is not None else None

    async def start(self) -> None:
        """Connect every node.

        Raises:
            LocalFault: the broker does not answer.
        """
        if self._echo is not None:
            self._echo.connect(self._broker)
        for node in self._nodes.values():
            node.connect(self._broker)
        waiting = [self._echo.ready] if self._echo is not None else []
        for one in [*waiting, *(node.ready for node in self._nodes.values())]:
            if not await asyncio.to_thread(one.wait, CONNECT_S):
                raise LocalFault("a simulated node could not connect to the broker")

    async def wait_for(self, scanners: set[str]) -> None:
        """Return when all of these listen: `start` has seen to it."""
        missing = scanners - self._nodes.keys()
        if missing:
            raise LocalFault(f"there is no simulated node {min(missing)}")

    def send(self, frame: Frame) -> bool:
        """One frame to the node it names, which tells of it; False when nobody did."""
        node = self._nodes.get(frame.scanner)
        if node is None or not node.ready.is_set():
            self.counts["unheard"] += 1
            return False
        told = report(self.kind, frame.scanner, frame)
        ours = bytes.fromhex(frame.adv)[6 : 6 + len(self._prefix)] == self._prefix
        now_ms = self._tempo.now_ms()
        if not ours and self._told_lately(frame.scanner, told.topic, now_ms):
            return False
        if self.kind == "espresense" and not self._told_lately(frame.scanner, "", now_ms, TELEMETRY_MS):
            node.say(telemetry(frame.scanner, 60))
        node.counts["adverts_heard"] += 1
        node.counts["events_published" if ours else "adverts_dropped_private"] += 1
        self.counts["sent"] += 1
        if self._echo is not None and ours:
            self._echo.expect(told.topic, now_ms)
        return node.say(told)

    def telemetry(self) -> dict[str, Telemetry]:
        """What each node has told so far, in the terms of our own edges: for a table that shows both."""
        return {
            name: Telemetry(v=1, edge=name, boot="none", mono_ms=0, health="ok", counters=dict(node.counts), gauges={})
            for name, node in self._nodes.items()
        }

    async def stop(self) -> None:
        """Say goodbye."""
        for node in self._nodes.values():
            await asyncio.to_thread(node.close)
        if self._echo is not None:
            await asyncio.to_thread(self._echo.close)

    def _told_lately(self, name: str, topic: str, now_ms: int, every_ms: int = SKIP_MS) -> bool:
        """Whether a node has told of it within `every_ms`; otherwise it does now."""
        if now_ms < self._next_ms.get((name, topic), 0):
            return True
        self._next_ms[name, topic] = now_ms + every_ms
        return False


class _Node:
    """One node's line to the broker."""

    def __init__(self, kind: str, name: str) -> None:
        self.counts: Counter[str] = Counter(adverts_heard=0, adverts_dropped_private=0, events_published=0)
        self.ready = threading.Event()
        self._status = status_topic(kind, name)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{kind}-{name}")
        self._client.will_set(self._status, b"offline", qos=0, retain=True)
        self._client.on_connect = self._on_connect

    def connect(self, broker: tuple[str, int]) -> None:
        """Begin connecting."""
        self._client.connect_async(*broker)
        self._client.loop_start()

    def say(self, told: Told) -> bool:
        """Publish; False when it cannot leave."""
        return bool(self._client.publish(told.topic, told.payload, qos=0).rc == paho.MQTT_ERR_SUCCESS)

    def close(self) -> None:
        """As it goes when it is switched off in order."""
        if self.ready.is_set():
            self._client.publish(self._status, b"offline", qos=0, retain=True)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.publish(self._status, b"online", qos=0, retain=True)
        self.ready.set()


class _Echo:
    """Hears the nodes' own messages again, so that a fast run is never faster than the broker carries them."""

    def __init__(self, tempo: Tempo) -> None:
        self.ready = threading.Event()
        self._tempo = tempo
        self._lock = threading.Lock()
        self._under_way: deque[tuple[str, int, float]] = deque()  # topic, sent: virtual ms and real s
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="echo")
        self._client.on_connect = lambda client, *_: client.subscribe([("espresense/#", 0), ("home/#", 0)])
        self._client.on_subscribe = lambda *_: self.ready.set()
        self._client.on_message = lambda _c, _u, message: self._on_message(message.topic)

    def connect(self, broker: tuple[str, int]) -> None:
        self._client.connect_async(*broker)
        self._client.loop_start()

    def expect(self, topic: str, at_ms: int) -> None:
        """A message goes out; says how long the oldest has been under way."""
        now_s = clock.steady_s()
        with self._lock:
            while self._under_way and self._under_way[0][2] < now_s - ECHO_S:
                self._under_way.popleft()
            self._under_way.append((topic, at_ms, now_s))
            oldest_ms = self._under_way[0][1]
        self._tempo.behind(at_ms - oldest_ms)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, topic: str) -> None:
        with self._lock:
            place = next((n for n, one in enumerate(self._under_way) if one[0] == topic), None)
            if place is None:
                return
            at_ms = self._under_way[place][1]
            del self._under_way[place]
        self._tempo.behind(self._tempo.now_ms() - at_ms)
