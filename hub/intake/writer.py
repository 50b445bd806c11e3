"""The group commit: one thread, one transaction for whatever waits, one savepoint for each thing in it.

A round takes the API's commands first, then messages up to 2,000 events or 10 ms of reading; an empty queue commits
at once. After the commit, and only then, futures resolve, messages are released (PUBACK), edges get `ack upto`, and
the live stream hears of it. While the store cannot commit (a full disk, a database that is away) nothing is
acknowledged: messages wait, commands are told to come back, and the writer tries again. Any other fault ends it.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import MappingProxyType
from typing import Any, TypeVar

import structlog

from hub.core.foreign import Life, Source
from hub.intake.inbound import FOREIGN, Inbound
from hub.intake.round import COUNTED, After, Command, Round
from hub.ports import Busy, Clock, NewId, Store, Tx
from hub.usecases import deadlines, edges, foreign, presence, seal
from hub.usecases.arrivals import Effects, Rules
from wire.errors import LocalFault, RemoteFault, StoreFault
from wire.messages import Status, read, read_presence

T = TypeVar("T")

GROUP_EVENTS = 2_000
"""Most events in one transaction. People are read and written once per group: of 1,000, 2,000 and 4,000 events the
second costs 15 % less CPU time per event than the first, the third nothing less; its commit takes 50 ms at most."""

READ_MS = 10
"""Longest reading of waiting messages before the group is applied, ms: a tenth of what a shopper could notice."""

ANSWER_MS = 50
"""While messages wait, edges hear at most this often what is committed, ms: far below the 5 s after which they ask
again. An answer per edge and commit was measured to cost a tenth of the hub's CPU time in a backlog."""

COMMANDS_MAX = 1_000
"""Most API commands waiting; the next caller is told to come back."""

SWEEP_MS = 250
"""How often deadlines are looked at, ms: a quarter of the 1 s in which samples come, so no deadline is noticed late."""

CLEAN_MS = 60_000
"""How often retention runs, ms."""

HEARTBEAT_MS = 5_000
"""Longest pause between two commits, ms: `/readyz` follows the age of the last commit, so silence must not look ill."""

NO_COMMIT = "the hub cannot save anything at present: nothing was changed, try again later"
"""What a caller is told meanwhile."""

RETRY_S = 1.0
"""Pause before another try while the store cannot commit, s: space comes back by hand, not within milliseconds."""


