"""What only the operating system knows: the boot clock, wall time, and whether anybody disciplines it."""

import ctypes
import secrets
import time
from importlib.metadata import PackageNotFoundError, version

from wire.messages import ClockStamp

UNSYNCED_ERROR_MS = 86_400_000
"""Error stated while nobody disciplines the clock, ms."""

MAX_KERNEL_ERROR_MS = 16_000
"""Kernel's bound from which it calls itself unsynchronised (NTP_PHASE_LIMIT), ms."""

_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h>, the part up to what we read; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_byte * 256),
    )


def boot_ms() -> int:
    """CLOCK_BOOTTIME, ms: runs on through suspend, never steps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def steady_ns() -> int:
    """CLOCK_MONOTONIC, ns: one for all processes of a machine."""
    return time.monotonic_ns()  # noqa: TID251 (the edge's one reading of it)


def wall_ms() -> int:
    """Unix ms as this machine believes; it may step, so it is a hint and never decides anything."""
    return time.time_ns() // 1_000_000  # noqa: TID251 (the edge's one reading of it)


def clock_stamp() -> ClockStamp:
    """What is known of wall time now: kernel discipline as `adjtimex` tells it."""
    offset_ms = wall_ms() - boot_ms()
    state = _Timex()
    try:
        code = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state))
    except (OSError, AttributeError):
        code = -1
    error_ms = int(state.maxerror) // 1000
    synced = code not in (-1, _TIME_ERROR) and not state.status & _STA_UNSYNC and error_ms < MAX_KERNEL_ERROR_MS
    if not synced:
        return ClockStamp(source="none", offset_ms=offset_ms, error_ms=UNSYNCED_ERROR_MS, synced=False)
    return ClockStamp(source="kernel", offset_ms=offset_ms, error_ms=max(error_ms, 1), synced=True)


def new_boot_id() -> str:
    """A fresh id for this start of the agent: 80 random bits, lower case."""
    return secrets.token_hex(10)


def software_version() -> str:
    """Of the installed package; `0` from a bare checkout."""
    try:
        return version("doorchime")[:32]
    except PackageNotFoundError:
        return "0"
