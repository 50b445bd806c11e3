"""Every test of the hub's use cases runs on every store."""

import pytest

from hub.stores import open_store


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request, tmp_path):
    """A migrated, empty store."""
    match request.param:
        case "memory":
            url = "memory:"
        case "sqlite":
            url = f"sqlite:{tmp_path / 'hub.db'}"
        case _:
            url = request.getfixturevalue("postgres_server").database()
    opened = open_store(url)
    opened.migrate()
    yield opened
    opened.close()
