"""Fixtures that more than one part of the tests needs."""

import os
from pathlib import Path

import pytest

from tests.postgres import Server

ORACLES = Path(__file__).parents[1] / ".oracles"
ORACLE_TESTS = Path(__file__).parent / "oracles"


def absent_oracles():
    """Names of programs of others that are not there to be held against; with CI set all count as there."""
    if os.environ.get("CI"):
        return []
    return [path.stem for path in sorted(ORACLE_TESTS.glob("*.txt")) if not (ORACLES / path.stem / ".ready").exists()]


def pytest_terminal_summary(terminalreporter, config):
    asked = [Path(str(arg).partition("::")[0]).resolve() for arg in config.args]
    if any(ORACLE_TESTS.is_relative_to(path) or path.is_relative_to(ORACLE_TESTS) for path in asked):
        for name in absent_oracles():
            terminalreporter.write_line(f"=== LEFT OUT: tests against {name}, which is not there: make oracles ===")


@pytest.fixture(scope="session")
def postgres_server():
    """A running PostgreSQL; each test takes a database of its own from it."""
    server = Server()
    yield server
    server.stop()
