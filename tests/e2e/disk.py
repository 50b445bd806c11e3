"""Disks that are really full, with and without the right to mount one."""

import contextlib
import functools
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.e2e.system import Program

SIZE_MB = 12
"""Room for a database and a write-ahead log that is never cut short (4 MB), or the log would make room by itself."""


LIMITED = (
    "import os, resource, sys\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
"""Runs Python with a limit on its files, so that it is there from the first moment."""


class Piped(Program):
    """A program whose output does not touch its own disk: a limit on its files does not silence it."""

    def __init__(self, program):
        self.args, self.log_path, self.process = program.args, program.log_path, None

    def start(self, limited=False):
        command = [sys.executable, *(["-c", LIMITED] if limited else []), "-m", "doorchime", *self.args]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        self._copying = threading.Thread(target=self._copy, args=(self.process.stdout,), daemon=True)
        self._copying.start()
        return self

    def _copy(self, source):
        with source, self.log_path.open("ab", buffering=0) as log:
            for line in source:
                log.write(line)

    def ended(self):
        """Its exit code, once it has ended and all it said is in the log."""
        code = self.process.wait(60)
        self._copying.join(60)
        return code


class SmallDisk:
    """A file system of its own on `path`; everything on it meets ENOSPC once it is full. Needs the right to mount."""

    def __init__(self, path):
        self.path, self._filler = Path(path), Path(path) / "filler"

    def __enter__(self):
        self.path.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", self.path], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=True)

    def fill(self, _program):
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self, _program):
        self._filler.unlink()


class NoGrowth:
    """A folder on any disk; the kernel refuses whatever *one program* writes to a file. Needs no right at all."""

    def __init__(self, path):
        self.path = Path(path)

    def __enter__(self):
        self.path.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_):
        pass

    def fill(self, program):
        self._limit(program, 0)

    def free(self, program):
        self._limit(program, resource.RLIM_INFINITY)

    @staticmethod
    def _limit(program, size):
        _, hard = resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE)
        most = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (most, hard))


@functools.cache
def may_mount():
    """Whether a small file system can be mounted here."""
    if os.geteuid() != 0:
        return False
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return done.returncode == 0


def kinds():
    """The disks that this machine lets us have. Where one can be mounted, the limit is the second opinion."""
    if not may_mount():
        return [NoGrowth]
    return [SmallDisk, pytest.param(NoGrowth, marks=pytest.mark.long)]
