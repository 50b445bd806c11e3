"""The command line of the simulators."""

import asyncio
import lzma
import random
import signal
from pathlib import Path
from typing import Annotated

import typer

from simulators import clock, floorplan
from simulators.bluez.command import replay_bluez, serve_bluez
from simulators.captures.command import import_capture
from simulators.chaos.command import chaos
from simulators.feed import Feed
from simulators.radio import Air
from simulators.recording import opened
from simulators.scene import make_stranger
from simulators.walk import populate
from wire.errors import BadConfig, BadTrace, DoorchimeError
from wire.ibeacon import Beacon, encode_ad
from wire.trace import Frame, TraceReader, write_line

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they would show values
    help="Simulators: people, phones, tills and recordings.",
)


app.command("chaos")(chaos)


@app.callback()
def root() -> None:
    """Simulators: people, phones, tills and recordings."""


@app.command("walk")
def walk(
    out: Annotated[Path, typer.Argument(help="File to write: frames, JSON lines; `.xz` compresses.")],
    scenario: Annotated[str, typer.Option(help="Name of a scenario, or a .toml file.")] = "corner-shop",
    prefix: Annotated[
        str, typer.Option(help="Fleet prefix of the members' beacons, 8 hexadecimal digits.")
    ] = "d0c41e02",
    duration: Annotated[float | None, typer.Option(min=1, help="Length in s; default: the scenario's.")] = None,
    seed: Annotated[int, typer.Option(help="The same people on the same ways.")] = 1,
) -> None:
    """Write what every edge of a synthetic shop would hear, without running anything."""
    try:
        plan = floorplan.load(scenario)
        frames = sorted(_walked(plan, bytes.fromhex(prefix), duration or plan.duration_s, seed), key=lambda f: f.t_ms)
    except (DoorchimeError, ValueError) as exc:
        typer.echo(f"doorchime: {exc}", err=True)
        raise typer.Exit(1) from None
    with lzma.open(out, "wb") if out.suffix == ".xz" else out.open("wb") as file:
        for frame in frames:
            file.write(write_line(frame))
    typer.echo(f"wrote {len(frames):,} frames to {out}")


def _walked(plan: floorplan.FloorPlan, prefix: bytes, duration_s: float, seed: int) -> list[Frame]:
    dice = random.Random(seed + 2)
    air = Air(plan, random.Random(seed + 1))
    found = []
    for number, person in enumerate(populate(plan, seed)):
        if person.who == "bystander":
            stranger = make_stranger(number, dice)
            adv, address = stranger.adv, stranger.address
        else:
            beacon = Beacon(prefix + dice.randbytes(12), dice.randrange(65_536), dice.randrange(65_536), -59)
            adv, address = encode_ad(beacon), f"02:00:00:00:00:{number & 255:02x}"
        at_s = person.walk.times_s[0]
        while at_s < min(duration_s, person.walk.end_s):
            at = person.walk.at(at_s)
            for edge in plan.edge:
                rssi_dbm = air.receive(person.name, at, edge.id, edge.at) if at is not None else None
                if rssi_dbm is not None:
                    found.append(Frame(
                        t_ms=int(at_s * 1000), scanner=edge.id, address=address, rssi_dbm=rssi_dbm, adv=adv.hex(),
                    ))  # fmt: skip
            at_s += person.advert_ms / 1000 + dice.random() * 0.01
    return found


app.command("import")(import_capture)
app.command("bluez")(serve_bluez)


@app.command("replay")
def replay(
    trace: Annotated[Path, typer.Argument(help="Frames to play: *.frames.jsonl[.xz], as `sim walk` writes them.")],
    socket: Annotated[Path, typer.Option(help='Unix socket to serve; edges use `radio = "replay:PATH"`.')],
    bluez: Annotated[
        bool, typer.Option("--bluez", help='Serve it as a BlueZ without a radio: edges use `radio = "bluez"`.')
    ] = False,
    scanner: Annotated[str | None, typer.Option(help="With --bluez: play what this scanner heard; else all.")] = None,
    linger: Annotated[float, typer.Option(min=0, help="With --bluez: stay so long after the last frame, s.")] = 0,
    release: Annotated[str, typer.Option(help="With --bluez: the BlueZ whose rules apply.")] = "5.88",
    wait_for: Annotated[int, typer.Option(min=0, help="Edges to wait for before the first frame.")] = 1,
    speed: Annotated[float, typer.Option(min=0.1, max=1000, help="How fast to play.")] = 1.0,
) -> None:
    """Play recorded frames to running edges."""
    try:
        if bluez:
            asyncio.run(replay_bluez(trace, socket, wait_for, speed, scanner, linger, release))
            return
        asyncio.run(_serve(trace, socket, wait_for, speed))
        socket.unlink(missing_ok=True)
    except (DoorchimeError, OSError) as exc:
        typer.echo(f"doorchime: {exc}", err=True)
        raise typer.Exit(1) from None


async def _serve(path: Path, socket: Path, wait_for: int, speed: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    feed = Feed(socket)
    await feed.start()
    playing = asyncio.create_task(_play(feed, path, wait_for, speed))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((playing, stopped), return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            await playing
    finally:
        playing.cancel()
        stopped.cancel()
        await feed.stop()
    typer.echo(f"played {feed.counts['sent']:,} frames, {feed.counts['unheard']:,} to nobody")


async def _play(feed: Feed, path: Path, wait_for: int, speed: float) -> None:
    with opened(path) as lines:
        try:
            reader = TraceReader(lines)
        except BadTrace as exc:
            raise BadConfig(f"{path}: {exc}") from exc
        if reader.header is not None:
            raise BadConfig(f"{path}: names tags, not frames; `doorchime demo --trace` enrols and plays them")
        await feed.wait_for_count(wait_for)
        start_s = clock.steady_s()
        for frame in reader:
            assert isinstance(frame, Frame)
            wait_s = start_s + frame.t_ms / 1000 / speed - clock.steady_s()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            feed.send(frame)
