"""`doorchime sim bluez` and `doorchime sim replay TRACE --bluez`: the fake as a process, for any bleak program."""

import asyncio
import contextlib
import signal
import sys
from collections import Counter
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from simulators import clock
from simulators.bluez.behaviour import Behaviour
from simulators.bluez.crowd import Crowd
from simulators.bluez.playing import heard_of, play
from simulators.bluez.radio import FakeBlueZ
from simulators.bluez.script import MAX_LINE_BYTES, Step, apply, read
from simulators.recording import opened
from wire.errors import BadConfig, BadTrace, DoorchimeError
from wire.trace import Frame, TraceReader


def serve_bluez(
    path: Annotated[Path, typer.Option(help="Unix socket of the bus; programs find it by DBUS_SYSTEM_BUS_ADDRESS.")],
    daemon: Annotated[
        bool, typer.Option("--daemon", help="Run a private dbus-daemon (Debian's `dbus`) instead of being the bus.")
    ] = False,
    adapter: Annotated[
        list[str] | None, typer.Option(help="Adapter present, hci0 by default; may be repeated.")
    ] = None,
    release: Annotated[str, typer.Option(help="BlueZ whose rules apply: after 5.87 it reports less.")] = "5.88",
    script: Annotated[
        Path | None, typer.Option(help="What happens: JSON lines, see docs/bluez-simulator.md; `-` reads them live.")
    ] = None,
    beacons: Annotated[int, typer.Option(min=0, help="Made-up beacons that advertise all the time.")] = 0,
    hz: Annotated[float, typer.Option(min=0.01, max=50, help="How often each of them advertises, Hz.")] = 1.0,
    rotate: Annotated[float | None, typer.Option(help="Each gets a new address and identity this often, s.")] = None,
) -> None:
    """A BlueZ without a radio, until SIGTERM: scan it with any program that uses bleak."""
    try:
        crowd = Crowd(beacons, hz, rotate) if beacons else None
        steps = _steps(script) if script is not None and str(script) != "-" else []
        radio = FakeBlueZ(
            path=path,
            bus="daemon" if daemon else "standalone",
            adapters=adapter or ["hci0"],
            behaviour=Behaviour(release=release),
        )
        asyncio.run(_Stage(radio).perform(crowd, steps, live=str(script) == "-"))
    except (DoorchimeError, OSError) as exc:
        typer.echo(f"doorchime: {exc}", err=True)
        raise typer.Exit(1) from None


async def replay_bluez(trace: Path, path: Path, wait_for: int, speed: float, scanner: str | None, linger_s: float,
                       release: str) -> None:  # fmt: skip
    """Play a recording of frames through a fake BlueZ at `path`, once `wait_for` clients scan.

    Raises:
        BadConfig: the recording holds no frames, or an argument cannot be.
        BadTrace: a line of it cannot be read.
    """
    stage = _Stage(FakeBlueZ(path=path, behaviour=Behaviour(release=release)))
    with opened(trace) as lines:
        try:
            frames = TraceReader(lines)
        except BadTrace as exc:
            raise BadConfig(f"{trace}: {exc}") from exc
        if frames.header is not None:
            raise BadConfig(f"{trace}: names tags, not frames; `doorchime demo --trace` enrols and plays them")
        await stage.replay((one for one in frames if isinstance(one, Frame)), wait_for, speed, scanner, linger_s)


