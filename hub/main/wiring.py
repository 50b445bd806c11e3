"""What is wired to what: the one place that knows every part of the hub."""

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI

from hub.api.app import AppContext, create_app
from hub.api.deps import Enrolling, Health
from hub.config import HubConfig, read_password, read_secret
from hub.core.foreign import beacon_of
from hub.core.identity import fingerprint
from hub.intake.broker import Broker, EmbeddedBroker, ExternalBroker
from hub.intake.foreign import Listeners, Ours
from hub.intake.mqtt import LinkSettings, MqttLink
from hub.intake.stream import Stream
from hub.intake.tls import TlsFiles, check_server, make_context
from hub.intake.writer import GroupWriter
from hub.main.authority import authority_of, load_authority
from hub.main.broker_files import BrokerFiles
from hub.main.clock import NewUlid, PacedClock, SystemClock
from hub.ports import Channel, Clock, Store
from hub.push.mqtt import MqttChannel
from hub.push.worker import PushWorker
from hub.stores import open_store
from hub.usecases import seal
from hub.usecases.arrivals import Effects, Rules
from hub.usecases.presence import AckOf
from wire.errors import BadConfig

log = structlog.get_logger("hub")


@dataclass(slots=True)
class Hub:
    """Every part, wired and not yet started. `hub.main.serving.serve` runs it."""

    config: HubConfig
    clock: Clock
    store: Store
    broker: Broker
    link: MqttLink
    writer: GroupWriter
    writer_ended: "Future[None]"
    worker: PushWorker
    channels: Mapping[str, Channel]
    stream: Stream
    api: FastAPI
    broker_files: BrokerFiles | None


class AfterCommit:
    """What a commit sets off. See `hub.intake.round.After`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._link: MqttLink | None = None
        self._wake: Callable[[], None] = lambda: None

    def connect(self, link: MqttLink, worker: PushWorker) -> None:
        """Name those who are told; they need the writer themselves, so they come after it."""
        self._link, self._wake = link, worker.wake

    def committed(self, tokens: Sequence[Any], acks: Sequence[AckOf], effects: Effects) -> None:
        """PUBACK, answer edges, wake the push worker, tell whoever watches. On the writer's thread."""
        if self._link is not None:
            self._link.answer(acks)
            self._link.release(tokens)
        if effects.pushes:
            self._wake()
        for note in effects.notes:
            self._stream.notify(note)

    def troubled(self, reason: str) -> None:
        """Tell whoever watches that the store cannot commit, or can again. On the writer's thread."""
        self._stream.notify({"type": "alarm", "reason": "store_refuses" if reason else "store_recovered"})


def build(
    config: HubConfig,
    *,
    store: Store | None = None,
    channels: Mapping[str, Channel] | None = None,
    clock: Clock | None = None,
    embedded_broker: bool = False,
) -> Hub:
    """Wire a hub; nothing runs yet. The store is migrated.

    Raises:
        BadConfig: a file that the settings name cannot be used.
        StoreFault: the store cannot be opened or is newer than this program.
    """
    secret = read_secret(config.secret_file)
    clock = clock or clock_of(config)
    new_id = NewUlid(clock)
    store = store or open_store(config.database)
    for name in store.migrate():
        log.info("migrated", migration=name)
    check_secret(config, store, secret, clock)
    rules = rules_of(config, secret, clock.now_ms())
    unit = random.SystemRandom().random
    stream = Stream()
    after = AfterCommit(stream)
    writer_ended: Future[None] = Future()
    writer_ended.set_running_or_notify_cancel()  # nobody who watches can cancel it
    listeners = listeners_of(config)
    writer = GroupWriter(
        store, clock, new_id, rules, after,
        queue_max=config.queue_max, lives=listeners.lives, on_fault=writer_ended.set_exception,
    )  # fmt: skip
    link = MqttLink(link_settings(config), writer.offer, clock.now_ms, unit, listeners)
    ways = {"mqtt": MqttChannel(link.publish, config.push_timeout_s)} if channels is None else channels
    worker = PushWorker(
        writer, ways, config.tenant, clock, unit,
        notify=stream.notify, parallel=config.push_parallel, timeout_s=config.push_timeout_s,
    )  # fmt: skip
    after.connect(link, worker)
    broker_files, enrolling = enrolment_of(config, store, clock)
    make = EmbeddedBroker if embedded_broker else ExternalBroker
    return Hub(
        config=config,
        clock=clock,
        store=store,
        broker=make(host=config.broker_host, port=config.broker_port),
        link=link,
        writer=writer,
        writer_ended=writer_ended,
        worker=worker,
        channels=ways,
        stream=stream,
        api=create_app(
            AppContext(
                store=store,
                writer=writer,
                clock=clock,
                new_id=new_id,
                rules=rules,
                prefix=config.prefixes[0] if config.prefixes else None,
                random_bytes=secrets.token_bytes,
                watch=stream.watch,
                notify=stream.notify,
                health=lambda: health_of(clock, writer, link, worker, stream, listeners),
                enrolling=enrolling,
            )
        ),
        broker_files=broker_files,
    )


