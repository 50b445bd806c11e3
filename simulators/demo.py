"""`doorchime demo`: the whole system on this machine, as separate processes, watched, audited and judged."""

import asyncio
import json
import random
import shutil
import signal
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import httpx
import typer
from rich.console import Console
from rich.live import Live

from simulators import clock, floorplan, report
from simulators.phone import Phone
from simulators.recording import RecordedScene
from simulators.scene import Scene, ShopScene, Stage, make_stranger
from simulators.table import Scoreboard, line, render
from simulators.tempo import Tempo
from simulators.town import CANARY_UUID, HOST, READY_S, Town, new_stage
from simulators.witness import Listener, identities_in, write_witness
from wire.errors import BadConfig, DoorchimeError, LocalFault
from wire.ibeacon import Beacon, encode_ad, parse_uuid
from wire.trace import Frame

SETTLE_S = 20.0
"""Longest wait, after the edges have gone, for the hub to account for all they published, s."""

LOOK_S = 0.5
"""How often the table is filled from the hub, s."""

HEADLESS_S = 5.0
"""How often a headless run says where it is, s."""

CANARY_S = 1.0
"""How often the store's own beacon is heard, s."""

CAPTURE = "mqtt.log"


def demo(
    headless: Annotated[bool, typer.Option("--headless", help="No table; a line every 5 s.")] = False,
    duration: Annotated[float | None, typer.Option(min=5, help="Length in s; default: the scenario's.")] = None,
    speed: Annotated[float, typer.Option(help="How fast time may run; it runs as fast as all keep up.")] = 1.0,
    trace: Annotated[Path | None, typer.Option(help="A recording (*.trace.jsonl[.xz]) instead of a scenario.")] = None,
    scenario: Annotated[str, typer.Option(help="Name of a scenario, or a .toml file.")] = "corner-shop",
    report_file: Annotated[Path | None, typer.Option("--report", help="Write the JSON report here.")] = None,
    seed: Annotated[int, typer.Option(help="The same people on the same ways.")] = 1,
    keep: Annotated[Path | None, typer.Option(help="Keep database, logs and captures in this new folder.")] = None,
) -> None:
    """The whole system on this machine, as separate processes, with a live table; fails when a promise is broken."""
    console = Console()
    try:
        scene: Scene = RecordedScene(trace) if trace is not None else ShopScene(floorplan.load(scenario), seed)
        home = _home(keep)
        try:
            found, problems = asyncio.run(Demo(scene, home, console, headless, seed, speed).run(duration))
        finally:
            if keep is None:
                shutil.rmtree(home, ignore_errors=True)
    except DoorchimeError as exc:
        typer.echo(f"doorchime: {exc}", err=True)
        raise typer.Exit(1) from None
    if report_file is not None:
        report_file.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    _conclude(console, found, problems)
    if problems:
        raise typer.Exit(1)


def _home(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="doorchime-"))
    try:
        keep.mkdir(parents=True)
    except OSError as exc:
        raise BadConfig(f"--keep {keep}: {exc.strerror}; name a folder that does not exist") from exc
    return keep.resolve()


class _Played(NamedTuple):
    """How long a scene was, in its own time and in real time, s."""

    scene_s: float
    real_s: float


