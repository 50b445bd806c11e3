"""The edge as a program: reads the settings, wires the parts, runs until SIGTERM."""

import asyncio
import json
import logging
import random
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from edge.adapters import system
from edge.adapters.clocks import clocks_of
from edge.adapters.publisher import LineSettings, Publisher
from edge.adapters.replay import replay_backend
from edge.adapters.scanner import BeaconScanner, bluez_arguments
from edge.adapters.spool import Limits, Spool
from edge.agent import Agent, Parts
from edge.config import EdgeConfig, load, read_password
from wire.errors import BadConfig, LocalFault
from wire.ibeacon import parse_uuid

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they would show values
    help="The agent on a Raspberry Pi: hears beacons, tells the hub.",
)

ConfigOption = Annotated[
    list[Path] | None,
    typer.Option("--config", help="TOML file with the settings; several run as several edges in one process."),
]


@app.callback()
def root() -> None:
    """The agent on a Raspberry Pi: hears beacons, tells the hub."""


@app.command("run")
def run(config: ConfigOption = None) -> None:
    """Scan and publish until SIGTERM."""
    _set_up_log("info")
    log = logging.getLogger("edge")
    try:
        settings = [load(path) for path in _paths(config)]
        _set_up_log(settings[0].log_level)
        asyncio.run(_run([build(one) for one in settings]))
    except LocalFault as exc:
        log.error("died", extra={"fields": {"reason": str(exc)}})
        raise typer.Exit(1) from None
    except Exception as exc:
        log.error("died", extra={"fields": {"reason": "a fault of the program", "failure": type(exc).__name__}})
        log.debug("where", exc_info=True)
        raise typer.Exit(1) from None


@app.command("check-config")
def check_config(config: ConfigOption = None) -> None:
    """Say whether the settings can be used, without starting anything."""
    for path in _paths(config):
        try:
            read_password(load(path).password_file)
        except BadConfig as exc:
            typer.echo(f"doorchime: {exc}", err=True)
            raise typer.Exit(1) from None
        typer.echo(f"ok: {path or 'environment'}")


def _paths(given: list[Path] | None) -> list[Path | None]:
    """The files named; none: the environment alone."""
    return [*given] if given else [None]


def build(config: EdgeConfig) -> Agent:
    """Wire one edge; nothing runs yet.

    Raises:
        BadConfig: a file that the settings name cannot be used.
    """
    random_source = random.SystemRandom()
    line = LineSettings(
        host=config.broker_host,
        port=config.broker_port,
        user=config.broker_user,
        password=read_password(config.password_file),
        spread_s=config.connect_spread_s,
        reconnect_max_s=config.reconnect_max_s,
    )
    limits = Limits(int(config.outbox_max_mb * 1_000_000), config.outbox_max_age_h * 3_600_000)
    clocks = clocks_of(config.pace_file, config.pace_slot)
    kind, _, rest = config.radio.partition(":")
    backend = bluez = None
    if kind == "replay":
        only = config.replay_scanner
        backend = replay_backend(Path(rest), only or config.edge, only, clocks.boot_ms, clocks.behind)
    else:
        bluez = bluez_arguments(config.radio, config.sample_floor_dbm)
    prefixes = [bytes.fromhex(prefix) for prefix in config.prefixes]
    canary = parse_uuid(config.canary_uuid) if config.canary_uuid else None
    return Agent(
        config,
        Parts(
            clocks=clocks,
            spool=lambda: Spool(config.state_dir / "outbox.db", limits),
            scanner=lambda heard, alive: BeaconScanner(prefixes, canary, heard, alive, backend=backend, bluez=bluez),
            publisher=lambda status, listener: Publisher(
                line, config.store, config.edge, status, listener, random_source.random
            ),
            unit=random_source.random,
            boot=system.new_boot_id(),
        ),
    )


async def _run(agents: list[Agent]) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for agent in agents:
            agent.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        async with asyncio.TaskGroup() as group:
            for agent in agents:
                group.create_task(agent.run(), name=agent.config.edge)
    except* LocalFault as faults:
        raise LocalFault(str(_first(faults))) from None


def _first(group: BaseExceptionGroup[LocalFault]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


class _JsonLines(logging.Formatter):
    """One JSON object a line; an exception is its type and places, never its text, which may quote a payload."""

    def format(self, record: logging.LogRecord) -> str:
        """Render."""
        stamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"event": record.getMessage(), "level": record.levelname.lower(), "logger": record.name}
        line |= {"timestamp": stamp, **getattr(record, "fields", {})}
        if record.exc_info and record.exc_info[0] is not None:
            line["failure"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False)


def _set_up_log(level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("bleak").setLevel(logging.WARNING)  # its debug lines hold addresses
