"""Fixtures that more than one part of the tests needs."""

import pytest

from tests.postgres import Server


@pytest.fixture(scope="session")
def postgres_server():
    """A running PostgreSQL; each test takes a database of its own from it."""
    server = Server()
    yield server
    server.stop()
