"""Anything a client may send by our own OpenAPI document is answered as that document says, and never with a 500."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from hub.api.deps import Enrolling
from hub.stores import open_store
from hub.usecases.keys import KeyFor, create_key
from tests.hub.api.conftest import Api
from tests.mosquitto import Ca

FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def served(tmp_path):
    enrolling = Enrolling(Ca(tmp_path).authority, "mqtts://broker.shop:8883", ("d0c41e02",), lambda: None)
    found = Api(open_store("memory:"), enrolling)
    found.writer.start()
    with found.store.write() as tx:
        wanted = KeyFor("app", "phone", profile="p1", device="d1")
        found.keys["phone"] = create_key(tx, "default", wanted, os.urandom(32), 0, found.new_id).text
    yield found
    assert found.writer.stop(60)
    assert found.writer.fault is None


def test_every_answer_is_one_of_ours(served):
    schema = schemathesis.openapi.from_asgi("/openapi.json", served.app)
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/v1/stream":
            continue  # does not end

        @FEW
        @given(case=operation.as_strategy())
        def check(case):
            for key in ("staff", "phone", "pos"):
                judge(case.call(headers={"Authorization": f"Bearer {served.keys[key]}"}), case)

        check()
        tried += 1
    assert tried > 20


def judge(answer, case):
    assert answer.status_code < 500, (case.method, case.path, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"][0] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["detail"]
