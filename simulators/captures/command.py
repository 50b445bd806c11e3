"""`doorchime sim import`: a capture becomes frames that edges can hear again."""

import json
import lzma
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from simulators.captures.conversion import Conversion
from simulators.captures.formats import recognise
from simulators.captures.packet import Left
from simulators.captures.source import Source
from wire.errors import BadCapture, BadConfig, DoorchimeError
from wire.ibeacon import PREFIX_BYTES
from wire.trace import Id, write_line

SHOW_EVERY = 2_000
"""Packets between two movements of the progress bar."""


@dataclass(frozen=True)
class Outcome:
    """What came of one capture; `fault` is where reading had to end."""

    capture: str
    format: str
    conversion: Conversion
    fault: BadCapture | None

    def as_json(self) -> dict[str, Any]:
        """For `--report`: counts only, nobody's identity."""
        timeline = self.conversion.timeline
        return {
            "capture": self.capture,
            "format": self.format,
            **{str(name): count for name, count in self.conversion.counts.items()},
            "interfaces": {str(number): count for number, count in sorted(self.conversion.interfaces.items())},
            "duration_ms": timeline.t_ms,
            "longest_silence_ms": timeline.longest_ms,
            "malformed_at_byte": self.conversion.malformed_at,
            "damaged_at_byte": self.fault.offset if self.fault else None,
        }


