"""The programs under demonstration as child processes: started, watched, stopped, never imported."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from wire.errors import LocalFault

STOP_S = 20.0
"""Longest wait for a program to end after SIGTERM, s: twice what each promises."""


class Program:
    """One `doorchime …` process; its output goes to `<home>/<name>.log`."""

    def __init__(self, home: Path, name: str, *args: str) -> None:
        self.name, self.args = name, args
        self.log_path = home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "doorchime", *self.args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

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