class GroupWriter:
    """Owns all writing. `start`, then `offer` messages and `submit` commands from any thread, then `stop`.

    `counters` (messages, events, commands, groups, unreadable, poison, strangers, alarms, store_faults) only grow.
    `last_commit_ms` is the hub time of the last commit. `trouble` says why the store cannot commit, empty while it
    can. `fault` is set when the writer had to stop by itself; `on_fault` is called then, once. `lives` says which
    foreign nodes show life, see `hub.usecases.foreign.sweep`. `retry_s`: see RETRY_S.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_id: NewId,
        rules: Rules,
        after: After,
        *,
        queue_max: int = 10_000,
        lives: Mapping[Source, Life] = MappingProxyType({}),
        on_fault: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._store, self._clock, self._new_id, self._rules, self._after = store, clock, new_id, rules, after
        self._queue_max, self._on_fault, self._lives = queue_max, on_fault, lives
        self.retry_s = RETRY_S
        self._wake = threading.Condition()
        self._commands: deque[Command] = deque()
        self._inbox: deque[Inbound] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._next_sweep_ms = self._next_clean_ms = self._next_answer_ms = 0
        self._answers: dict[tuple[str, str], presence.AckOf] = {}  # not yet given; one per edge and boot that speaks
        self._log = structlog.get_logger("writer")
        self.last_commit_ms = clock.now_ms()
        self.fault: BaseException | None = None
        self.trouble = ""
        self.counters = dict.fromkeys(COUNTED, 0)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 8.0) -> bool:
        """Commit what waits, then end; False when that took too long."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def submit(self, command: Callable[[Tx], T]) -> "Future[T]":
        """See `hub.ports.Writer`."""
        future: Future[T] = Future()
        with self._wake:
            if self.fault is not None or self._stopping:
                raise Busy("the hub is stopping: try again in a moment")
            if self.trouble:
                raise Busy(NO_COMMIT)
            if len(self._commands) >= COMMANDS_MAX:
                raise Busy("the hub is busy: try again in a moment")
            self._commands.append(Command(command, future))
            self._wake.notify_all()
        return future

    def offer(self, message: Inbound, wait_s: float = 0.0) -> bool:
        """Take a message; False when the queue stayed full for `wait_s`, or the writer has stopped."""
        with self._wake:
            self._wake.wait_for(lambda: len(self._inbox) < self._queue_max or self._ended, wait_s)
            if self._ended or len(self._inbox) >= self._queue_max:
                return False
            self._inbox.append(message)
            self._wake.notify_all()
        return True

    @property
    def waiting(self) -> int:
        """Messages and commands not yet taken."""
        return len(self._inbox) + len(self._commands)

    @property
    def _ended(self) -> bool:
        return self._stopping or self.fault is not None

    def _run(self) -> None:
        try:
            while self._await_work():
                round_ = self._take()
                try:
                    self._commit_round(round_)
                except StoreFault as fault:
                    if not self._hold(round_, fault):
                        return
        except BaseException as fault:  # whatever it is, the process must not go on without its writer
            with self._wake:
                self.fault = fault
                waiting = [command.future for command in self._commands]
                self._commands.clear()
                self._wake.notify_all()
            for future in waiting:
                if future.set_running_or_notify_cancel():
                    future.set_exception(fault)
            self._on_fault(fault)

    def _hold(self, round_: Round, fault: StoreFault) -> bool:
        """Keep what could not be committed and wait for another try; False when there is no time left for one."""
        self.counters["store_faults"] += 1
        if not self.trouble:
            self._log.error("the store cannot commit: nothing is acknowledged until it can", reason=str(fault))
            self._after.troubled(str(fault))
        with self._wake:
            self.trouble = str(fault)
            self._inbox.extendleft(reversed(round_.messages))  # beyond `queue_max` by one round at most
            commands = [*round_.commands, *self._commands]
            self._commands.clear()
        for command in commands:
            if command.future.running() or command.future.set_running_or_notify_cancel():
                command.future.set_exception(Busy(NO_COMMIT))
        with self._wake:
            return not self._wake.wait_for(lambda: self._stopping, self.retry_s)

    def _recovered(self) -> None:
        self._log.info("the store commits again")
        self.trouble = ""
        self._after.troubled("")

    def _await_work(self) -> bool:
        """True when there is something to do; False when stopped and empty."""
        with self._wake:
            now_ms = self._clock.now_ms()
            pause_s = self._clock.pause_s(min(self._next_sweep_ms, now_ms + SWEEP_MS) - now_ms)
            self._wake.wait_for(lambda: self._commands or self._inbox or self._stopping, pause_s)
            return bool(self._commands or self._inbox or not self._stopping)

    def _take(self) -> Round:
        round_ = Round()
        with self._wake:
            waiting = list(self._commands)
            self._commands.clear()
        # a caller that gave up before its turn must not be served behind its back
        round_.commands = [command for command in waiting if command.future.set_running_or_notify_cancel()]
        until_ms = self._clock.now_ms() + self._clock.most_ms(READ_MS / 1000)
        events = 0
        while events < GROUP_EVENTS and self._clock.now_ms() <= until_ms:
            with self._wake:
                if not self._inbox:
                    break
                message = self._inbox.popleft()
                self._wake.notify_all()  # room for a waiting `offer`
            round_.messages.append(message)
            if message.leaf == "presence":
                events += self._read(message, round_)
            elif message.leaf == FOREIGN:
                events += 1
        return round_

    def _read(self, message: Inbound, round_: Round) -> int:
        try:
            found = read_presence(message.payload)
        except RemoteFault as fault:
            round_.unreadable.append((message, str(fault)))
            return 1
        batch = presence.Batch(message.store, message.edge, found, message.received_at_ms)
        round_.batches.append(batch)
        return len(found.message.events) + len(found.bad)

    def _commit_round(self, round_: Round) -> None:
        now_ms = self._clock.now_ms()
        sweep = now_ms >= self._next_sweep_ms
        idle = not round_.commands and not round_.messages
        if idle and not self.trouble and not (sweep and self._needs_sweep(now_ms)):
            self._next_sweep_ms = now_ms + SWEEP_MS
            return
        try:
            with self._store.write() as tx:
                self._apply(tx, round_, now_ms, sweep)
        except StoreFault:
            raise
        except BaseException as fault:
            for command in round_.commands:
                command.future.set_exception(fault)
            raise
        if self.trouble:
            self._recovered()
        self.last_commit_ms = self._clock.now_ms()
        if round_.messages:
            self._clock.behind(self.last_commit_ms - round_.messages[0].received_at_ms)
        if sweep:
            self._next_sweep_ms = now_ms + SWEEP_MS
        self._finish(round_)

    def _needs_sweep(self, now_ms: int) -> bool:
        """Whether an idle round is worth a transaction: something is due, or `/readyz` wants a sign of life."""
        if now_ms - self.last_commit_ms >= HEARTBEAT_MS or now_ms >= self._next_clean_ms:
            return True
        with self._store.read() as tx:
            return deadlines.anything_due(tx, now_ms)

    def _apply(self, tx: Tx, round_: Round, now_ms: int, sweep: bool) -> None:
        if self.trouble:
            seal.prove(tx, self._rules.tenant, now_ms)
        for command in round_.commands:
            result, failure = self._guarded(tx, command.run)
            round_.results.append((command, result, failure))
            if isinstance(result, Effects):
                self._merge(round_, presence.Committed(result))
        now_ms = self._clock.now_ms()  # commands have stamped what they did: what follows from it is not older
        self._statuses(tx, round_, now_ms)
        self._presence(tx, round_, now_ms)
        self._foreign(tx, round_, now_ms)
        if sweep:
            self._merge(round_, presence.Committed(deadlines.sweep(tx, self._rules, now_ms)))
            upto_ms = self._heard_up_to_ms(now_ms)
            gone = foreign.sweep(tx, self._rules, now_ms, self._new_id, self._lives, upto_ms)
            self._merge(round_, presence.Committed(gone))
            if now_ms >= self._next_clean_ms:
                self._next_clean_ms = now_ms + CLEAN_MS
                deadlines.clean(tx, self._rules, now_ms)

    @staticmethod
    def _guarded(tx: Tx, run: Callable[[Tx], Any]) -> tuple[Any, Exception | None]:
        """Run in a savepoint: a failure undoes this and nothing else. A LocalFault is the store's: it goes on up."""
        try:
            with tx.savepoint():
                return run(tx), None
        except LocalFault:
            raise
        except Exception as failure:
            return None, failure

    def _presence(self, tx: Tx, round_: Round, now_ms: int) -> None:
        batches, rules, new_id = round_.batches, self._rules, self._new_id
        if batches:
            done, failure = self._guarded(tx, lambda t: presence.commit_presence(t, batches, rules, now_ms, new_id))
            if failure is None:
                self._merge(round_, done)
            else:
                for batch in batches:
                    self._presence_alone(tx, round_, batch, now_ms)
        for message, reason in round_.unreadable:
            round_.counted["unreadable"] += 1
            presence.set_unreadable_aside(tx, message.store, message.edge, message.payload, reason, rules, now_ms)

    def _presence_alone(self, tx: Tx, round_: Round, batch: presence.Batch, now_ms: int) -> None:
        rules, new_id = self._rules, self._new_id
        done, failure = self._guarded(tx, lambda t: presence.commit_presence(t, [batch], rules, now_ms, new_id))
        if failure is not None:
            round_.counted["poison"] += 1
            self._log.error("a message failed and was set aside", edge=batch.edge, failure=type(failure).__name__)
            reason = f"{type(failure).__name__} in the hub"
            done = presence.set_aside(tx, batch, reason, rules, now_ms)
            done.effects.notes.append({"type": "alarm", "edge": batch.edge, "reason": "poison"})
        self._merge(round_, done)

    def _statuses(self, tx: Tx, round_: Round, now_ms: int) -> None:
        for message in round_.messages:
            if message.leaf != "status":
                continue
            try:
                status = read(Status, message.payload)
            except RemoteFault:
                round_.counted["unreadable"] += 1
                continue
            effects, failure = self._guarded(tx, self._status_command(message, status, now_ms))
            if failure is not None:
                round_.counted["poison"] += 1
                self._log.error("a status failed", edge=message.edge, failure=type(failure).__name__)
            elif effects is not None:
                self._merge(round_, presence.Committed(effects))
                upto = presence.upto_of(tx, self._rules.tenant, message.edge, status.boot)
                ack = presence.AckOf(message.store, message.edge, status.boot, upto)
                round_.acks.setdefault((message.edge, status.boot), ack)

    def _status_command(self, message: Inbound, status: Status, now_ms: int) -> Callable[[Tx], Effects | None]:
        rules, heard = self._rules, edges.Heard(message.retained, message.born)
        return lambda tx: edges.record_status(tx, message.store, message.edge, status, rules, now_ms, heard)

    def _foreign(self, tx: Tx, round_: Round, now_ms: int) -> None:
        said = [foreign.Received(one.said, one.received_at_ms) for one in round_.messages if one.said is not None]
        if not said:
            return
        done, failure = self._guarded(tx, self._foreign_command(said, now_ms))
        if failure is None:
            self._merge_foreign(round_, done)
            return
        for one in said:
            done, failure = self._guarded(tx, self._foreign_command([one], now_ms))
            if failure is not None:
                round_.counted["poison"] += 1
                self._log.error("a foreign message failed", node=one.said.source.node, failure=type(failure).__name__)
                done = foreign.give_up(tx, one, self._rules, now_ms)
            self._merge_foreign(round_, done)

    def _foreign_command(self, said: list[foreign.Received], now_ms: int) -> Callable[[Tx], foreign.Taken]:
        rules, new_id = self._rules, self._new_id
        return lambda tx: foreign.take(tx, said, rules, now_ms, new_id)

    def _merge_foreign(self, round_: Round, taken: foreign.Taken) -> None:
        round_.counted["strangers"] += taken.strangers
        self._merge(round_, presence.Committed(taken.effects, events=taken.events))

    def _heard_up_to_ms(self, now_ms: int) -> int:
        """Everything received before this has been applied: in order of arrival, nothing of it waits."""
        with self._wake:
            return self._inbox[0].received_at_ms if self._inbox else now_ms

    def _merge(self, round_: Round, done: presence.Committed) -> None:
        round_.acks.update(done.acks)
        round_.effects.notes.extend(done.effects.notes)
        round_.effects.pushes += done.effects.pushes
        round_.counted["events"] += done.events
        round_.counted["alarms"] += sum(note["type"] == "alarm" for note in done.effects.notes)

    def _finish(self, round_: Round) -> None:
        self.counters["groups"] += 1
        self.counters["messages"] += len(round_.messages)
        self.counters["commands"] += len(round_.commands)
        for name, count in round_.counted.items():
            self.counters[name] += count
        for command, result, failure in round_.results:
            if failure is not None:
                command.future.set_exception(failure)
            else:
                command.future.set_result(result)
        tokens = [message.token for message in round_.messages]
        self._answers.update(round_.acks)
        acks: list[presence.AckOf] = []
        if not self._inbox or self.last_commit_ms >= self._next_answer_ms:  # else the next round follows at once
            acks = list(self._answers.values())
            self._answers.clear()
            self._next_answer_ms = self.last_commit_ms + self._clock.most_ms(ANSWER_MS / 1000)
        if tokens or acks or round_.effects.notes or round_.effects.pushes:
            self._after.committed(tokens, acks, round_.effects)
