"""What a benchmark runs beside itself: broker, hub and rivals as processes that can be frozen between measurements."""

import contextlib
import getpass
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from bench.clock import steady_s
from bench.measure import Say
from firmware_config import __file__ as shipped
from wire.errors import LocalFault

START_S = 30.0
"""Longest start of a program on a loaded machine, s; give up and say so after that."""

STOP_S = 15.0
"""Longest end of a program after SIGTERM, s: the hub promises 10."""

_KNOCK_S = 0.02  # a server tells nobody when it listens: knock this often


class Process:
    """One program; its output goes to `<home>/<name>.log`. Always ends with the `with` block."""

    def __init__(self, home: Path, name: str, *argv: str) -> None:
        self.name, self._log_path = name, home / f"{name}.log"
        with self._log_path.open("ab") as log:
            self._child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @classmethod
    def python(cls, home: Path, name: str, module: str, *args: str) -> "Process":
        """A module of ours, run by this interpreter from the checkout."""
        return cls(home, name, sys.executable, "-m", module, *args)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def freeze(self) -> None:
        """Stop it where it is: it uses no CPU, and what is sent to it waits."""
        self._child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._child.send_signal(signal.SIGCONT)

    def check(self) -> None:
        """See that it still runs.

        Raises:
            LocalFault: it ended; the text holds its last words.
        """
        if self._child.poll() is not None:
            raise LocalFault(f"{self.name} ended by itself, exit code {self._child.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._log_path.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    def wait_listening(self, port: int) -> None:
        """Return when it accepts connections.

        Raises:
            LocalFault: it ended, or does not listen within `START_S`.
        """
        until_s = steady_s() + START_S
        while not accepts(port):
            self.check()
            if steady_s() > until_s:
                raise LocalFault(f"{self.name} does not listen on port {port} after {START_S:.0f} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_KNOCK_S)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what does not end by it."""
        if self._child.poll() is not None:
            return
        self.thaw()
        self._child.terminate()
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def start_broker(home: Path, say: Say) -> tuple[Process, int]:
    """Debian's mosquitto with the configuration we ship, or, where it is missing, the embedded broker; and its port."""
    port = free_port()
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        say("Debian's mosquitto is not installed: measuring with the embedded broker instead")
        process = Process.python(home, "broker", "doorchime", "hub", "broker", "--port", str(port))
    else:
        settings = home / "mosquitto.conf"
        settings.write_text(mosquitto_settings(home, port), "utf-8")
        process = Process(home, "broker", binary, "-c", str(settings))
    process.wait_listening(port)
    return process, port


def mosquitto_settings(home: Path, port: int) -> str:
    """The shipped configuration on a port and in a folder of its own."""
    text = (Path(shipped).parent / "mosquitto.conf").read_text("utf-8")
    listener = "\nlistener 1883 127.0.0.1\n"
    if text.count(listener) != 1:
        raise LocalFault("firmware_config/mosquitto.conf has changed: the benchmarks do not find its listener")
    text = text.replace(listener, f"\nlistener {port} 127.0.0.1\n")
    return f"{text}\npersistence_location {home}/\nuser {getpass.getuser()}\nlog_dest stderr\n"


def free_port() -> int:
    """A TCP port nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether somebody listens on this port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False
