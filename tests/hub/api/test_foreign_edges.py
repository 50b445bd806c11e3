"""Enrolling a listener of another make."""

import pytest

KITCHEN = {"kind": "espresense", "node": "kitchen"}
GATEWAY = {"kind": "theengs", "node": "home/TheengsGateway"}


@pytest.mark.parametrize("source", [KITCHEN, GATEWAY])
async def test_an_edge_says_which_node_it_is(api, source):
    await api.furnish()
    made = await api.ok("PUT", "/v1/edges/e2", {"store": "s1", "zone": "door", "source": source})
    assert (made["source"], made["status"], made["version"]) == (source, "never", 1)
    again = await api.ok("PUT", "/v1/edges/e2", {"store": "s1", "zone": "door", "source": source})
    assert again == made
    edges = (await api.ok("GET", "/v1/edges"))["items"]
    assert {one["edge"]: one["source"] for one in edges} == {"e1": None, "e2": source}
    assert not [name for name in made if name.startswith("source_")]
    ours = await api.ok("PUT", "/v1/edges/e2", {"store": "s1", "zone": "door"})
    assert (ours["source"], ours["version"]) == (None, 2)


async def test_a_node_speaks_for_one_edge(api):
    await api.furnish()
    await api.ok("PUT", "/v1/edges/e2", {"store": "s1", "source": KITCHEN})
    reply = await api.call("PUT", "/v1/edges/e3", {"store": "s1", "source": KITCHEN})
    assert (reply.status_code, reply.json()["type"]) == (409, "urn:doorchime:problem:source_taken")
    assert "e2" in reply.json()["detail"]
    await api.ok("PUT", "/v1/edges/e3", {"store": "s1", "source": {**KITCHEN, "node": "hall"}})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"source": {"kind": "espresense", "node": "kit/chen"}}, "`kitchen`"),
        ({"source": {"kind": "espresense", "node": "+"}}, "`kitchen`"),
        ({"source": {"kind": "theengs", "node": "TheengsGateway"}}, "`home/TheengsGateway`"),
        ({"source": {"kind": "theengs", "node": "a/b/c/d/e"}}, "`home/TheengsGateway`"),
        ({"source": {"kind": "theengs", "node": "home/Gate way"}}, "`home/TheengsGateway`"),
        ({"source": {"kind": "room-assistant", "node": "kitchen"}}, "theengs"),
        ({"source": {"kind": "espresense"}}, "node"),
        ({"source": KITCHEN, "till": True}, "till edge"),
        ({"source": {**KITCHEN, "password": "x"}}, "password"),
    ],
    ids=str,
)
async def test_mistakes_are_told_with_what_to_write(api, changes, told):
    await api.furnish()
    reply = await api.call("PUT", "/v1/edges/e2", {"store": "s1", **changes})
    assert reply.status_code == 422
    assert told in reply.text
