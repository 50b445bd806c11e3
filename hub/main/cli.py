"""The command line of the hub."""

import asyncio
import json
import signal
from typing import Annotated

import structlog
import typer

from hub.config import HubConfig, load, read_password, read_secret
from hub.intake.broker import EmbeddedBroker
from hub.main import admin, authority, backup, log, memory
from hub.main.alone import alone
from hub.main.first_run import init as make_everything
from hub.main.first_run import kind_of
from hub.main.serving import serve as run
from hub.main.terminal import ConfigOption, JsonOption, plainly, show
from hub.main.wiring import build, tls_files
from wire.errors import LocalFault

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they would show values
    help="The hub: decides, offers, redeems.",
)
app.add_typer(admin.keys_app, name="keys")
app.add_typer(admin.quarantine_app, name="quarantine")
app.add_typer(authority.ca_app, name="ca")
app.command("broker-config")(authority.broker_config)
app.command("audit")(admin.audit)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)


@app.command("init")
def init(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Make settings, secret, database, CA and the first staff key; what exists stays as it is."""
    with plainly():
        made = make_everything(config)
    lines = [
        *([f"settings   {made.config} ({'made' if made.config_made else 'exists'})"] if made.config else []),
        f"secret     {made.secret_file} ({'made: keep a copy, apart' if made.secret_made else 'exists'})",
        f"CA         {made.ca_fingerprint} ({'made: keep a copy, apart' if made.ca_made else 'exists'})",
        f"database   {made.database} ({f'{len(made.migrations)} migrations' if made.migrations else 'exists'})",
        f"staff key  {made.key}  (shown this once)" if made.key else f"staff key  exists ({made.key_id})",
        "next       doorchime hub serve" + (f" --config {made.config}" if made.config else ""),
    ]
    show(as_json, made._asdict(), *lines)


@app.command("serve")
def serve(
    config: ConfigOption = None,
    embedded_broker: Annotated[
        bool, typer.Option("--embedded-broker", help="Also run a broker, on the port of broker_url (for one machine).")
    ] = False,
) -> None:
    """Run the hub and its API until SIGTERM."""
    log.set_up("info")
    logger = structlog.get_logger("hub")
    try:
        settings = load(config)
        log.set_up(settings.log_level)
        with alone(settings.database):
            hub = build(settings, embedded_broker=embedded_broker)
            memory.settle()
            asyncio.run(run(hub))
    except LocalFault as exc:
        logger.error("died", reason=str(exc))
        raise typer.Exit(1) from None
    except Exception:
        logger.error("died", reason="a fault of the program", exc_info=True)
        raise typer.Exit(1) from None


@app.command("broker")
def broker(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")],
    listen: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the embedded broker alone until SIGTERM."""
    log.set_up("info")
    logger = structlog.get_logger("broker")
    embedded = EmbeddedBroker(port, listen)
    try:
        asyncio.run(_run_broker(embedded))
    except LocalFault as exc:
        logger.error("died", reason=str(exc))
        raise typer.Exit(1) from None


async def _run_broker(embedded: EmbeddedBroker) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await asyncio.to_thread(embedded.start)
    structlog.get_logger("broker").info("listening", host=embedded.host, port=embedded.port, pid=embedded.pid)
    ended = asyncio.create_task(asyncio.to_thread(embedded.wait))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        raise LocalFault(f"the embedded broker ended by itself, exit code {ended.result()}")
    await asyncio.to_thread(embedded.stop)
    await ended


@app.command("check-config")
def check_config(
    config: ConfigOption = None,
    every: Annotated[bool, typer.Option("--all", help="Show every setting, its value and what it does.")] = False,
) -> None:
    """Say whether the settings can be used, without starting anything."""
    with plainly():
        settings = load(config)
        read_secret(settings.secret_file)
        read_password(settings.broker_password_file)
        tls_files(settings)
    if every:
        for name, field in HubConfig.model_fields.items():
            value = kind_of(settings.database) if name == "database" else getattr(settings, name)
            typer.echo(f"{name} = {json.dumps(value, default=str)}  # {field.description}")
    typer.echo(f"ok: {config or 'environment and defaults'}")


@app.command("migrate")
def migrate(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Bring the database up to this program's version. `serve` does it too."""
    with plainly():
        settings = load(config)
        store = admin.open_store(settings.database)
        try:
            applied = store.migrate()
        finally:
            store.close()
    show(as_json, {"applied": applied}, *(f"applied {name}" for name in applied), *([] if applied else ["up to date"]))
