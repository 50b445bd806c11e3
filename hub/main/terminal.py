"""What every command shares: its options, how it opens the store, how it fails."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.config import HubConfig, load
from hub.ports import Store
from hub.stores import open_store
from wire.errors import DoorchimeError

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file with the settings; without it, environment and defaults.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Turn an error of ours into one line on stderr and exit status 1."""
    try:
        yield
    except DoorchimeError as exc:
        typer.echo(f"doorchime: {exc}", err=True)
        raise typer.Exit(1) from None


@contextlib.contextmanager
def opened(path: Path | None) -> Iterator[tuple[HubConfig, Store]]:
    """The settings and their store, migrated; closed at the end.

    Raises:
        BadConfig: see `hub.config.load`.
        StoreFault: the store cannot be opened.
    """
    config = load(path)
    store = open_store(config.database)
    try:
        store.migrate()
        yield config, store
    finally:
        store.close()


def show(as_json: bool, found: Any, *lines: str) -> None:
    """Print either the JSON of `found` or the lines for people."""
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for line in lines:
            typer.echo(line)
