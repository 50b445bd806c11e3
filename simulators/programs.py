"""The programs under demonstration as child processes: started, watched, stopped, never imported."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wire.errors import LocalFault

STOP_S = 20.0
"""Longest wait for a program to end after SIGTERM, s: twice what each promises."""

DOORCHIME = (sys.executable, "-m", "doorchime")


class Program:
    """One process, `doorchime …` unless `runs` says otherwise; its output goes to `<home>/<name>.log`."""

    def __init__(self, home: Path, name: str, *args: str, runs: Sequence[str] = DOORCHIME) -> None:
        self.name, self.args, self.runs = name, args, runs
        self.log_path = home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.runs, *self.args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9, also when it is paused; returns when it and what it had started are gone."""
        process, self._process = self._process, None
        if process is None:
            return
        with _handles(process.pid) as handles:
            for handle in handles:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            process.wait()
            for handle in handles:
                gone = select.poll()
                gone.register(handle, select.POLLIN)
                gone.poll()

    def pause(self) -> None:
        """SIGSTOP, also to what it has started."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with _handles(self._process.pid) as handles:
            for handle in handles:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)

    def check(self) -> None:
        """See that it still runs.

        Raises:
            LocalFault: it ended; the text holds its last words.
        """
        if self._process is not None and self._process.poll() is not None:
            raise LocalFault(f"{self.name} ended by itself, exit code {self._process.returncode}: {self.last_words()}")

    def stop(self) -> int:
        """SIGTERM and wait; its exit code, -9 when it had to be killed."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log_path.read_text("utf-8", "replace").strip().splitlines() if self.log_path.exists() else []
        return lines[-1][:300] if lines else "it said nothing"


@contextmanager
def _handles(pid: int) -> Iterator[list[int]]:
    """Handles of a child of ours and of its own children: unlike a process id, a handle never becomes another's."""
    children: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):  # listed by the thread that started them
        with suppress(OSError):
            children |= set(map(int, path.read_text("ascii").split()))
    handles: list[int] = []
    try:
        for one in (pid, *children):
            with suppress(ProcessLookupError):
                handles.append(os.pidfd_open(one))
        yield handles
    finally:
        for handle in handles:
            os.close(handle)


def call(*args: str) -> Any:
    """Run a `doorchime … --json` command to its end; what it printed.

    Raises:
        LocalFault: it printed no JSON.
    """
    done = subprocess.run(
        [sys.executable, "-m", "doorchime", *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise LocalFault(f"doorchime {' '.join(args[:2])} failed: {done.stderr.strip()[-300:]}") from None
