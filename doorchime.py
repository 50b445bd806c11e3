"""One command for everything: `doorchime hub|edge|sim|…`. Each program is imported only when it is called."""

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they would show values
    help="In-store presence to one consented, decaying offer on the right phone.",
)

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"doorchime {version('doorchime')}")
        except PackageNotFoundError:
            typer.echo("doorchime (not installed, run from its folder)")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """In-store presence to one consented, decaying offer on the right phone."""


@app.command("hub", context_settings=_PASS_ON)
def hub(ctx: typer.Context) -> None:
    """The hub: decides, offers, redeems. Its API, its keys, its database."""
    _run(ctx, "hub", "hub.main", "app")


@app.command("edge", context_settings=_PASS_ON)
def edge(ctx: typer.Context) -> None:
    """The agent on a Raspberry Pi: hears beacons, tells the hub."""
    _run(ctx, "edge", "edge.main", "app")


@app.command("sim", context_settings=_PASS_ON)
def sim(ctx: typer.Context) -> None:
    """Simulators: people, phones, tills and recordings."""
    _run(ctx, "demo", "simulators.main", "app")


@app.command("demo", context_settings=_PASS_ON)
def demo(ctx: typer.Context) -> None:
    """The whole system on this machine, as separate processes, with a live table."""
    _run(ctx, "demo", "simulators.demo", "demo")


@app.command("bench", context_settings=_PASS_ON)
def bench(ctx: typer.Context) -> None:
    """Benchmarks, held against rivals on this machine. Only in a checkout, not in an installed package."""
    here = Path(__file__).resolve().parent
    if not (here / "bench" / "main.py").is_file():
        typer.echo("doorchime bench is not part of the installed package: run it in a checkout, `make bench`", err=True)
        raise typer.Exit(1)
    sys.path.insert(0, str(here))  # not a package of the wheel, so an editable install does not find it either
    _run(ctx, "demo", "bench.main", "bench")


def _run(ctx: typer.Context, extra: str, module: str, name: str) -> None:
    """Hand the rest of the command line to a program."""
    command = f"doorchime {ctx.info_name}"
    try:
        target: Any = getattr(import_module(module), name)
    except ModuleNotFoundError as exc:
        typer.echo(f"{command} needs the package {exc.name!r}: pip install 'doorchime[{extra}]'", err=True)
        raise typer.Exit(1) from None
    if not isinstance(target, typer.Typer):
        program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        program.command()(target)
        target = program
    target(args=ctx.args, prog_name=command)


if __name__ == "__main__":
    sys.exit(app(prog_name="doorchime"))
