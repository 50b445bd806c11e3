"""The address of a bus on a unix socket, as DBUS_SYSTEM_BUS_ADDRESS holds it."""

from pathlib import Path
from urllib.parse import quote

from wire.errors import BadConfig

PATH_MAX_BYTES = 107
"""Longest path of a unix socket on Linux, bytes."""


def unix_address(path: Path) -> str:
    """`unix:path=…`, with what D-Bus does not allow there escaped.

    Raises:
        BadConfig: the path is too long for a socket.
    """
    whole = str(path.absolute())
    if len(whole.encode()) > PATH_MAX_BYTES:
        raise BadConfig(f"{whole}: longer than the {PATH_MAX_BYTES} bytes that a unix socket's path may have")
    return "unix:path=" + quote(whole, safe="/-_.")
