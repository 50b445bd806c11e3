"""`doorchime bench NAME`: one JSON object on stdout, progress on stderr."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.clock import steady_s
from bench.measure import QUICK_S, Outcome
from bench.registry import NAMES, find
from wire.errors import DoorchimeError


def bench(
    name: Annotated[str, typer.Argument(help=", ".join(NAMES))],
    quick: Annotated[
        bool, typer.Option("--quick", help=f"Smaller and less exact, but over within {QUICK_S:.0f} s.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the JSON object into this file too.")] = None,
) -> None:
    """Measure doorchime on this machine: figures, ratios within the run, and those it is held against."""
    began_s = steady_s()
    try:
        outcome = find(name)(quick, lambda line: typer.echo(f"{steady_s() - began_s:6.1f} s  {line}", err=True))
        text = rendered(name, outcome)
        if out is not None:
            out.write_text(text + "\n", "utf-8")
    except DoorchimeError as exc:
        typer.echo(f"doorchime bench: {exc}", err=True)
        raise typer.Exit(1) from None
    except OSError as exc:
        typer.echo(f"doorchime bench: {exc}", err=True)
        raise typer.Exit(1) from None
    typer.echo(text)


def rendered(name: str, outcome: Outcome) -> str:
    """The JSON object that scripts read: `bench`, `figures`, `ratios`, `peers`."""
    found = {"bench": name, "figures": outcome.figures, "ratios": outcome.ratios, "peers": outcome.peers}
    return json.dumps(found, indent=2, allow_nan=False)
