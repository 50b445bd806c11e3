"""A private dbus-daemon as a child process: the bus that a Raspberry Pi has, with nobody else on it."""

import asyncio
import contextlib
import shutil
import signal
from pathlib import Path
from xml.sax.saxutils import escape

from simulators.bluez.address import unix_address
from wire.errors import LocalFault

START_S = 15.0
"""dbus-daemon says its address within milliseconds; a loaded machine gets this long, s."""

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>{address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""


def dbus_daemon() -> str | None:
    """Where the program is; None: it is not installed."""
    return shutil.which("dbus-daemon")


class DaemonBus:
    """Runs dbus-daemon on `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = unix_address(path)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            LocalFault: it is not installed, or does not start; the text says which.
        """
        program = dbus_daemon()
        if program is None:
            raise LocalFault("dbus-daemon is not installed: apt-get install dbus, or use the standalone bus")
        tether = shutil.which("setpriv")  # so that it cannot outlive us, whatever ends us
        config = self.path.with_name(self.path.name + ".conf")
        try:
            config.write_text(_CONFIG.format(address=escape(self.address)), "utf-8")
        except OSError as exc:
            raise LocalFault(f"{config}: {exc.strerror}") from exc
        self._process = await asyncio.create_subprocess_exec(
            *([tether, "--pdeathsig", "KILL"] if tether else []),
            program, f"--config-file={config}", "--nofork", "--nopidfile", "--print-address=1", "--nosyslog",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_S):
                said = await self._process.stdout.readline()
        except TimeoutError:
            said = b""
        if not said:
            await self.stop()
            raise LocalFault(f"dbus-daemon does not start on {self.path}")

    async def stop(self) -> None:
        """Kill it, as a crash would; every connection breaks."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.communicate()
        for leftover in (self.path, self.path.with_name(self.path.name + ".conf")):
            with contextlib.suppress(OSError):
                leftover.unlink(missing_ok=True)