def enrolment_of(config: HubConfig, store: Store, clock: Clock) -> tuple[BrokerFiles | None, Enrolling | None]:
    """Who keeps the broker's files, and what the API needs to enrol edges; each None where it is not set up.

    Raises:
        BadConfig: the CA cannot be used, or is missing where `broker_dir` needs it.
    """
    authority = authority_of(config)
    broker_files = None
    if config.broker_dir is not None:
        known = authority or load_authority(config.ca_folder)
        broker_files = BrokerFiles(config, config.broker_dir, known, store, clock, secrets.token_bytes)
    if authority is None or config.edge_url is None:
        return broker_files, None
    changed = broker_files.changed if broker_files is not None else lambda: None
    return broker_files, Enrolling(authority, config.edge_url, config.prefixes, changed)


def health_of(
    clock: Clock, writer: GroupWriter, link: MqttLink, worker: PushWorker, stream: Stream, listeners: Listeners
) -> Health:
    """How the parts are, in numbers."""
    age_ms = clock.now_ms() - writer.last_commit_ms
    parts = {
        "writer": writer.counters,
        "mqtt": link.counts,
        "push": worker.counts,
        "stream": stream.counts,
        "foreign": listeners.counts,
    }
    return Health(
        commit_age_ms=age_ms,
        broker_connected=link.connected,
        waiting=writer.waiting,
        counters={f"{part}_{name}": float(n) for part, counts in parts.items() for name, n in counts.items()},
        gauges={
            "last_commit_age_seconds": age_ms / 1000,
            "broker_connected": float(link.connected),
            "writer_waiting": float(writer.waiting),
        },
        trouble=writer.trouble,
    )


def clock_of(config: HubConfig) -> Clock:
    """The machine's clock, or the time of a rehearsal."""
    return SystemClock() if config.pace_file is None else PacedClock(config.pace_file, config.pace_slot)


def check_secret(config: HubConfig, store: Store, secret: bytes, clock: Clock) -> None:
    """Refuse a secret that the people of this database are not hashed with.

    Raises:
        BadConfig: it is another one.
    """
    with store.write() as tx:
        fits = seal.fits(tx, config.tenant, fingerprint(secret), clock.now_ms())
    if not fits:
        raise BadConfig(
            f"secret_file {config.secret_file}: the people of this database are hashed with another secret, and would "
            "all be strangers; put the file back that belongs to the database"
        )


def rules_of(config: HubConfig, secret: bytes, started_at_ms: int) -> Rules:
    """The settings that use cases need, in a process that began at `started_at_ms`."""
    return Rules(
        tenant=config.tenant,
        hmac_key=secret,
        grace_ms=config.visit_grace_s * 1000,
        hold_ms=config.lock_hold_s * 1000,
        late_ms=config.late_push_s * 1000,
        quarantine_max=config.quarantine_max,
        foreign_enter_dbm=config.foreign_enter_dbm,
        started_at_ms=started_at_ms,
    )


def listeners_of(config: HubConfig) -> Listeners:
    """The listeners of another make to hear; none unless the settings name their topics."""
    ours = Ours(
        prefixes=tuple(bytes.fromhex(prefix) for prefix in config.prefixes),
        aliases={alias: beacon_of(beacon) for alias, beacon in config.foreign_aliases.items()},
    )
    return Listeners(config.foreign_topics, ours)


def link_settings(config: HubConfig) -> LinkSettings:
    """Where the MQTT link connects, and as whom."""
    return LinkSettings(
        host=config.broker_host,
        port=config.broker_port,
        client_id=config.client_id,
        user=config.broker_user,
        password=read_password(config.broker_password_file),
        keepalive_s=config.keepalive_s,
        reconnect_max_s=config.reconnect_max_s,
        tls=tls_files(config),
    )


def tls_files(config: HubConfig) -> TlsFiles | None:
    """The files of the line to the broker, tried, as is the API's certificate; None when that line is not TLS.

    Raises:
        BadConfig: one of them cannot be used.
    """
    check_server(config.tls_cert_file, config.tls_key_file)
    if not config.broker_tls:
        return None
    files = TlsFiles(config.broker_ca_file, config.broker_cert_file, config.broker_key_file)
    make_context(files)
    return files
