"""Hears what hub and rivals say, and when: acks, pushes, decisions."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench.clock import steady_s
from wire import topics
from wire.errors import LocalFault
from wire.messages import Ack, read

ACKS = f"{topics.ROOT}/+/+/+/ack"
PUSHES = f"{topics.ROOT}/app/+/push"

READY_S = 30.0
"""Longest wait for the broker to accept a connection and its subscriptions, s."""


class Listener:
    """One MQTT client. `upto` holds the highest ack per (edge, boot), `counts` messages per topic.

    `on_message(topic, payload, at_s)` is told of every message, on paho's thread, with `steady_s` at its arrival.
    """

    def __init__(
        self, port: int, client_id: str, *filters: str, on_message: Callable[[str, bytes, float], None] | None = None
    ) -> None:
        self.upto: dict[tuple[str, str], int] = {}
        self.counts: Counter[str] = Counter()
        self._also = on_message
        self._news = threading.Condition()
        ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        self._client.on_socket_open = _no_delay
        self._client.on_connect = lambda client, *_: client.subscribe([(one, 1) for one in filters]) and None
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        if not ready.wait(READY_S):
            raise LocalFault("the broker does not accept the benchmark's subscriptions")

    def wait(self, done: Callable[[], bool], what: str, within_s: float, check: Callable[[], None]) -> None:
        """Return when `done`, looked at with every message; `check` is called once a second meanwhile.

        Raises:
            LocalFault: not done after `within_s`; the text says `what` never came.
        """
        until_s = steady_s() + within_s
        with self._news:
            while not self._news.wait_for(done, 1.0):
                check()
                if steady_s() > until_s:
                    raise LocalFault(f"{what} did not come within {within_s:.0f} s")

    def answered(self, boot: str, last: Mapping[str, int]) -> bool:
        """Whether the hub has committed every edge's events of `boot`, up to `last[edge]`."""
        return all(self.upto.get((edge, boot), 0) >= seq for edge, seq in last.items())

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        at_s = steady_s()
        topic, payload = message.topic, bytes(message.payload)
        with self._news:
            if topic.endswith("/ack"):
                ack = read(Ack, payload)
                edge = topics.parse_edge_topic(topic).edge
                self.upto[edge, ack.boot] = max(ack.upto, self.upto.get((edge, ack.boot), 0))
                self.counts["ack"] += 1
            elif topic.endswith("/push"):
                self.counts["push"] += 1
            else:
                self.counts[topic.partition("/decision/")[0]] += 1
            if self._also is not None:
                self._also(topic, payload, at_s)
            self._news.notify_all()


def _no_delay(_client: paho.Client, _userdata: object, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
