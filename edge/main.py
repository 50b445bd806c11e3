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
from edge.adapters.credentials import Credentials
from edge.adapters.enrolment import Hub
from edge.adapters.enrolment import enrol as request_credentials
from edge.adapters.outbox import Outbox
from edge.adapters.publisher import LineSettings, Publisher
from edge.adapters.renewing import keep_young, renews
from edge.adapters.replay import replay_backend
from edge.adapters.scanner import BeaconScanner, bluez_arguments
from edge.adapters.spool import Limits
from edge.adapters.tls import TlsFiles, make_context
from edge.agent import Agent, Parts
from edge.config import EdgeConfig, find_state_dir, load, read_password
from wire.errors import BadConfig, DoorchimeError, LocalFault
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
            settings = load(path)
            read_password(settings.password_file)
            tls_files(settings)
        except BadConfig as exc:
            typer.echo(f"doorchime: {exc}", err=True)
            raise typer.Exit(1) from None
        typer.echo(f"ok: {path or 'environment'}")


@app.command("enrol")
def enrol(
    hub: Annotated[str, typer.Option(help="The hub's API: https://host[:port].")],
    claim: Annotated[str, typer.Option(help="The claim that POST /v1/edges gave; `-` reads it from standard input.")],
    ca_fingerprint: Annotated[
        str | None, typer.Option(help="SHA-256 of the hub's CA, as POST /v1/edges and `doorchime hub ca show` say it.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The edge's settings file; only its `state_dir` is read, and need not exist.")
    ] = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Send the claim unencrypted: who listens may be first.")
    ] = False,
) -> None:
    """Get this machine's own credentials for the broker: the key is made here and stays here."""
    try:
        api = Hub(hub)
        if not (api.https or api.is_here or plain_http):
            raise BadConfig(f"hub {hub}: a claim goes over https only; in a network of your own add --plain-http")
        text = sys.stdin.readline().strip() if claim == "-" else claim
        wanted = ca_fingerprint.lower().replace(":", "") if ca_fingerprint else None
        credentials = Credentials(find_state_dir(config))
        granted = request_credentials(credentials, api, text, wanted)
        life = credentials.life()
    except DoorchimeError as exc:
        typer.echo(f"doorchime: {exc}", err=True)
        raise typer.Exit(1) from None
    until = datetime.fromtimestamp(life.not_after_ms // 1000, UTC).date().isoformat()
    typer.echo(f"enrolled   edge {granted.edge} in store {granted.store}")
    typer.echo(f"broker     {granted.broker_url}")
    typer.echo(f"kept in    {credentials.folder}; valid until {until}, renewed by `edge run` a month before")
    typer.echo("next       doorchime edge run" + (f" --config {config}" if config else ""))


def _paths(given: list[Path] | None) -> list[Path | None]:
    """The files named; none: the environment alone."""
    return [*given] if given else [None]


def tls_files(config: EdgeConfig) -> TlsFiles | None:
    """The files of the line to the broker, tried; None when it is not TLS.

    Raises:
        BadConfig: one of them cannot be used.
    """
    if not config.broker_tls:
        return None
    files = TlsFiles(config.broker_ca_file, config.broker_cert_file, config.broker_key_file)
    make_context(files)
    return files


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
        tls=tls_files(config),
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
            spool=lambda: Outbox(config.state_dir / "outbox.db", limits),
            scanner=lambda heard, alive: BeaconScanner(prefixes, canary, heard, alive, backend=backend, bluez=bluez),
            publisher=lambda status, listener: Publisher(
                line, config.store, config.edge, status, listener, random_source.random, clocks.steady_ms
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
            unit = random.SystemRandom().random
            enrolled = [agent.config for agent in agents if renews(agent.config)]
            watches = [group.create_task(keep_young(config, system.wall_ms, unit)) for config in enrolled]
            await asyncio.wait([group.create_task(agent.run(), name=agent.config.edge) for agent in agents])
            for watch in watches:
                watch.cancel()
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