class Demo:
    """One run."""

    def __init__(
        self, scene: Scene, home: Path, console: Console, headless: bool, seed: int, speed: float = 1.0
    ) -> None:
        self.scene, self.home, self.console, self.headless = scene, home, console, headless
        self.tempo = Tempo(speed, home)
        self.town = Town(home, scene.place, self.tempo)
        self.board = Scoreboard(scene.place, note="starting")
        self.phones: dict[str, Phone] = {}
        self.dice = random.Random(seed + 2)
        self.seed = seed

    async def run(self, duration_s: float | None) -> tuple[dict[str, Any], list[str]]:
        """Start, play, stop in order, audit; the report and why it failed.

        Raises:
            LocalFault: a program died, or SIGTERM ended the run; nothing of it runs on.
        """
        me = asyncio.current_task()
        assert me is not None
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, me.cancel)
        try:
            return await self._run(duration_s)
        except asyncio.CancelledError:
            raise LocalFault("ended by a signal before the scene was over") from None
        finally:
            loop.remove_signal_handler(signal.SIGTERM)

    async def _run(self, duration_s: float | None) -> tuple[dict[str, Any], list[str]]:
        length_s = min(duration_s or self.scene.duration_s, self.scene.longest_s)
        self.board.duration_s = length_s
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._give_up)
            self._say("starting broker, hub and edges")
            await self.town.open()
            listener = await asyncio.to_thread(Listener, HOST, self.town.mqtt_port, self.home / CAPTURE)
            stack.callback(listener.close)
            await asyncio.to_thread(listener.wait_ready, READY_S)
            self._say("people enrol and answer the consent screen")
            await self.town.enrol(self.phones)
            stage = self._stage()
            played = await self._play(stage, listener, length_s)
            return await self._finish(stage, listener, played)

    def _stage(self) -> Stage:
        stage = new_stage(self.town, self.phones, self.dice)
        strangers = [actor.name for actor in self.scene.place.cast if actor.who == "bystander"]
        stage.strangers = {name: make_stranger(number, self.dice) for number, name in enumerate(strangers)}
        return stage

    async def _play(self, stage: Stage, listener: Listener, length_s: float) -> _Played:
        """Until the scene is over; how long that took, in the scene's time and in real time."""
        start_s, real_s = self.tempo.steady_s(), clock.steady_s()
        self.tempo.hurry()
        looking = asyncio.create_task(self._look(stage, listener, start_s))
        canary = asyncio.create_task(self._canary(stage))
        try:
            self.board.note = ""
            scene = asyncio.create_task(self.scene.play(stage, length_s))
            done, _ = await asyncio.wait((scene, looking), return_when=asyncio.FIRST_COMPLETED)
            if looking in done:
                scene.cancel()
                await looking  # a program died: say which
            await scene
            if stage.redeeming:
                await asyncio.wait(stage.redeeming)
        finally:
            looking.cancel()
            canary.cancel()
        played = _Played(self.tempo.steady_s() - start_s, clock.steady_s() - real_s)
        await self.tempo.calm()
        return played

    async def _canary(self, stage: Stage) -> None:
        """The store's own beacon, heard by every edge once a second."""
        adv = encode_ad(Beacon(parse_uuid(CANARY_UUID), 1, 1, -59)).hex()
        while True:
            at_ms, next_s = self.tempo.now_ms(), self.tempo.steady_s() + CANARY_S
            for spec in self.scene.place.edges:
                frame = Frame(t_ms=at_ms, scanner=spec.edge, address="02:00:00:00:00:02", rssi_dbm=-70, adv=adv)
                stage.feed.send(frame)
            await self.tempo.until(next_s)

    async def _look(self, stage: Stage, listener: Listener, start_s: float) -> None:
        """Fill and draw the table until cancelled; ends with an error when a program dies."""
        board, told_s = self.board, clock.steady_s()
        board.phones = self.phones
        with Live(console=self.console, auto_refresh=False, transient=False) as live:
            while True:
                self.town.check()
                board.elapsed_s, board.now_ms = self.tempo.steady_s() - start_s, self.tempo.now_ms()
                board.rate = self.tempo.rate
                board.telemetry = listener.telemetry | stage.feed.telemetry()
                board.redeemed = {one["grant"]: one["value_bp"] for one in stage.till.records}
                await self._ask_hub(board)
                if not self.headless:
                    live.update(render(board), refresh=True)
                elif clock.steady_s() - told_s >= HEADLESS_S:
                    told_s = clock.steady_s()
                    typer.echo(line(board))
                await asyncio.sleep(LOOK_S)

    async def _ask_hub(self, board: Scoreboard) -> None:
        try:
            board.hub = await self.town.report()
            board.locked = await self._locked()
            board.note = ""
        except httpx.HTTPError:
            board.note = "the hub does not answer"

    async def _locked(self) -> dict[str, int]:
        """Values that arrivals have frozen, from each phone's own wallet."""
        found: dict[str, int] = {}
        for phone in self.phones.values():
            if not phone.received:
                continue
            reply = await self.town.http.get("/v1/offers", headers={"Authorization": f"Bearer {phone.key}"})
            reply.raise_for_status()
            for offer in reply.json()["items"]:
                if offer["locked"] is not None:
                    found[offer["grant"]] = offer["locked"]["value_bp"]
        return found

    async def _finish(self, stage: Stage, listener: Listener, played: _Played) -> tuple[dict[str, Any], list[str]]:
        self._say("closing: edges flush, the hub accounts for every event")
        codes = await self.town.close_edges()
        hub = await self._settled(listener)
        reports = await self._foreign_reports(hub)
        for phone in self.phones.values():
            phone.hang_up()
        codes += await self.town.close_rest()
        listener.close()
        telemetry = self._counters(listener)
        published = {edge: one.get("events_published", 0) for edge, one in listener.counters().items()}
        needles = {needle for stranger in stage.strangers.values() for needle in stranger.traces()}
        write_witness(self.home, self.phones.values(), stage.till.records, published, needles)
        self._say("auditing")
        audit = await self.town.audit(self.home)
        leaks = identities_in(self.home, self.phones.values(), self.town.keys.values(), CAPTURE)
        latencies = self._latencies(stage)
        found = report.build(
            telemetry,
            hub,
            latencies,
            audit,
            {
                "pushes_delivered": sum(len(phone.received) for phone in self.phones.values()),
                "push_repeats": sum(phone.repeats for phone in self.phones.values()),
                "redemptions_refused": dict(stage.till.refused),
                "identities_in_logs": sum(leaks.values()),
                "speed_reached": round(played.scene_s / played.real_s, 2),
                "duration_s": round(played.scene_s, 1),
                "real_s": round(played.real_s, 1),
                "seed": self.seed,
                "scene": self.scene.place.name,
                "edges": len(self.scene.place.edges),
                "frames_sent": stage.feed.counts["sent"],
                **reports,
            },
        )
        problems = report.failures(found, self.scene.place.expects_expiry)
        problems += [f"a program ended with exit code {code}" for code in codes if code != 0]
        missing = {spec.edge for spec in self.scene.place.edges} - set(telemetry)
        problems += [f"{edge} never sent its counters" for edge in sorted(missing)]
        return found, problems

    async def _settled(self, listener: Listener) -> dict[str, Any]:
        """The hub's last report: once it accounts for all that edges say they published, and no push waits."""
        deadline_s = clock.steady_s() + SETTLE_S
        while True:
            hub = await self.town.report()
            published = sum(one.get("events_published", 0) for one in self._counters(listener).values())
            waiting = hub["pushes"]["queued"] + hub["pushes"]["leased"]
            if (hub["accounts"]["upto"] == published and not waiting) or clock.steady_s() > deadline_s:
                return hub
            await asyncio.sleep(0.1)  # another process cannot signal us

    def _counters(self, listener: Listener) -> dict[str, dict[str, int]]:
        nodes = {edge: dict(told.counters) for edge, told in self.town.feed.telemetry().items()}
        return listener.counters() | nodes

    async def _foreign_reports(self, hub: dict[str, Any]) -> dict[str, int]:
        """Where nodes of another make report: what the hub received counts, for nobody promises the rest (QoS 0)."""
        nodes = self.town.feed.telemetry()
        if not nodes:
            return {}
        return {
            "reports_sent": sum(told.counters["events_published"] for told in nodes.values()),
            "events_published": hub["accounts"]["upto"],
            "adverts_dropped_private": await self.town.dropped_unread(),
        }

    def _latencies(self, stage: Stage) -> list[int]:
        found: list[int] = []
        for name, phone in self.phones.items():
            offers = [(one.push.issued_at_ms, one.steady_ns) for one in phone.received.values()]
            found += report.latencies_ms(stage.sent.get(name, []), offers)
        return found

    async def _give_up(self) -> None:
        """Leave nothing running, whatever happened."""
        for phone in self.phones.values():
            phone.hang_up()
        await self.town.close_edges()
        await self.town.close_rest()

    def _say(self, text: str) -> None:
        self.board.note = text
        self.console.print(f"[dim]{text} …[/dim]" if not self.headless else f"{text} …")


