"""The edge's line to the broker: publishes, hears acks and configuration. In a thread of its own.

One paho client per connection, so that nothing half-sent survives into the next: what counts as delivered is the
hub's `ack`, not the broker's PUBACK. The session is kept by the broker (`clean_session=False`).
"""

import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from edge.adapters.tls import TlsFiles, explain, make_context
from wire.errors import BadConfig
from wire.messages import Status, write
from wire.tls import explain_alert
from wire.topics import edge_topic

log = logging.getLogger("edge")

CONNECT_S = 3.0
"""Longest wait for a TCP connection, s: a stop within 10 s never waits for it."""

FIRST_PAUSE_S = 1.0
"""Upper end of the first pause before a new connection, s; doubles up to the setting, always with full jitter.

After a broker restart N edges connect at N per second at first: 300 edges are 30 in 100 ms, where 0.5 s would be 60.
"""

STEADY_MS = 5_000
"""A connection that was shorter counts as a failure, ms, so that the pause grows: two devices with one id that take
the session from each other, and a broker that dies at once, are then met every half minute, not every half second."""

KEEPALIVE_S = 30
"""MQTT keep-alive, s: the last will comes at most 45 s after a power cut."""

MAX_INFLIGHT = 20
"""QoS 1 messages without PUBACK: mosquitto's own default towards a client."""

_LOOP_S = 1.0  # longest sleep in select; every publish and stop ends it early


class LineSettings(NamedTuple):
    """Where and as whom to connect. `spread_s`: the first connection within this, at random. `tls` None: in clear."""

    host: str
    port: int
    user: str | None
    password: str | None
    spread_s: float
    reconnect_max_s: float
    tls: TlsFiles | None = None


class Listener(NamedTuple):
    """Who hears of it; called on the publisher's thread."""

    connected: Callable[[], None]
    disconnected: Callable[[], None]
    message: Callable[[str, bytes], None]  # leaf (ack | config), payload


