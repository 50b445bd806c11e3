"""One scanner's life: next advertisement or next deadline → facts → outbox on disk → hub. One loop, one task each.

Scanning never waits for the network or the disk: advertisements are taken on the loop, the outbox lives in a thread of
its own, MQTT in another.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from edge.adapters.clocks import Clocks
from edge.adapters.outbox import Outbox
from edge.adapters.publisher import Listener, Publisher
from edge.adapters.scanner import Heard, Scanner
from edge.adapters.spool import Boot
from edge.adapters.system import software_version
from edge.config import EdgeConfig
from edge.core.health import HOLD_MS, RadioHealth, Verdict
from edge.core.outbox import as_event, sample_interval_ms
from edge.core.presence import Fact, PresenceEngine
from edge.core.sender import BootSpan, Send, Sender
from wire.errors import BadConfig, BadMessage, LocalFault
from wire.messages import Ack, ConfigAck, Presence, Status, Telemetry, read, write
from wire.messages import EdgeConfig as EdgeConfigMessage

T = TypeVar("T")

INBOX_MAX = 10_000
"""Advertisements waiting for the loop: 10 s of a crowded shop while the disk stalls. The oldest go, and are counted."""

FLUSH_S = 5.0
"""Longest time at the end for what is in the outbox to reach the hub, s: exit within 10 s of SIGTERM."""

log = logging.getLogger("edge")


@dataclass(frozen=True, slots=True)
class Parts:
    """What `edge.main` wires together. `scanner` and `publisher` are made from callbacks of the agent."""

    clocks: Clocks
    spool: Callable[[], Outbox]
    scanner: Callable[[Callable[[Heard], None], Callable[[], None]], Scanner]
    publisher: Callable[[Status, Listener], Publisher]
    unit: Callable[[], float]
    boot: str


class Agent:
    """Runs one edge; `run` until `stop`."""

    def __init__(self, config: EdgeConfig, parts: Parts) -> None:
        self.config = config
        self._parts, self._clocks = parts, parts.clocks
        self._disk = ThreadPoolExecutor(1, thread_name_prefix=f"outbox-{config.edge}")
        self._engine = PresenceEngine(config.gates)
        self._sender = Sender(parts.unit)
        self._health = RadioHealth(config.silent_radio_s * 1000, min(HOLD_MS, config.exit_silence_s * 500))
        self._inbox: deque[tuple[Heard, int]] = deque()
        self._orders: deque[Callable[[], Any]] = deque()
        self._stir = asyncio.Event()
        self._stopping = False
        self._alive_at_ms: int | None = None
        self._overflow = self._told_ms = 0
        self._progress_ms = 0  # when nothing was unanswered, or something was answered
        self._config_version = 0
        self._spans: list[Boot] = []
        self._covered: dict[str, int] = {}  # boot → what the hub holds, not yet deleted here
        self._logged: set[str] = set()

    async def run(self) -> None:
        """Scan and publish until stopped; then flush, say goodbye, release.

        Raises:
            LocalFault: the outbox can never be used as things are, or the radio is not there at all.
        """
        self._loop = asyncio.get_running_loop()
        config, boot = self.config, self._parts.boot
        self._spool = await self._on_disk(self._parts.spool)
        if self._spool.corrupt is not None:
            log.error("outbox was damaged and moved aside", extra={"fields": {"file": str(self._spool.corrupt)}})
        await self._on_disk(lambda: self._spool.begin(boot, self._clocks.stamp(), self._clocks.boot_ms()))
        await self._refresh()
        self._scanner = self._parts.scanner(self._heard, self._alive)
        status = Status(v=1, edge=config.edge, boot=boot, state="online", version=software_version())
        self._publisher = self._parts.publisher(status, self._listener())
        self._next_telemetry_ms = self._clocks.steady_ms() + int(config.telemetry_s * 1000)
        try:
            await self._scanner.start()
            self._health.started(self._clocks.boot_ms())
            self._publisher.start()
            log.info("scanning", extra={"fields": {"edge": config.edge, "radio": config.radio.split(":")[0]}})
            while not self._stopping:
                self._stir.clear()
                await self._turn()
                await self._rest()
            await self._scanner.stop()
            await self._flush()
        finally:
            await self._scanner.stop()
            await asyncio.to_thread(self._publisher.stop)
            await self._on_disk(self._spool.close)
            self._disk.shutdown()
            log.info("stopped", extra={"fields": {"edge": config.edge}})

    def stop(self) -> None:
        """Ask `run` to end. From the loop's thread."""
        self._stopping = True
        self._stir.set()

    # -- what wakes the loop -----------------------------------------------------------------------------------

    def _heard(self, heard: Heard) -> None:
        if len(self._inbox) >= INBOX_MAX:
            self._inbox.popleft()
            self._overflow += 1
        self._inbox.append((heard, self._clocks.boot_ms()))
        self._stir.set()

    def _alive(self) -> None:
        self._alive_at_ms = self._clocks.boot_ms()
        if self._health.uneasy:
            self._stir.set()

    def _listener(self) -> Listener:
        """Callbacks of the publisher's thread, carried over to the loop."""

        def order(act: Callable[[], Any]) -> None:
            try:
                self._loop.call_soon_threadsafe(self._take_order, act)
            except RuntimeError:
                return  # the loop has ended

        return Listener(
            connected=lambda: order(lambda: self._sender.connected(self._clocks.steady_ms())),
            disconnected=lambda: order(self._sender.disconnected),
            message=lambda leaf, payload: order(
                lambda: self._on_ack(payload) if leaf == "ack" else self._on_config(payload)
            ),
        )

    def _take_order(self, act: Callable[[], Any]) -> None:
        self._orders.append(act)
        self._stir.set()

    # -- one turn ----------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        while self._orders:
            self._orders.popleft()()
        now_ms = self._clocks.boot_ms()
        facts: list[Fact] = []
        if self._inbox:
            self._clocks.behind(now_ms - self._inbox[0][1])
        while self._inbox:
            heard, at_ms = self._inbox.popleft()
            facts += self._engine.hear(heard.key, heard.rssi_dbm, at_ms)
        verdict = self._judge_radio(now_ms)  # before anybody is sent away for being silent
        facts += self._engine.advance(now_ms)
        facts += await self._mend_radio(verdict, now_ms)
        if facts:
            await self._keep(facts)
        mend_ms = self._spool.due_ms()
        if mend_ms is not None and now_ms >= mend_ms and await self._on_disk(lambda: self._spool.mend(now_ms)):
            await self._refresh()
        await self._send()
        if self._covered:
            await self._delete_covered()
        if not self._sender.unanswered:
            self._progress_ms = now_ms
        self._clocks.behind(now_ms - self._progress_ms)
        steady_ms = self._clocks.steady_ms()
        if steady_ms >= self._next_telemetry_ms:
            self._next_telemetry_ms = steady_ms + int(self.config.telemetry_s * 1000)
            await self._tell()

    async def _rest(self) -> None:
        """Sleep until something happens or is due."""
        network_ms = [one for one in (self._next_telemetry_ms, self._sender.due_ms()) if one is not None]
        boot_ms = (self._engine.due_ms(), self._health.due_ms(), self._spool.due_ms())
        radio_ms = [one for one in boot_ms if one is not None]
        pause_s = min(
            (min(network_ms) - self._clocks.steady_ms()) / 1000,
            self._clocks.pause_s(min(radio_ms) - self._clocks.boot_ms()),
        )
        if pause_s <= 0:
            await asyncio.sleep(0)  # let callbacks in
            return
        try:
            async with asyncio.timeout(pause_s):
                await self._stir.wait()
        except TimeoutError:
            return

    def _judge_radio(self, now_ms: int) -> Verdict:
        if self._alive_at_ms is not None:
            self._health.heard(self._alive_at_ms)
        self._health.beacon_heard = self._scanner.counts["adverts_canary"] > 0
        verdict = self._health.check(now_ms)
        if verdict in (Verdict.HOLD, Verdict.SILENT):
            self._engine.hold()
        return verdict

    async def _mend_radio(self, verdict: Verdict, now_ms: int) -> list[Fact]:
        match verdict:
            case Verdict.SILENT:
                log.warning("radio is silent: exits are frozen, the scanner starts anew", extra={"fields": {}})
                await self._restart_scanner(now_ms)
                return self._engine.freeze(now_ms)
            case Verdict.STILL_SILENT:
                await self._restart_scanner(now_ms)
            case Verdict.RECOVERED:
                log.info("radio is back")
                self._engine.thaw(now_ms)
            case _:
                pass
        return []

    async def _restart_scanner(self, now_ms: int) -> None:
        try:
            await self._scanner.stop()
            await self._scanner.start()
        except LocalFault as exc:
            self._log_once(f"scanner {exc}", "the scanner does not start", reason=str(exc))

    async def _keep(self, facts: list[Fact]) -> None:
        events = [as_event(fact) for fact in facts]
        stamp, now_ms = self._clocks.stamp(), self._clocks.boot_ms()
        await self._on_disk(lambda: self._spool.append(events, stamp, now_ms))
        base_ms = self.config.gates.sample_interval_ms
        self._engine.fit_samples(sample_interval_ms(base_ms, self._spool.fill))
        await self._refresh()

    async def _refresh(self) -> None:
        self._spans = await self._on_disk(self._spool.boots)

    # -- towards the hub ---------------------------------------------------------------------------------------

    async def _send(self) -> None:
        while True:
            spans = [BootSpan(one.boot, one.oldest_seq, one.last_seq) for one in self._spans]
            send = self._sender.next(spans, self._clocks.steady_ms())
            if self._sender.knock():
                self._publisher.knock()
            refused = self._sender.refused()
            if refused is not None:
                log.error("the hub cannot read an event: it is replaced by a loss", extra={"fields": {}})
                await self._on_disk(partial(self._spool.refuse, *refused))
                await self._refresh()
                continue
            if send is None or not await self._send_one(send):
                return

    async def _send_one(self, send: Send) -> bool:
        limit = min(send.limit, self.config.batch_max)
        events = await self._on_disk(lambda: self._spool.read(send.boot, send.after_seq, limit))
        if not events:
            return False
        now_ms = self._clocks.boot_ms()
        span = next(one for one in self._spans if one.boot == send.boot)
        message = Presence(
            v=1,
            edge=self.config.edge,
            boot=send.boot,
            oldest_seq=span.oldest_seq,
            sent_mono_ms=None if send.earlier else now_ms,
            sent_at_ms=max(0, self._clocks.wall_ms()),
            clock=span.clock,
            events=events,
        )
        if not self._publisher.send("presence", write(message)):
            return False
        first = events[0].get("first_seq", events[0]["seq"])
        self._sender.sent(send.boot, first, events[-1]["seq"], self._clocks.steady_ms())
        return True

    def _on_ack(self, payload: bytes) -> None:
        try:
            ack = read(Ack, payload)
        except BadMessage as exc:
            self._log_once("ack", "an ack cannot be read", reason=str(exc))
            return
        progress = self._sender.acked(ack.boot, ack.upto, self._clocks.steady_ms())
        self._progress_ms = self._clocks.boot_ms()
        if not progress.went_back:
            self._covered[progress.boot] = progress.upto

    async def _delete_covered(self) -> None:
        """What the hub holds leaves the disk; after sending, because it can wait."""
        covered, self._covered = self._covered, {}
        gone = 0
        for boot, upto in covered.items():
            gone += await self._on_disk(partial(self._spool.ack, boot, upto))
        if gone:
            boots = len(self._spans)
            await self._refresh()
            if len(self._spans) < boots:
                self._stir.set()  # an earlier boot is done: the next one's turn

    def _on_config(self, payload: bytes) -> None:
        """Apply, acknowledge, or refuse with the reason; what does not validate changes nothing."""
        try:
            wanted = read(EdgeConfigMessage, payload)
        except BadMessage as exc:
            self._log_once("config", "a configuration cannot be read", reason=str(exc))
            return
        if wanted.version <= self._config_version:
            return
        try:
            changed = self.config.changed(wanted.settings)
        except BadConfig as exc:
            answer = ConfigAck(v=1, version=wanted.version, outcome="refused", reason=str(exc)[:500])
        else:
            self.config, self._config_version = changed, wanted.version
            self._engine.regate(changed.gates)
            answer = ConfigAck(v=1, version=wanted.version, outcome="applied")
        self._publisher.send("config/ack", write(answer))

    async def _flush(self) -> None:
        """What the engine still holds goes out as `unknown`; then wait for the hub, but not long."""
        await self._keep_if(self._engine.freeze(self._clocks.boot_ms()))
        deadline_ms = self._clocks.steady_ms() + int(FLUSH_S * 1000)
        while (left_ms := deadline_ms - self._clocks.steady_ms()) > 0:
            self._stir.clear()
            while self._orders:
                self._orders.popleft()()
            await self._delete_covered()
            await self._send()
            if all(one.oldest_seq > one.last_seq for one in self._spans):
                break
            try:
                async with asyncio.timeout(min(left_ms, 1000) / 1000):
                    await self._stir.wait()
            except TimeoutError:
                continue
        await self._tell()

    async def _keep_if(self, facts: list[Fact]) -> None:
        if facts:
            await self._keep(facts)

    async def _tell(self) -> None:
        """Counters and gauges, QoS 0: the next comes soon. What has waited too long is given up first."""
        now_ms = self._clocks.boot_ms()
        if await self._on_disk(lambda: self._spool.expire(now_ms)):
            await self._refresh()
        totals = await self._on_disk(lambda: self._spool.totals(now_ms))
        heard = ("adverts_heard", "adverts_dropped_private", "adverts_canary", "adverts_bad")
        counters = {name: self._scanner.counts[name] for name in heard}
        counters["adverts_bad"] += self._engine.bad
        counters |= {
            "adverts_dropped_overflow": self._overflow,
            "events_published": totals.published,
            "events_lost": totals.lost,
            "samples_dropped": totals.samples_dropped,
            "reconnects": self._publisher.counts["reconnects"],
            "retained_ignored": self._publisher.counts["retained_ignored"],
            "rewinds": self._sender.rewinds,
            "tracks_evicted": self._engine.evicted,
            "disk_refusals": self._spool.refusals,
        }
        gauges: dict[str, float] = {
            "outbox_rows": totals.rows,
            "outbox_bytes": totals.bytes,
            "outbox_oldest_s": totals.oldest_age_ms / 1000,
            "outbox_in_memory": self._spool.in_memory,
            "tracks": self._engine.tracks,
            "present": self._engine.present,
        }
        reasons = [word for word in ("radio_silent" if self._health.degraded else "", self._spool.trouble) if word]
        message = Telemetry(
            v=1,
            edge=self.config.edge,
            boot=self._parts.boot,
            mono_ms=self._clocks.boot_ms(),
            health="degraded" if reasons else "ok",
            reasons=reasons,
            counters=counters,
            gauges=gauges,
        )
        self._publisher.send("telemetry", write(message), 0)

    def _on_disk(self, act: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._disk, act)

    def _log_once(self, source: str, text: str, **fields: Any) -> None:
        if source not in self._logged and len(self._logged) < 100:
            self._logged.add(source)
            log.warning(text, extra={"fields": fields})