class _Stage:
    """The fake and what is done with it, until SIGTERM or the end of the play."""

    def __init__(self, radio: FakeBlueZ) -> None:
        self._radio = radio
        self._counts: Counter[str] = Counter()

    async def perform(self, crowd: Crowd | None, steps: list[Step], *, live: bool) -> None:
        """`sim bluez`."""
        first = next((number for number, step in enumerate(steps) if step.at_s is not None), len(steps))
        async with self._radio:
            for step in steps[:first]:
                await apply(step, self._radio)
            work = [self._run(steps[first:])]
            if crowd is not None:
                work.append(self._play(crowd))
            if live:
                work.append(self._follow())
            await self._until_stopped(work)

    async def replay(
        self, frames: Iterable[Frame], wait_for: int, speed: float, scanner: str | None, linger_s: float
    ) -> None:
        """`sim replay --bluez`."""
        async with self._radio:

            async def work() -> None:
                await self._radio.until(lambda: len(self._radio.scanners) >= wait_for)
                await play(self._radio, heard_of(frames, scanner, self._counts), speed, self._counts)
                self._say("played to the end")
                await asyncio.sleep(linger_s)

            await self._until_stopped([work()], ends=True)

    async def _until_stopped(self, work: list[Coroutine[Any, Any, None]], *, ends: bool = False) -> None:
        """Run it all. `ends`: when the work is done, so is the stage; otherwise only a signal ends it."""
        self._start_s = clock.steady_s()
        typer.echo(f"DBUS_SYSTEM_BUS_ADDRESS={self._radio.address}")
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        tasks = [asyncio.create_task(one) for one in work]
        tasks.append(asyncio.create_task(self._watch()))
        stopping = asyncio.create_task(stop.wait())
        try:
            await self._first(tasks, stopping, ends)
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)
            self._summarise()

    async def _first(self, tasks: list["asyncio.Task[None]"], stopping: "asyncio.Task[Any]", ends: bool) -> None:
        """Return when stopped, or with `ends` when the first task is done; whatever fails, raises."""
        waiting: set[asyncio.Task[Any]] = {*tasks, stopping}
        while stopping in waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
            if ends and tasks[0] in done:
                return

    # -- what is done ----------------------------------------------------------------------------------------------

    async def _play(self, crowd: Crowd) -> None:
        await self._radio.until(self._radio.scanning)
        await play(self._radio, crowd.heard(), 1.0, self._counts)

    async def _run(self, steps: list[Step]) -> None:
        """A script, from the first scan on."""
        if not steps:
            return
        await self._radio.until(self._radio.scanning)
        start_s = clock.steady_s()
        for step in steps:
            if step.at_s is not None:
                await asyncio.sleep(max(0.0, start_s + step.at_s - clock.steady_s()))
            self._say(f"{step.verb} {' '.join(f'{name}={value}' for name, value in step.arguments.items())}".strip())
            await apply(step, self._radio)
        self._say("the script has ended")

    async def _follow(self) -> None:
        """Lines from standard input, each at once; one that cannot be is said and skipped."""
        reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        except ValueError as exc:
            raise BadConfig("standard input is a file: give it as --script FILE") from exc
        while line := await reader.readline():
            try:
                for step in read([line.decode("utf-8", "replace")]):
                    await apply(step, self._radio)
                    self._say(step.verb)
            except BadConfig as exc:
                typer.echo(f"doorchime: {exc}", err=True)

    # -- what is said ----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Say who scans, whenever that changes."""
        radio = self._radio
        shown = ""
        while True:
            how = ", active" if radio.scanning(mode="active") else ", passive" if radio.scanning() else ""
            now = f"{len(radio.scanners)} scanning{how}"
            if now != shown:
                shown = now
                self._say(now)
            seen = radio.scanners
            await radio.until(lambda seen=seen: radio.scanners != seen)  # type: ignore[misc]

    def _say(self, text: str) -> None:
        typer.echo(f"{clock.steady_s() - self._start_s:9.3f} s  {text}")

    def _summarise(self) -> None:
        counts = self._radio.counts + self._counts
        typer.echo(", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "nothing was in the air")


def _steps(path: Path) -> list[Step]:
    """All of a script, checked before anything starts."""
    try:
        with path.open(encoding="utf-8") as lines, contextlib.suppress(UnicodeDecodeError):
            return list(read(lines))
    except BadConfig as exc:
        raise BadConfig(f"{path}: {exc}") from exc
    raise BadConfig(f"{path}: not UTF-8")
