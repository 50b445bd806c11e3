"""`doorchime sim chaos`: options in, progress while it runs, a verdict with its seed at the end."""

import asyncio
import json
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from simulators.chaos import rounds as rounds_
from simulators.chaos.arena import EDGES, Arena, Verdict
from simulators.chaos.brokers import shipped
from simulators.chaos.drills import DRILLS, Drill, Options
from simulators.chaos.plan import make_plan
from wire.errors import BadConfig, DoorchimeError, LocalFault

BROKERS = ("iotcore", "mosquitto")

ROUNDS = 200

AGAIN = "doorchime sim chaos"

VIOLATIONS_SHOWN = 20


def chaos(
    rounds: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help=f"Rounds of blows, a second or two each; {ROUNDS} by default."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same blows, guests and faults.")] = 1,
    broker: Annotated[
        str, typer.Option(help="iotcore (the embedded one) or mosquitto (Debian's, with our settings).")
    ] = "iotcore",
    drill: Annotated[
        str | None, typer.Option(help=f"One misfortune instead of random blows: {', '.join(DRILLS)}.")
    ] = None,
    pause_s: Annotated[float, typer.Option("--pause", min=1, max=600, help="Length of the drill `pause`, s.")] = 30.0,
    report_file: Annotated[Path | None, typer.Option("--report", help="Write the JSON report here.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep database, outboxes, logs and records in this folder.")] = None,
) -> None:
    """The whole real system, killed and stopped at random while people use it; then judged event by event."""
    try:
        misfortune = _drill(drill, rounds)
        settings = _settings(broker, misfortune)
        home = _home(keep)
    except DoorchimeError as exc:
        typer.echo(f"doorchime: {exc}", err=True)
        raise typer.Exit(1) from None
    options = Options(seed, rounds or (misfortune.rounds if misfortune else None) or ROUNDS, pause_s, typer.echo)
    words = ["--seed", str(seed)]
    words += ["--broker", broker] if misfortune is None or misfortune.mosquitto is None else []
    words += ["--drill", drill] if drill else []
    words += ["--rounds", str(options.rounds)] if misfortune is None or misfortune.rounds else []
    words += ["--pause", f"{pause_s:g}"] if drill == "pause" else []
    try:
        verdict = asyncio.run(_run(Arena(home, seed, settings), misfortune, options))
    except (DoorchimeError, asyncio.CancelledError) as exc:
        why = str(exc) or "ended by a signal before the verdict"
        typer.echo(f"doorchime: {why}\nagain:    {AGAIN} {' '.join(words)}\nevidence: {home}", err=True)
        raise typer.Exit(1) from None
    if report_file is not None:
        report_file.write_text(json.dumps(as_report(verdict, words), indent=2) + "\n", "utf-8")
    for line in told(verdict, words):
        typer.echo(line)
    if not verdict.violations:
        if keep is None:
            shutil.rmtree(home, ignore_errors=True)
        return
    typer.echo(f"evidence: {home}")
    raise typer.Exit(1)


def told(verdict: Verdict, words: list[str]) -> list[str]:
    """The verdict for people."""
    lines = _summary(verdict.figures) if verdict.figures else []
    for violation in verdict.violations[:VIOLATIONS_SHOWN]:
        lines.append(f"BROKEN  {violation.charge}: {violation.detail}")
    count = len(verdict.violations)
    if count > VIOLATIONS_SHOWN:
        lines.append(f"        and {count - VIOLATIONS_SHOWN} more")
    found = "every promise was kept" if not count else "1 violation" if count == 1 else f"{count} violations"
    return [*lines, f"verdict:  {found}", f"again:    {AGAIN} {' '.join(words)}"]


def _summary(n: dict[str, int]) -> list[str]:
    return [
        "",
        f"{n['events_numbered']:,} events numbered by {len(EDGES)} edges in {n['starts_of_edges']} lives = "
        f"{n['committed']:,} committed",
        f"+ {n['consent_refused']:,} without consent + {n['identity_refused']:,} of unknown beacons "
        f"+ {n['quarantined']:,} quarantined + {n['lost']:,} lost.",
        f"{n['events_sent_again']:,} were sent again; the hub met and ignored {n['duplicates']:,} repeats.",
        f"{n['guests']} guests, {n['visits']} visits ({n['visits_opened_late']} noticed late), "
        f"{n['grants']} grants, {n['redemptions']} redeemed.",
        f"{n['pushes_received']} pushes received, {n['pushes_repeated']} of them again; "
        f"{n['pushes_lost_by_broker']} acknowledged by the broker and lost with it.",
        f"After a blow the hub answered within {n['slowest_sign_of_life_ms'] / 1000:.1f} s.",
        "",
    ]


def as_report(verdict: Verdict, words: list[str]) -> dict[str, object]:
    """The verdict for programs."""
    violations = [violation._asdict() for violation in verdict.violations]
    return {
        "kept": not violations,
        "command": f"{AGAIN} {' '.join(words)}",
        "figures": verdict.figures,
        "violations": violations,
    }


async def _run(arena: Arena, drill: Drill | None, options: Options) -> Verdict:
    """Ended by SIGTERM, it leaves nothing running either."""
    me, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert me is not None
    loop.add_signal_handler(signal.SIGTERM, me.cancel)
    options.say("starting broker, hub and edges …")
    async with arena:
        try:
            if drill is None:
                await rounds_.play(arena, make_plan(options.seed, options.rounds, EDGES), options.say)
            else:
                await drill.run(arena, options)
            options.say("everybody leaves; the hub accounts for every event …")
            return await arena.finish()
        except LocalFault:
            if not arena.broken:
                raise
            return Verdict(arena.broken)  # what is broken is more than the fault that ended the run


def _drill(name: str | None, rounds: int | None) -> Drill | None:
    if name is None:
        return None
    if name not in DRILLS:
        raise BadConfig(f"--drill {name}: choose one of {', '.join(DRILLS)}")
    if rounds is not None and DRILLS[name].rounds is None:
        raise BadConfig(f"--rounds: the drill {name} has none; leave it out")
    return DRILLS[name]


def _settings(broker: str, drill: Drill | None) -> str | None:
    if broker not in BROKERS:
        raise BadConfig(f"--broker {broker}: choose one of {', '.join(BROKERS)}")
    if drill is not None and drill.mosquitto is not None:
        return drill.mosquitto
    return shipped() if broker == "mosquitto" else None


def _home(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="doorchime-chaos-"))
    try:
        keep.mkdir(parents=True)
    except OSError as exc:
        raise BadConfig(f"--keep {keep}: {exc.strerror}; name a folder that does not exist") from exc
    return keep.resolve()
