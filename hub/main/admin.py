"""Commands on the hub's records: keys, quarantine, audit. They work beside a running hub."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.config import read_secret
from hub.core.model import ApiKey, Quarantine
from hub.main.clock import NewUlid, SystemClock
from hub.main.terminal import ConfigOption, JsonOption, opened, plainly, show
from hub.main.wiring import check_secret, rules_of
from hub.ports import NewId, Store
from hub.stores import open_store
from hub.usecases import keys, presence
from hub.usecases.arrivals import Rules
from hub.usecases.audit import Witness
from hub.usecases.audit import audit as check_everything
from wire.errors import BadConfig, LocalFault

__all__ = ["audit", "keys_app", "open_store", "quarantine_app"]

ROWS_SHOWN = 1_000
"""Most rows a list command prints."""

keys_app = typer.Typer(no_args_is_help=True, help="API keys: shown once, kept as hashes.")
quarantine_app = typer.Typer(no_args_is_help=True, help="What edges sent and the hub could not use; kept 24 h.")


@keys_app.command("create")
def create_key(
    scope: Annotated[str, typer.Option(help="app, pos, staff, edge or intake")],
    label: Annotated[str, typer.Option(help="Who uses it.")],
    store: Annotated[str | None, typer.Option(help="Only for this store.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it this once."""
    with plainly(), opened(config) as (settings, records), records.write() as tx:
        clock = SystemClock()
        secret = secrets.token_bytes(keys.SECRET_BYTES)
        wanted = keys.KeyFor(scope, label, store=store)
        made = keys.create_key(tx, settings.tenant, wanted, secret, clock.now_ms(), NewUlid(clock))
    show(as_json, {"key": made.text, "key_id": made.key}, made.text, f"id {made.key}, scope {scope}; shown this once")


@keys_app.command("list")
def list_keys(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Every key: its id, scope and label, never its secret."""
    with plainly(), opened(config) as (settings, records), records.read() as tx:
        found = tx.find(ApiKey, {"tenant": settings.tenant}, limit=ROWS_SHOWN)
    rows = [{name: value for name, value in asdict(row).items() if name != "secret_sha256"} for row in found]
    lines = (f"{r.key}  {r.scope:<7} {'revoked' if r.revoked_at_ms else 'active ':<7}  {r.label}" for r in found)
    show(as_json, {"items": rows}, *lines)


@keys_app.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")], config: ConfigOption = None
) -> None:
    """Refuse a key from now on."""
    with plainly(), opened(config) as (settings, records), records.write() as tx:
        done = keys.revoke_key(tx, settings.tenant, key, SystemClock().now_ms())
    if not done:
        typer.echo(f"doorchime: no active key {key}; see `doorchime hub keys list`", err=True)
        raise typer.Exit(1)
    typer.echo(f"revoked {key}")


@quarantine_app.command("list")
def list_quarantine(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    bodies: Annotated[bool, typer.Option("--bodies", help="Also show the content: personal data.")] = False,
) -> None:
    """What is set aside, and why."""
    with plainly(), opened(config) as (settings, records), records.read() as tx:
        found = tx.find(Quarantine, {"tenant": settings.tenant}, limit=ROWS_SHOWN)
    rows = [{name: value for name, value in asdict(row).items() if bodies or name != "body"} for row in found]
    lines = [
        f"{r.quarantine}  {r.fault:<6} {r.edge}/{r.boot}/{r.seq}  {r.reason}" + (f"\n  {r.body}" if bodies else "")
        for r in found
    ]
    show(as_json, {"items": rows}, *(lines or ["nothing is set aside"]))


@quarantine_app.command("replay")
def replay_quarantine(
    row: Annotated[str | None, typer.Argument(help="Id of one row; without it, every row that is ours.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Apply what failed through a fault of ours, once it is mended. Repairs visits, never pushes."""
    with plainly(), opened(config) as (settings, records):
        clock, secret = SystemClock(), read_secret(settings.secret_file)
        check_secret(settings, records, secret, clock)
        rules = rules_of(settings, secret, clock.now_ms())
        new_id = NewUlid(clock)
        where = {"tenant": settings.tenant} | ({"quarantine": row} if row else {"fault": "ours"})
        with records.read() as tx:
            found = tx.find(Quarantine, where, limit=ROWS_SHOWN)
        applied, left = 0, []
        for one in found:
            done, why = _replay_alone(records, one, rules, clock.now_ms(), new_id)
            applied += done
            left += [f"{one.quarantine}: left aside, {why}"] if why else []
    if row and not found:
        typer.echo(f"doorchime: no row {row}; see `doorchime hub quarantine list`", err=True)
        raise typer.Exit(1)
    show(as_json, {"events": applied, "left": len(left)}, *left, f"{applied} events applied, {len(left)} rows left")


def _replay_alone(records: Store, row: Quarantine, rules: Rules, at_ms: int, new_id: NewId) -> tuple[int, str]:
    """Replay one row in a transaction of its own: one that fails again must not keep the others.

    How many events were applied, and why it stays aside; empty when it does not.
    """
    try:
        with records.write() as tx:
            done = presence.replay(tx, row, rules, at_ms, new_id)
    except LocalFault:
        raise  # the store, not the row
    except Exception as failure:  # whatever was wrong with it is not mended yet; its text may quote a value
        return 0, f"it still fails ({type(failure).__name__})"
    return (0, "it is no message that the hub failed on, or its edge is gone") if done is None else (done, "")


def audit(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    witness: Annotated[
        Path | None, typer.Option(help="Folder with what phones, tills and edges recorded themselves.")
    ] = None,
) -> None:
    """Check every promise from the store; exit 1 when one was broken."""
    with plainly(), opened(config) as (settings, records), records.read() as tx:
        heard = Witness() if witness is None else read_witness(witness)
        found = check_everything(tx, settings.tenant, settings.visit_grace_s * 1000, SystemClock().now_ms(), heard)
    report = {"invariant_violations": len(found), "violations": [violation._asdict() for violation in found]}
    lines = [f"{violation.invariant}: {violation.detail}" for violation in found]
    show(as_json, report, *lines, "every promise was kept" if not found else f"{len(found)} promises were broken")
    if found:
        raise typer.Exit(1)


def read_witness(folder: Path) -> Witness:
    """What a run left in `folder`; every file is optional.

    `phones.jsonl` and `tills.jsonl`: an object per line; `published.json`: edge → events; `bystanders.txt`: one
    hexadecimal identifier per line; every `*.log`: text to search.
    """
    if not folder.is_dir():
        raise BadConfig(f"witness {folder}: is no folder")
    published = folder / "published.json"
    bystanders = folder / "bystanders.txt"
    try:
        return Witness(
            phones=_json_lines(folder / "phones.jsonl"),
            tills=_json_lines(folder / "tills.jsonl"),
            published=json.loads(published.read_text("utf-8")) if published.exists() else {},
            bystanders=frozenset(bystanders.read_text("ascii").split() if bystanders.exists() else ()),
            texts=_texts(folder),
        )
    except (OSError, ValueError) as exc:
        raise BadConfig(f"witness {folder}: cannot be read: {exc}") from exc


def _json_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.log")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                yield f"{path.name}:{number}", line