def _conclude(console: Console, found: dict[str, Any], problems: list[str]) -> None:
    latency = found["latency_ms"]["advert_to_push"]
    refused = found["consent_refused"] + found["identity_refused"] + found["quarantined"]
    console.print(
        f"\n{found['adverts_heard']:,} advertisements heard, {found['adverts_dropped_private']:,} of strangers dropped "
        f"unseen.\n{found['events_published']:,} events published = {found['events_committed']:,} committed + "
        f"{refused:,} refused (no consent: {found['consent_refused']:,}) + {found['events_lost']:,} lost.\n"
        f"{found['visits']} visits, {found['offers_issued']} offers, {found['pushes_delivered']} delivered, "
        f"{found['redemptions']} redeemed, {found['grants_expired']} expired.\n"
        f"Advertisement to push: p50 {latency['p50']} ms, p95 {latency['p95']} ms, p99 {latency['p99']} ms.",
        highlight=False,
    )
    if "reports_sent" in found:
        console.print(
            f"A sparse recording: its scanners report as listeners of another make do.\n"
            f"{found['reports_sent']:,} reports sent (QoS 0), {found['events_published']:,} received by the hub.",
            highlight=False,
        )
    for violation in found["violations"][:10]:
        console.print(f"[red]broken:[/red] {violation['invariant']}: {violation['detail']}")
    for problem in problems:
        console.print(f"[red]failed:[/red] {problem}")
    if not problems:
        console.print("[green]Every promise was kept.[/green]")
