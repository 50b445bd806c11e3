"""`doorchime hub backup` and `hub restore`: a SQLite database, beside a running hub and while it is stopped."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from hub.config import HubConfig, load, read_secret
from hub.core.identity import fingerprint
from hub.core.model import Edge, Profile
from hub.main.alone import alone, file_of
from hub.main.clock import SystemClock
from hub.main.terminal import ConfigOption, JsonOption, plainly, show
from hub.stores import copies, open_store
from wire.errors import BadConfig

MB = 1_000_000

POSTGRES_BACKUP = (
    "`hub backup` copies SQLite; for PostgreSQL use its own tools: pg_dump --format=custom --file={file} {name}"
)
POSTGRES_RESTORE = (
    "`hub restore` is for SQLite; for PostgreSQL stop the hub, then use its own tools: "
    "pg_restore --clean --if-exists --dbname={name} {file}; then `doorchime hub migrate` and `doorchime hub audit`"
)


class Restored(NamedTuple):
    """What `restore` did. `secret` is fits | unknown; `replaced` is where the old database is kept."""

    database: str
    replaced: str | None
    made_at: str | None
    migrations: list[str]
    secret: str
    people: int
    edges: int


def backup(
    target: Annotated[Path, typer.Argument(help="File to write; must not exist.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the SQLite database while the hub runs. The secret file needs a copy of its own, kept apart."""
    with plainly():
        settings = load(config)
        source = _file(settings, POSTGRES_BACKUP, target)
        if not source.exists():
            raise BadConfig(f"database {source}: does not exist")
        mark = _mark_of(settings, source)
        stamp = copies.Stamp(SystemClock().now_ms(), version("doorchime"), settings.tenant, mark)
        with _progress("copying") as watch:
            size = copies.make(source, target, stamp, watch)
    belongs = f"secret {mark[:8]}…" if mark else "no secret known"
    show(
        as_json,
        {"file": str(target), "bytes": size, "secret": mark},
        f"wrote {target}: {size / MB:.1f} MB, {belongs}",
        f"keep {settings.secret_file} too, in another place: the copy is of no use without it",
    )


def restore(
    source: Annotated[Path, typer.Argument(help="File that `hub backup` wrote.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a backup in the place of the SQLite database, while the hub is stopped. The old one is kept beside it."""
    with plainly():
        try:
            done = restore_from(source, load(config))
        except BadConfig as exc:
            raise BadConfig(f"{exc}\nnothing was changed") from exc
    made = f", made {done.made_at}" if done.made_at else ""
    lines = [
        f"restored {source}{made}: {done.people} people, {done.edges} edges",
        *(f"applied {name}" for name in done.migrations),
        f"the database before it is kept as {done.replaced}" if done.replaced else "there was no database before it",
        "secret_file is the one that belongs to it"
        if done.secret == "fits"
        else "NOTE: this backup does not say which secret belongs to it; with a wrong one everybody is a stranger",
        "next: start the hub; then read what an older backup means for tills, consents and phones: docs/backup.md",
    ]
    show(as_json, done._asdict(), *lines)


def restore_from(source: Path, settings: HubConfig) -> Restored:
    """See `restore`.

    Raises:
        BadConfig: it cannot be done as asked; nothing was changed then.
    """
    target = _file(settings, POSTGRES_RESTORE, source)
    if not source.is_file():
        raise BadConfig(f"{source}: there is no such file")
    if target.exists() and source.samefile(target):
        raise BadConfig(f"{source}: is the database itself; name a backup")
    mark = fingerprint(read_secret(settings.secret_file))
    with alone(settings.database):
        with _progress("checking") as watch:
            staged, found = copies.stage(source, target, watch)
        try:
            if found.tenants and settings.tenant not in found.tenants:
                raise BadConfig(f"{source}: belongs to tenant {found.tenants[0]}, the settings say {settings.tenant}")
            migrations = copies.adopt(staged)
            owner = copies.fingerprint_in(staged, settings.tenant) or (found.stamp.fingerprint if found.stamp else None)
            if owner is not None and owner != mark:
                raise BadConfig(
                    f"{source}: needs another secret ({owner[:8]}…) than {settings.secret_file} ({mark[:8]}…); "
                    "put the one that belongs to it there first, or everybody would be a stranger"
                )
            people, edges = _count(staged, settings.tenant)
            replaced = copies.swap(staged, target, f"{_utc(SystemClock().now_ms()):%Y%m%dT%H%M%SZ}")
        finally:
            copies.discard(staged)
    return Restored(
        database=str(target),
        replaced=str(replaced) if replaced else None,
        made_at=_utc(found.stamp.made_at_ms).isoformat(timespec="seconds") if found.stamp else None,
        migrations=migrations,
        secret="fits" if owner else "unknown",
        people=people,
        edges=edges,
    )


def _file(settings: HubConfig, otherwise: str, named: Path) -> Path:
    path = file_of(settings.database)
    if path is None:
        name = settings.database.rpartition("/")[2].partition("?")[0] or "doorchime"
        raise BadConfig(otherwise.format(file=named, name=name))
    return path


def _mark_of(settings: HubConfig, source: Path) -> str | None:
    """The fingerprint of the secret that belongs to the database: as it says itself, else of the secret at hand."""
    own = copies.fingerprint_in(source, settings.tenant)
    try:
        at_hand = fingerprint(read_secret(settings.secret_file))
    except BadConfig:
        at_hand = None
    if own and at_hand != own:
        note = f"NOTE: {settings.secret_file} is not the secret that belongs to this database"
        typer.echo(f"doorchime: {note}", err=True)
    return own or at_hand


def _count(path: Path, tenant: str) -> tuple[int, int]:
    """People and edges in a database of this schema."""
    store = open_store(f"sqlite:{path}")
    try:
        with store.read() as tx:
            people = tx.count(Profile, {"tenant": tenant, "state": "active"})
            return people, tx.count(Edge, {"tenant": tenant})
    finally:
        store.close()


def _utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


@contextmanager
def _progress(what: str) -> Iterator[copies.Watch]:
    """A bar for whoever looks on; nothing where nobody does."""
    with Progress(
        TextColumn(what), BarColumn(), DownloadColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    ) as bar:  # fmt: skip
        task = bar.add_task(what, total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=max(done, whole))