class Publisher:
    """Keeps one MQTT session alive. `counts`: connections, reconnects, failures, retained_ignored.

    `unit` gives random numbers in [0, 1), `now_ms` a clock that only runs on.
    """

    def __init__(
        self,
        settings: LineSettings,
        store: str,
        edge: str,
        status: Status,
        listener: Listener,
        unit: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._settings, self._listener, self._unit, self._now_ms = settings, listener, unit, now_ms
        self._topic = {
            leaf: edge_topic(store, edge, leaf)
            for leaf in ("presence", "ack", "status", "telemetry", "config", "config/ack")
        }
        self._leaf = {self._topic[leaf]: leaf for leaf in ("ack", "config")}
        self._client_id = f"doorchime-{edge}"
        self._birth, self._will = write(status), write(status.model_copy(update={"state": "offline"}))
        self._stopping = threading.Event()
        self._client: paho.Client | None = None
        self._accepted = False
        self._told: set[str] = set()  # fixed words: few
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{edge}", daemon=True)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()

    def send(self, leaf: str, payload: bytes, qos: int = 1) -> bool:
        """Hand a payload to MQTT; False when there is no connection. From any thread; never blocks."""
        client = self._client
        if client is None or not self._accepted:
            return False
        return client.publish(self._topic[leaf], payload, qos).rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def knock(self) -> None:
        """Say the birth again: the hub answers it with an ack, if it is there."""
        client = self._client
        if client is not None and self._accepted:
            client.publish(self._topic["status"], self._birth, 1, retain=True)

    def stop(self, timeout_s: float = 3.0) -> None:
        """Say goodbye (status offline), flush, disconnect; at most about `timeout_s`."""
        self._stopping.set()
        client = self._client
        if client is not None and self._accepted:
            client.publish(self._topic["status"], self._will, 1, retain=True)  # also wakes the thread
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        self._stopping.wait(self._unit() * self._settings.spread_s)
        failures = 0
        while not self._stopping.is_set():
            failures = 0 if self._steady_connection() else min(failures + 1, 16)
            ceiling_s = min(self._settings.reconnect_max_s, FIRST_PAUSE_S * 2**failures)
            self._stopping.wait(self._unit() * ceiling_s)

    def _steady_connection(self) -> bool:
        began_ms = self._now_ms()
        return self._one_connection() and self._now_ms() - began_ms >= STEADY_MS

    def _one_connection(self) -> bool:
        """Serve one connection until it breaks; whether the broker had accepted it."""
        client = self._client = self._make_client()
        accepted = False
        try:
            if self._settings.tls is not None:
                client.tls_set_context(make_context(self._settings.tls))
            client.connect(self._settings.host, self._settings.port, KEEPALIVE_S)
            while not self._stopping.is_set() and client.loop(_LOOP_S) == MQTTErrorCode.MQTT_ERR_SUCCESS:
                _ack_at_once(client.socket())
            if self._stopping.is_set():
                self._say_goodbye(client)
        except (OSError, BadConfig) as exc:
            self.counts["failures"] += 1
            self._tell(*explain(exc, self._settings.host, self._settings.tls))
        finally:
            accepted, self._accepted, self._client = self._accepted, False, None
            client.on_message = None
        if accepted:
            self._listener.disconnected()
        return accepted

    def _say_goodbye(self, client: paho.Client) -> None:
        for _ in range(20):  # flush what is queued, the status last
            if client.loop(0.05) != MQTTErrorCode.MQTT_ERR_SUCCESS or not client.want_write():
                break
        client.disconnect()
        for _ in range(20):
            if client.socket() is None or client.loop(0.05) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return

    def _make_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=False,
            protocol=paho.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(MAX_INFLIGHT)
        client.max_queued_messages_set(2 * MAX_INFLIGHT)
        client.will_set(self._topic["status"], self._will, 1, retain=True)
        if self._settings.user is not None:
            client.username_pw_set(self._settings.user, self._settings.password)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_socket_open = _no_delay
        client.on_log = self._on_log
        # Without this, paho would write to the socket from whichever thread publishes, two at a time.
        client.on_socket_register_write = lambda _c, _u, _s: None
        return client

    def _on_connect(self, client: paho.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.counts["failures"] += 1
            self._tell(f"refused {reason}", f"{self._settings.host} refused us: {reason}")
            return
        self._told.clear()
        client.subscribe([(topic, 1) for topic in self._leaf])
        client.publish(self._topic["status"], self._birth, 1, retain=True)
        if self.counts["connections"]:
            self.counts["reconnects"] += 1
        self.counts["connections"] += 1
        self._accepted = True
        self._listener.connected()

    def _on_log(self, _client: paho.Client, _userdata: Any, _level: int, text: str) -> None:
        """TLS 1.3 lets a broker refuse our certificate after the handshake; paho then tells only its log."""
        told = explain_alert(text, self._settings.host)
        if told is not None:
            self._tell(*told)

    def _tell(self, word: str, reason: str) -> None:
        """Log a reason once, until a connection succeeds."""
        if word not in self._told:
            self._told.add(word)
            log.warning("broker unreachable", extra={"fields": {"fault": word, "reason": reason}})

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        leaf = self._leaf.get(message.topic)
        if leaf == "ack" and message.retain:
            # No ack is ever retained by us. One that was kept may speak of commits that a restored hub no longer has.
            self.counts["retained_ignored"] += 1
        elif leaf is not None:
            self._listener.message(leaf, bytes(message.payload))


def _no_delay(_client: paho.Client, _userdata: Any, sock: Any) -> None:
    """Nagle's algorithm and delayed ACKs together were measured to cost nine times the median latency."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _ack_at_once(sock: Any) -> None:
    """Have the kernel acknowledge what was read now, not within 40 ms. It forgets: said after every read.

    A broker that leaves Nagle's algorithm on (the embedded one does) holds its next packet back until then: with four
    edges the median way through it was measured to fall from 17 ms to 0.4 ms.
    """
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