def import_capture(
    capture: Annotated[Path, typer.Argument(help="btsnoop (`btmon -w`, Android), pcapng or pcap; .xz and .gz too.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write, *.frames.jsonl, `.xz` compresses; default: standard output.")
    ] = None,
    prefix: Annotated[
        list[str] | None, typer.Option(help="Keep iBeacons of this fleet prefix, 8 hexadecimal digits; repeatable.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Keep every advertisement, other people's too.")] = False,
    scanner: Annotated[str | None, typer.Option(help="Who heard it: an edge's id; default: the file's name.")] = None,
    rssi: Annotated[
        int | None, typer.Option(min=-127, max=20, help="Level where the capture has none, dBm; default: left out.")
    ] = None,
    interface: Annotated[
        int | None, typer.Option(min=0, help="Only this adapter (N of hciN) or interface of the capture.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="File for the counts, one JSON object.")] = None,
) -> None:
    """Turn a capture of Bluetooth LE traffic into frames, which `sim replay` and edges play."""
    try:
        conversion = Conversion(
            _scanner(_slug(capture)),
            prefixes=_prefixes(prefix or [], everything),
            scanner=None if scanner is None else _scanner(scanner),
            rssi_dbm=rssi,
            interface=interface,
        )
        outcome = _run(capture, out, conversion)
        if report is not None:
            report.write_text(json.dumps(outcome.as_json(), indent=2) + "\n", "utf-8")
    except BrokenPipeError:
        raise  # whoever read our output went away: no news
    except (DoorchimeError, OSError) as exc:
        said = f"{exc.filename}: {exc.strerror}" if isinstance(exc, OSError) and exc.filename else exc
        typer.echo(f"doorchime: {said}", err=True)
        raise typer.Exit(1) from None
    typer.echo(summary(outcome, out), err=True)
    if outcome.fault is not None:
        kept = outcome.conversion.counts["frames"]
        typer.echo(f"doorchime: {capture}: {outcome.fault}; frames kept from before: {kept}", err=True)
        raise typer.Exit(1)


def _prefixes(texts: list[str], everything: bool) -> tuple[bytes, ...]:
    if everything and texts:
        raise BadConfig("--all keeps everything and --prefix only your own beacons: give one of them")
    if not everything and not texts:
        raise BadConfig(
            "a capture holds the devices of people who were never asked: give --prefix HEX (your fleet prefix, "
            "repeatable) to keep your own beacons only, or --all to keep every frame with its address"
        )
    for text in texts:
        if not re.fullmatch(f"[0-9a-fA-F]{{{2 * PREFIX_BYTES}}}", text):
            raise BadConfig(f"--prefix {text!r}: a fleet prefix has {2 * PREFIX_BYTES} hexadecimal digits")
    return tuple(bytes.fromhex(text) for text in texts)


def _scanner(text: str) -> str:
    try:
        return TypeAdapter(Id).validate_python(text)
    except ValidationError:
        raise BadConfig("--scanner: 1 to 200 characters") from None


def _slug(capture: Path) -> str:
    """The file's name without its endings, as an edge could be called."""
    return re.sub(r"[^a-z0-9]+", "-", capture.name.lower().split(".")[0]).strip("-")[:64] or "scanner"


def _run(capture: Path, out: Path | None, conversion: Conversion) -> Outcome:
    with capture.open("rb") as file, _progress(capture, file, out) as show:
        source = Source(file)
        try:
            name, packets = recognise(source)
        except BadCapture as exc:
            raise BadConfig(f"{capture}: {exc}") from exc
        fault = None
        with _sink(out, capture) as sink:
            try:
                for packet in packets:
                    for frame in conversion.frames(packet):
                        sink.write(write_line(frame))
                    if conversion.counts["packets"] % SHOW_EVERY == 0:
                        show(conversion.counts["frames"])
                conversion.end()
            except BadCapture as exc:
                fault = exc
                sink.keep = conversion.counts["frames"] > 0
    return Outcome(capture.name, name, conversion, fault)


@contextmanager
def _progress(capture: Path, file: BinaryIO, out: Path | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere; called with the number of frames so far."""
    size = capture.stat().st_size if capture.is_file() else None
    lines_shown = out is None and sys.stdout.isatty()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[frames]:,} frames"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty() or lines_shown,
    )
    with bar:
        task = bar.add_task(escape(capture.name), total=size, frames=0)
        yield lambda frames: bar.update(task, completed=file.tell() if size else None, frames=frames)


@dataclass
class _Sink:
    write: Callable[[bytes], object]
    keep: bool = True


@contextmanager
def _sink(out: Path | None, capture: Path) -> Iterator[_Sink]:
    """Where lines go. A file appears under its name only when all that can be had is in it."""
    if out is None:
        yield _Sink(sys.stdout.buffer.write)
        sys.stdout.buffer.flush()
        return
    if out.exists() and out.samefile(capture):
        raise BadConfig(f"{out}: is the capture itself; give another name")
    if out.suffix == ".gz":
        raise BadConfig(f"{out}: frames are read plain or as .xz, not as .gz")
    if out.exists() and not out.is_file():  # a pipe or a device
        with out.open("wb") as device:
            yield _Sink(device.write)
        return
    part = out.with_name(out.name + ".part")
    try:
        with lzma.open(part, "wb") if out.suffix == ".xz" else part.open("wb") as file:
            sink = _Sink(file.write)
            yield sink
        if sink.keep:
            part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def summary(outcome: Outcome, out: Path | None) -> str:
    """What a person wants to know, a number a line."""
    counts, timeline = outcome.conversion.counts, outcome.conversion.timeline
    always = [
        (counts["packets"], f"packets in {outcome.capture} ({outcome.format}, {_span(timeline.t_ms)})"),
        (counts["reports"], "advertisements"),
        (counts["without_data"], "  of them without data"),
        (counts["ibeacons"], "  of them iBeacons"),
        (counts["frames"], f"frames written{f' to {out}' if out else ''}"),
        (counts[Left.CRC_BROKEN], "left out: CRC broken"),
        (counts[Left.SCAN_REQUEST], "left out: scan requests"),
        (counts[Left.CONNECTION_REQUEST], "left out: connection requests"),
        (counts[Left.OTHER], "left out: other packets"),
    ]
    where_seen = [
        (counts["not_ours"], "left out: advertisements outside the prefixes"),
        (counts["no_rssi"], "left out: advertisements without a level (--rssi sets one)"),
        (counts["incomplete"], "left out: advertisements of which pieces are missing"),
        (counts["other_interface"], "left out: packets of other interfaces"),
        (counts[Left.MALFORMED], f"left out: malformed packets, the first at byte {outcome.conversion.malformed_at}"),
        (counts["malformed_ad"], "advertisements with malformed data, as an edge will count them"),
        (counts["pieces"], "pieces of longer advertisements"),
        (counts["clock_set"], "times the clock was set; time goes on from the frame before"),
    ]
    rows = always + [row for row in where_seen if row[0]]
    lines = [f"{number:>11,} {text}" for number, text in rows]
    heard = outcome.conversion.interfaces
    if len(heard) > 1:
        numbers = ", ".join(f"{number} heard {count:,}" for number, count in sorted(heard.items())[:8])
        lines.append(f"{len(heard):>11,} interfaces: {numbers} (--interface keeps one)")
    if timeline.longest_ms >= 60_000:
        lines.append(f"{'':>11} longest silence {_span(timeline.longest_ms)}")
    return "\n".join(lines)


def _span(duration_ms: int) -> str:
    seconds = duration_ms // 1000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
