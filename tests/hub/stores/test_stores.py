"""Every store keeps the same contract."""

import pytest

from hub.stores import open_store
from tests.store_contract import StoreContract


def opened(url):
    store = open_store(url)
    store.migrate()
    return store


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self):
        return opened("memory:")


class TestSqlite(StoreContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlite:{tmp_path / 'hub.db'}"

    @pytest.fixture
    def store(self, url):
        store = opened(url)
        yield store
        store.close()

    @pytest.fixture
    def another(self, store, url):
        other = open_store(url)
        yield other
        other.close()


@pytest.mark.postgres
class TestPostgres(TestSqlite):
    @pytest.fixture
    def url(self, postgres_server):
        return postgres_server.database()
