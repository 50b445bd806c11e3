"""The hub's line to the broker: takes messages in, acknowledges them after the commit, sends acks, pushes and config.

A PUBACK leaves only when the writer gives a message's token back, and only on the connection it came by; everything
else is delivered again. When the writer's queue is full, nothing more is read: the broker, then the edges' outboxes
hold what waits. One paho client per connection: nothing half-sent survives into the next one, and the token of an
old connection leads nowhere.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import Any, NamedTuple

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from hub.core.foreign import NodeStatus, Report
from hub.intake.births import Births
from hub.intake.foreign import Listeners
from hub.intake.inbound import FOREIGN, Inbound
from hub.intake.sockets import ack_at_once, no_delay
from hub.intake.tls import TlsFiles, explain, make_context
from hub.usecases.presence import AckOf
from wire.errors import BadConfig, BadTopic, RemoteFault
from wire.messages import Ack, write
from wire.tls import explain_alert
from wire.topics import (
    CONFIG_ACK_FILTER,
    PRESENCE_FILTER,
    STATUS_FILTER,
    TELEMETRY_FILTER,
    edge_topic,
    parse_edge_topic,
)

FILTERS = ((PRESENCE_FILTER, 1), (STATUS_FILTER, 1), (TELEMETRY_FILTER, 0), (CONFIG_ACK_FILTER, 1))
"""What the hub hears of its own edges. They do not overlap: brokers deliver once per match."""

MAX_PENDING = 5_000
"""Own publishes without PUBACK; far below the 65,535 message ids of MQTT, and 5 MB of pushes."""

CONNECT_S = 3.0
"""Longest wait for a TCP connection: short enough that a stop within 10 s never waits for it."""

FIRST_PAUSE_S = 0.25
"""Upper end of the first pause before a new connection; doubles up to the setting, always with full jitter."""

_LOOP_S = 1.0  # longest sleep in select; every publish, PUBACK and stop ends it early
_ROOM_S = 0.05  # a full writer is asked again at least this often
_MAX_SOURCES_TOLD = 256

log = structlog.get_logger(__name__)


class LinkSettings(NamedTuple):
    """Where and as whom to connect. `tls` None: in clear."""

    host: str
    port: int
    client_id: str
    user: str | None = None
    password: str | None = None
    keepalive_s: int = 30
    reconnect_max_s: float = 15.0
    tls: TlsFiles | None = None


class _Connection:
    """One connection's life: its client, and who waits for its PUBACKs."""

    _DONE: Future[None] = Future()

    def __init__(self, client: paho.Client) -> None:
        self.client = client
        self.pending: dict[int, Future[None]] = {}
        self.closed = False
        self.accepted = False
        self.births = Births()

    def send(self, topic: str, payload: bytes, retain: bool) -> Future[None]:
        """Publish; see `MqttLink.send`. From any thread."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # a caller that gives up must not make paho's thread fail
        if self.closed or not self.accepted or len(self.pending) >= MAX_PENDING:
            future.set_exception(ConnectionError("not connected" if not self.accepted or self.closed else "congested"))
            return future
        info = self.client.publish(topic, payload, qos=1, retain=retain)
        # The PUBACK may come before the next line, in the other thread. Whoever is second completes the future.
        if self.pending.setdefault(info.mid, future) is self._DONE:
            del self.pending[info.mid]
            future.set_result(None)
        elif self.closed or info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._fail(info.mid)
        return future

    def acked(self, mid: int) -> None:
        """The broker has publish `mid`. No lock: paho holds its own here, and takes it in `publish` too."""
        future = self.pending.setdefault(mid, self._DONE)
        if future is not self._DONE:
            del self.pending[mid]
            future.set_result(None)

    def close(self) -> None:
        """Fail everything that still waits."""
        self.closed = True
        for mid in list(self.pending):
            self._fail(mid)

    def _fail(self, mid: int) -> None:
        future = self.pending.pop(mid, None)
        if future is not None and future is not self._DONE:
            future.set_exception(ConnectionError("connection lost before the broker acknowledged"))


class MqttLink:
    """Keeps one MQTT session alive in a thread of its own.

    Args:
        settings: where and as whom.
        offer: hands a message to the writer; False = its queue is full, ask again.
        now_ms: Unix ms, stamped on arrival.
        unit: random numbers in [0, 1), for the jitter.
        foreign: the listeners of another make to hear too.
    """

    def __init__(
        self,
        settings: LinkSettings,
        offer: Callable[[Inbound], bool],
        now_ms: Callable[[], int],
        unit: Callable[[], float],
        foreign: Listeners | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.ended: Future[None] = Future()
        self.ended.set_running_or_notify_cancel()  # nobody who watches can cancel it
        self._settings = settings
        self._offer = offer
        self._now_ms = now_ms
        self._unit = unit
        self._foreign = foreign
        self._filters = FILTERS if foreign is None else (*FILTERS, *foreign.filters)
        self._connection: _Connection | None = None
        self._parked: deque[Inbound] = deque()  # at most what one read of paho brings: about MAX_PENDING packets
        self._taking = True
        self._stopping = threading.Event()
        self._room = threading.Event()
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="mqtt-link", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and our subscriptions were sent."""
        connection = self._connection
        return connection is not None and connection.accepted and not connection.closed

    def start(self) -> None:
        """Start connecting; returns at once. `ended` completes when the thread does, with its exception if it died."""
        self._thread.start()

    def stop_intake(self) -> None:
        """Take no further message; what is read from now on is left to be delivered again. Sending goes on."""
        self._taking = False
        self._room.set()

    def release(self, tokens: Iterable[Any]) -> None:
        """PUBACK these messages: they are committed. Tokens of an older connection are ignored. From any thread."""
        for token in tokens:
            if token is None:
                continue
            connection, mid = token
            if connection.closed:
                self.counts["pubacks_stale"] += 1
            else:
                connection.client.ack(mid, 1)
        self._room.set()

    def send(self, topic: str, payload: bytes, retain: bool = False) -> Future[None]:
        """Publish with QoS 1; the future is done once the broker has it. From any thread; never blocks.

        The future fails with ConnectionError when there is no connection, it breaks, or `MAX_PENDING` wait already:
        the message may then have arrived or not.
        """
        connection = self._connection
        if connection is None:
            future: Future[None] = Future()
            future.set_exception(ConnectionError("not connected"))
            return future
        return connection.send(topic, payload, retain)

    async def publish(self, topic: str, payload: bytes, retain: bool) -> None:
        """`hub.ports.Publish`.

        Raises:
            ConnectionError: see `send`.
        """
        await asyncio.wrap_future(self.send(topic, payload, retain))

    def answer(self, acks: Iterable[AckOf]) -> None:
        """Tell edges what is committed. Unconnected, it is dropped and counted: edges ask again. From any thread."""
        for ack in acks:
            sent = self.send(edge_topic(ack.store, ack.edge, "ack"), write(Ack(v=1, boot=ack.boot, upto=ack.upto)))
            sent.add_done_callback(self._count_answer)

    def stop(self, timeout_s: float) -> None:
        """Wait for outstanding publishes, disconnect, end the thread: together at most about `timeout_s`."""
        connection = self._connection
        if connection is not None:
            wait(list(connection.pending.values()), timeout_s / 2)
        self._stopping.set()
        self._room.set()
        if connection is not None:
            connection.client.disconnect()  # from here only to wake the thread; it says goodbye itself
        if self._thread.ident is not None:
            self._thread.join(max(timeout_s / 2, CONNECT_S + _LOOP_S))

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            failures = 0
            while not self._stopping.is_set():
                accepted = self._one_connection()
                failures = 0 if accepted else min(failures + 1, 16)
                ceiling_s = min(self._settings.reconnect_max_s, FIRST_PAUSE_S * 2**failures)
                self._stopping.wait(self._unit() * ceiling_s)
        except BaseException as exc:  # whatever it is, the process must hear of it
            self.ended.set_exception(exc)
        else:
            self.ended.set_result(None)

    def _one_connection(self) -> bool:
        """Serve one connection until it breaks; whether the broker had accepted it."""
        connection = self._connection = self._make_connection()
        try:
            if self._settings.tls is not None:
                connection.client.tls_set_context(make_context(self._settings.tls))
            connection.client.connect(self._settings.host, self._settings.port, self._settings.keepalive_s)
            while not self._stopping.is_set():
                if self._turn(connection.client) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    break
            self._say_goodbye(connection.client)
        except (OSError, BadConfig) as exc:
            self.counts["connect_failures"] += 1
            self._unreachable(*explain(exc, self._settings.host, self._settings.tls))
        finally:
            connection.close()
            self._parked.clear()  # not acknowledged: the broker brings them again
            if self._foreign is not None:
                self._foreign.note_deafness()
        if connection.accepted:
            self._told.clear()
            log.info("broker_disconnected")
        return connection.accepted

    def _turn(self, client: paho.Client) -> MQTTErrorCode:
        if not self._parked:
            outcome = client.loop(_LOOP_S)
            ack_at_once(client.socket())
            return outcome
        self._room.clear()
        while self._parked and (not self._taking or self._offer(self._parked[0])):
            self._parked.popleft()
        if not self._parked:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        self.counts["stalls"] += 1
        self._room.wait(_ROOM_S)
        return client.loop_write() or client.loop_misc()

    def _say_goodbye(self, client: paho.Client) -> None:
        """Flush what is queued (the last PUBACKs, then DISCONNECT), which closes the socket."""
        client.disconnect()
        for _ in range(100):
            if client.socket() is None or client.loop(0.05) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return

    def _make_connection(self) -> _Connection:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=False,
            protocol=paho.MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages = MAX_PENDING
        client.max_queued_messages = MAX_PENDING
        if settings.user is not None:
            client.username_pw_set(settings.user, settings.password)
        connection = _Connection(client)
        client.on_connect = lambda _c, _u, _f, reason, _p: self._on_connect(connection, reason)
        client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self._on_subscribe(reasons)
        client.on_message = lambda _c, _u, message: self._on_message(connection, message)
        client.on_publish = lambda _c, _u, mid, _r, _p: connection.acked(mid)
        client.on_socket_open = no_delay
        client.on_log = lambda _c, _u, _level, text: self._on_log(text)
        # Without this, paho would write to the socket from whichever thread publishes, two at a time.
        client.on_socket_register_write = lambda _c, _u, _s: None
        return connection

    def _on_connect(self, connection: _Connection, reason: Any) -> None:
        if reason.is_failure:
            self.counts["connect_refused"] += 1
            self._log_once(f"refused {reason}", "broker_refused_us", reason=str(reason))
            return
        # Always, not only without a session: a newer version may listen to more.
        connection.client.subscribe(list(self._filters))
        connection.accepted = True
        self.counts["connections"] += 1
        log.info("broker_connected", host=self._settings.host, port=self._settings.port)

    def _on_subscribe(self, reasons: list[Any]) -> None:
        for (topic_filter, _), reason in zip(self._filters, reasons, strict=False):
            if reason.is_failure:
                log.error("subscription_refused", filter=topic_filter, hint="allow it in the broker's ACL")

    def _on_message(self, connection: _Connection, message: paho.MQTTMessage) -> None:
        if not self._taking:
            return
        token = (connection, message.mid) if message.qos else None
        try:
            if self._foreign is not None and self._foreign.claims(message.topic):
                self._on_foreign(self._foreign, message, token)
                return
            topic = parse_edge_topic(message.topic)
        except (BadTopic, UnicodeDecodeError) as exc:
            self.counts["bad_topics"] += 1
            self._log_once("bad topic", "bad_topic", reason=type(exc).__name__)
            self.release([token])
            return
        if message.retain and topic.leaf != "status":
            # Somebody published it retained, or a bridge made it so: an old event must never become an effect.
            self.counts["retained_ignored"] += 1
            self._log_once(f"retained {topic.edge}", "retained_message_ignored", edge=topic.edge, leaf=topic.leaf)
            self.release([token])
            return
        self.counts["messages"] += 1
        payload = bytes(message.payload)
        born = connection.births.note(topic.edge, payload) if topic.leaf == "status" and not message.retain else ()
        inbound = Inbound(*topic, payload, self._now_ms(), token, retained=message.retain, born=born)
        if self._parked or not self._offer(inbound):
            self._parked.append(inbound)

    def _on_foreign(self, foreign: Listeners, message: paho.MQTTMessage, token: Any) -> None:
        """A message of a foreign node. When the writer is busy, reports give way to what is acknowledged."""
        at_ms = self._now_ms()
        try:
            said = foreign.read(message.topic, bytes(message.payload), message.retain)
        except RemoteFault as exc:
            self._log_once(f"foreign {exc}", "foreign_message_unreadable", reason=str(exc))
            said = None
        if said is None or said.news is None:
            self.release([token])
        else:
            inbound = Inbound("", "", FOREIGN, b"", at_ms, token, said.news)
            if self._parked or not self._offer(inbound):
                if isinstance(said.news, Report):
                    foreign.counts["overrun"] += 1
                    foreign.note_gap(said.source)
                    self.release([token])
                    return
                self._parked.append(inbound)
        if said is None or message.retain:
            return
        if isinstance(said.news, NodeStatus) and not said.news.online:
            foreign.note_gap(said.source)
        else:
            foreign.note_life(said.source, at_ms)  # only now: whoever sees it must find the report before it

    def _on_log(self, text: str) -> None:
        """TLS 1.3 lets a broker refuse our certificate after the handshake; paho then tells only its log."""
        if told := explain_alert(text, self._settings.host):
            self._unreachable(*told)

    def _unreachable(self, word: str, reason: str) -> None:
        self._log_once(f"connect {word}", "broker_unreachable", fault=word, reason=reason)

    def _count_answer(self, sent: Future[None]) -> None:
        self.counts["acks_dropped" if sent.exception() else "acks_sent"] += 1

    def _log_once(self, source: str, event: str, **fields: Any) -> None:
        if source not in self._told and len(self._told) < _MAX_SOURCES_TOLD:
            self._told.add(source)
            log.warning(event, **fields)
