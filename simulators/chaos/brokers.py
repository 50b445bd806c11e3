"""The broker under attack: the embedded one, Debian's mosquitto as we ship its settings, or one that drops."""

import getpass
import os
import shutil
from importlib.resources import files
from pathlib import Path

from simulators.programs import Program
from wire.errors import BadConfig

DROPPING = """
persistence true
max_queued_messages 10
max_inflight_messages 10
sys_interval 1
connection_messages false
allow_anonymous true
"""
"""A mosquitto that acknowledges and then drops: ten messages under way and ten waiting per client, the rest is gone."""

STORE = "mosquitto.db"

_SHIPPED_LISTENER = "listener 1883 127.0.0.1\n"


def mosquitto(home: Path, port: int, settings: str) -> Program:
    """Debian's mosquitto on a port of this machine, with its store in `home`.

    Raises:
        BadConfig: it is not installed.
    """
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BadConfig("mosquitto is not installed: apt-get install mosquitto, or take --broker iotcore")
    config = home / "mosquitto.conf"
    # started by root it would become another user, who cannot write here
    own = f"\nlistener {port} 127.0.0.1\npersistence_location {home}/\nuser {getpass.getuser()}\nlog_dest stderr\n"
    config.write_text(settings.replace(_SHIPPED_LISTENER, "") + own, "utf-8")
    return Program(home, "broker", "-c", str(config), runs=(found,))


def shipped() -> str:
    """The settings that go onto machines."""
    return files("firmware_config").joinpath("mosquitto.conf").read_text("utf-8")
