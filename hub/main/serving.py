"""Runs a wired hub: starts the parts, dies clearly with any of them, and stops in order within 10 s."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Iterator
from typing import Any

import structlog
import uvicorn

from hub.main.wiring import Hub
from wire.errors import BadConfig, LocalFault

API_SHARE = 0.35
WRITER_SHARE = 0.4
"""Shares of `stop_s`: finishing requests and sends, then the last commits; the rest is for the last acks."""

log = structlog.get_logger("hub")


class PartDied(LocalFault):
    """A part of the hub ended by itself; `part` names it."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part} ended: {reason}")
        self.part = part


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: stopping is decided here."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


async def serve(hub: Hub) -> None:
    """Run until SIGTERM or SIGINT, then stop in order.

    Raises:
        BadConfig: the port of the API or of the embedded broker is taken.
        PartDied: a part ended by itself.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await _Run(hub, stop).run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _Run:
    """One life of a hub."""

    def __init__(self, hub: Hub, stop: asyncio.Event) -> None:
        self._hub, self._stop = hub, stop
        self._stopping = False
        config = uvicorn.Config(
            hub.api,
            log_config=None,
            access_log=False,
            server_header=False,
            ssl_certfile=hub.config.tls_cert_file,
            ssl_keyfile=hub.config.tls_key_file,
            timeout_graceful_shutdown=max(1, int(hub.config.stop_s * API_SHARE)),
        )
        self._server = _Server(config)

    async def run(self) -> None:
        hub = self._hub
        listener = _listen(hub.config.listen, hub.config.port)
        try:
            await asyncio.to_thread(hub.broker.start)
            hub.writer.start()
            hub.link.start()
            await self._parts(listener)
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            self._stopping = True
            listener.close()
            await asyncio.shield(asyncio.to_thread(self._release))

    async def _parts(self, listener: socket.socket) -> None:
        hub = self._hub
        async with asyncio.TaskGroup() as group:

            def part(name: str, work: Awaitable[Any]) -> asyncio.Task[None]:
                return group.create_task(self._part(name, work), name=name)

            watches = [
                part("broker", asyncio.to_thread(hub.broker.wait)),
                part("mqtt link", asyncio.wrap_future(hub.link.ended)),
                part("writer", asyncio.wrap_future(hub.writer_ended)),
            ]
            if hub.broker_files is not None:
                watches.append(part("broker files", hub.broker_files.run()))
            api = part("api", self._server.serve(sockets=[listener]))
            worker = part("push worker", hub.worker.run())
            host, port = listener.getsockname()[:2]
            scheme = "https" if hub.config.tls_cert_file else "http"
            log.info("serving", url=f"{scheme}://{host}:{port}", broker=f"{hub.broker.host}:{hub.broker.port}")
            await self._stop.wait()
            log.info("stopping")
            await self._drain(api, worker)
            for watch in watches:
                watch.cancel()
        log.info("stopped")

    async def _part(self, name: str, work: Awaitable[Any]) -> None:
        try:
            await work
        except Exception as exc:
            raise PartDied(name, _reason(exc)) from exc
        if not self._stopping:
            raise PartDied(name, "for no reason it gave")

    async def _drain(self, api: asyncio.Task[None], worker: asyncio.Task[None]) -> None:
        """Take nothing more; finish what was accepted; commit; acknowledge; say goodbye."""
        hub, self._stopping = self._hub, True
        stop_s = hub.config.stop_s
        hub.link.stop_intake()
        hub.stream.close()
        self._server.should_exit = True
        hub.worker.stop()
        _, late = await asyncio.wait((api, worker), timeout=stop_s * API_SHARE)
        for task in late:
            log.warning("stopped_early", part=task.get_name())
            task.cancel()
        if not await asyncio.to_thread(hub.writer.stop, stop_s * WRITER_SHARE):
            log.error("writer_did_not_finish")
        await asyncio.to_thread(hub.link.stop, stop_s * (1 - API_SHARE - WRITER_SHARE))
        for channel in hub.channels.values():
            await channel.close()
        await asyncio.to_thread(hub.broker.stop)

    def _release(self) -> None:
        """Let go of everything, in whatever state it is; all of it may be stopped already."""
        hub = self._hub
        hub.link.stop_intake()
        hub.writer.stop(1)
        hub.link.stop(1)
        hub.broker.stop()
        hub.store.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as exc:
        raise BadConfig(f"the API cannot listen on {host}:{port}: {exc.strerror}; set `listen` and `port`") from exc


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The fault that brought the others down."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _reason(exc: BaseException) -> str:
    """Ours in full, others by type: their text may quote a value."""
    if isinstance(exc, BaseExceptionGroup):
        exc = _first(exc)
    return str(exc) if isinstance(exc, LocalFault) else type(exc).__name__
