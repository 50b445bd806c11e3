"""Debian's mosquitto in the place of the embedded broker, with the configuration that we ship."""

import getpass
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.system import Program

CONFIG = Path(__file__).resolve().parents[2] / "firmware_config" / "mosquitto.conf"

BROKERS = ["embedded", pytest.param("mosquitto", marks=pytest.mark.mosquitto)]
"""For `parametrize`: every drill that is about the broker runs on both."""


class Mosquitto(Program):
    """A program like the others; `forget` throws away all that it kept."""

    def __init__(self, home, port):
        super().__init__(home, "broker")
        self.binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        assert self.binary, "mosquitto is missing: apt-get install mosquitto"
        self.kept = home / "mosquitto"
        self.kept.mkdir()
        shipped = CONFIG.read_text("utf-8")
        assert shipped.count("\nlistener 1883 127.0.0.1\n") == 1
        self.config = home / "mosquitto.conf"
        self.config.write_text(
            shipped.replace("\nlistener 1883 127.0.0.1\n", f"\nlistener {port} 127.0.0.1\n")
            + f"\npersistence_location {self.kept}/\nuser {getpass.getuser()}\nlog_dest stderr\n"
        )

    def start(self):
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "-c", str(self.config)], stdout=log, stderr=log, start_new_session=True
            )
        return self

    def forget(self):
        for path in self.kept.iterdir():
            path.unlink()


def use(system, kind):
    """Let a system that has not started have this broker. Without a disk, the embedded one forgets by itself."""
    if kind == "mosquitto":
        system.broker = Mosquitto(system.home, system.mqtt_port)
    return system
