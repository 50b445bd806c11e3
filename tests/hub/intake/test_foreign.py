"""Messages of other makes: what is read, what is dropped, and that nothing else comes out whatever is sent."""

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.core.foreign import BREAK_MS, NodeStatus, Report, Source, beacon_of
from hub.intake import foreign
from hub.intake.foreign import Listeners, Ours, Said, read_espresense, read_theengs
from wire.errors import RemoteFault
from wire.ibeacon import Beacon, encode

UUID = "d0c41e02-0000-4000-8000-000000000001"
BEACON = beacon_of(f"{UUID}-1-2")
OURS = Ours((bytes.fromhex("d0c41e02"),), {"annas-phone": BEACON})
KITCHEN = Source("espresense", "kitchen")
GATEWAY = Source("theengs", "home/TheengsGateway")
RAW = "4c00" + encode(Beacon(bytes.fromhex(UUID.replace("-", "")), 1, 2, -59)).hex()


def espresense(name=f"iBeacon:{UUID}-1-2", node="kitchen", **body):
    """A message as the firmware writes it: a level with two decimals, and much that is none of our business."""
    whole = {
        "mac": "a1b2c3d4e5f6", "id": name, "name": "Anna's phone", "rssi@1m": -59, "rssi": -71.2, "rxAdj": 0,
        "rssiVar": 3.1, "distance": 2.78, "var": 0.12, "close": True, "int": 312, **body,
    }  # fmt: skip
    return f"espresense/devices/{name}/{node}", json.dumps(whole).encode()


def theengs(**body):
    whole = {
        "id": "AA:BB:CC:DD:EE:FF", "rssi": -70, "brand": "GENERIC", "model": "iBeacon", "model_id": "IBEACON",
        "type": "BCON", "mfid": "4c00", "uuid": UUID.replace("-", ""), "major": 1, "minor": 2, "txpower": -59, **body,
    }  # fmt: skip
    kept = {name: value for name, value in whole.items() if value is not None}
    return "home/TheengsGateway/BTtoMQTT/AABBCCDDEEFF", json.dumps(kept).encode()


def said_by_espresense(topic, payload):
    return read_espresense(topic, payload, OURS)


def said_by_theengs(topic, payload):
    return read_theengs("home", topic, payload, OURS)


def test_a_beacon_of_ours_is_read_and_nothing_else_of_the_message():
    assert said_by_espresense(*espresense()) == Said(KITCHEN, Report(KITCHEN, BEACON, -71.2))
    assert said_by_theengs(*theengs()) == Said(GATEWAY, Report(GATEWAY, BEACON, -70.0))
    for said in (said_by_espresense(*espresense()), said_by_theengs(*theengs())):
        assert "a1b2" not in str(said).lower().replace(":", "")
        assert "anna" not in str(said).lower()


def test_an_alias_stands_for_its_beacon():
    assert said_by_espresense(*espresense("annas-phone")).news == Report(KITCHEN, BEACON, -71.2)


@pytest.mark.parametrize(
    "name",
    [
        "iBeacon:11111111-0000-4000-8000-000000000001-1-2",  # somebody else's prefix
        "iBeacon:e5ca1ade-f007-ba11-0000-000000000000-1-2",  # the nodes' own beacon
        "apple:1005:9-26", "irk:00112233445566778899aabbccddeeff", "node:kitchen", "eddy:01", "tile:x", "some-alias",
    ],
)  # fmt: skip
def test_what_is_not_ours_is_a_sign_of_life_and_is_not_read(name):
    topic, _ = espresense(name)
    assert said_by_espresense(topic, b"\xff not even JSON") == Said(KITCHEN, None, private=True)


def test_the_nodes_own_beacon_is_passed_over_even_if_its_prefix_were_ours():
    ours = Ours((bytes.fromhex("e5ca1ade"),), {})
    topic, payload = espresense("iBeacon:e5ca1ade-f007-ba11-0000-000000000000-1-2")
    assert read_espresense(topic, payload, ours).news is None


@pytest.mark.parametrize(
    "message",
    [
        espresense(f"iBeacon:{UUID}-65536-2"),
        espresense(f"iBeacon:{UUID}-01-2"),
        espresense(f"iBeacon:{UUID.upper()}-1-2"),
        espresense(f"iBeacon:{UUID}-1"),
        espresense(f"iBeacon:{UUID.replace('-', '')}-1-2"),
        espresense(rssi="-71.2"),
        espresense(rssi=None),
        espresense(rssi=True),
        espresense(rssi=0),
        espresense(rssi=-127),
        (espresense()[0], b"[]"),
        (espresense()[0], b""),
        (espresense()[0], b'{"rssi": NaN}'),
        (espresense()[0], b'{"rssi": -70} '.rjust(foreign.MAX_BYTES + 1)),
        (espresense()[0], b'{"id": "another", "rssi": -70}'),
        (espresense()[0], b"[" * 5_000),
        espresense(node="kit chen"),
        espresense(node="k" * 65),
        espresense(node=""),
        ("espresense/rooms/kitchen/status", b"perhaps"),
        ("espresense/rooms/kitchen/max_distance", b"16"),
        ("espresense/devices/a/b/c", b"{}"),
        ("espresense/", b""),
    ],
    ids=str,
)
def test_what_claims_to_be_ours_and_is_not_is_refused(message):
    with pytest.raises(RemoteFault) as caught:
        said_by_espresense(*message)
    assert "d0c4" not in str(caught.value), "the reason is logged: it must not quote"


@pytest.mark.parametrize(
    ("changes", "news"),
    [
        ({"manufacturerdata": RAW}, True),
        ({"manufacturerdata": RAW.upper()}, True),
        ({"uuid": UUID.replace("-", "").upper()}, True),
        ({"volt": 0.3, "txpower": None}, True),
        # undecoded: what a gateway says with `publish_all`, in the form of OpenMQTTGateway
        (dict.fromkeys(("uuid", "major", "minor", "model_id", "mfid", "model", "type")) | {"manufacturerdata": RAW,
                                                                                          "mac_type": 1}, True),
        ({"uuid": "f" * 32, "name": "d0c41e02"}, False),  # the prefix stands somewhere, the beacon is another
        ({"uuid": None, "manufacturerdata": RAW.replace("d0c41e02", "11111111"), "name": "d0c41e02"}, False),
        ({"uuid": None, "presence": "absent"}, False),
        ({"uuid": "f" * 32}, False),
    ],
)  # fmt: skip
def test_theengs_in_all_its_forms(changes, news):
    right = Said(GATEWAY, Report(GATEWAY, BEACON, -70.0)) if news else Said(GATEWAY, None, private=True)
    assert said_by_theengs(*theengs(**changes)) == right


@pytest.mark.parametrize(
    "changes",
    [
        {"manufacturerdata": RAW.replace("0215", "0216", 1)},  # the decoder does not look at these two bytes
        {"manufacturerdata": RAW + "00"},
        {"manufacturerdata": RAW[:-2]},
        {"manufacturerdata": RAW[:-1]},
        {"manufacturerdata": "7500" + RAW[4:]},
        {"manufacturerdata": 5, "name": "d0c41e02"},
        {"manufacturerdata": RAW, "minor": 3},
        {"manufacturerdata": RAW, "major": "1"},
        {"model_id": "APPLEDEVICE"},
        {"mfid": "7500"},
        {"major": 65_536}, {"major": -32_769}, {"major": 1.5}, {"major": None}, {"minor": "2"}, {"minor": True},
        {"uuid": UUID}, {"uuid": "d0c41e02"}, {"uuid": ["d0c41e02"]},
        {"rssi": None}, {"rssi": 0}, {"rssi": "-70"}, {"rssi": -127}, {"rssi": [-70]},
    ],
    ids=str,
)  # fmt: skip
def test_theengs_is_checked_again(changes):
    with pytest.raises(RemoteFault) as caught:
        said_by_theengs(*theengs(**changes))
    assert "d0c4" not in str(caught.value)


@pytest.mark.parametrize(
    "payload", [b'"d0c41e02"', b"d0c41e02", b'{"d0c41e02":', b"\xff\xfed0c41e02", b"d0c41e02" * 2_000]
)
def test_a_body_that_is_no_object_is_refused(payload):
    with pytest.raises(RemoteFault):
        said_by_theengs(theengs()[0], payload)


def test_theengs_takes_two_bytes_for_a_signed_number():
    news = said_by_theengs(*theengs(major=-1, minor=-32_768)).news
    assert (news.beacon.major, news.beacon.minor) == (65_535, 32_768)


def test_nodes_come_and_go():
    assert said_by_espresense("espresense/rooms/kitchen/status", b"online").news == NodeStatus(KITCHEN, True)
    assert said_by_espresense("espresense/rooms/kitchen/status", b"offline").news == NodeStatus(KITCHEN, False)
    assert said_by_espresense("espresense/rooms/kitchen/telemetry", b"{}") == Said(KITCHEN, None)
    assert said_by_theengs("home/TheengsGateway/LWT", b"online").news == NodeStatus(GATEWAY, True)
    assert said_by_theengs("home/TheengsGateway/LWT", b"Offline").news == NodeStatus(GATEWAY, False)
    with pytest.raises(RemoteFault):
        said_by_theengs("home/TheengsGateway/version", b"1.8.0")


def test_a_base_of_several_levels_names_the_node():
    said = read_theengs("acme/vienna", "acme/vienna/gw-1/BTtoMQTT/AABBCCDDEEFF", theengs()[1], OURS)
    assert said.source == Source("theengs", "acme/vienna/gw-1")


def test_the_documented_examples_are_read():
    page = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text("utf-8")
    found = re.findall(r"<!-- foreign:(\w+) -->\n```json\n(.*?)```", page, re.DOTALL)
    assert [kind for kind, _ in found] == ["espresense", "theengs", "theengs"]
    for kind, block in found:
        if kind == "espresense":
            said = said_by_espresense(f"espresense/devices/{json.loads(block)['id']}/kitchen", block.encode())
        else:
            said = said_by_theengs(theengs()[0], block.encode())
        assert said.news.beacon == beacon_of(f"{UUID}-1-1")


# -- hostile bytes -------------------------------------------------------------------------------------------------

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a loaded machine is no failure
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(["id", "rssi", "uuid", "major", "minor", "manufacturerdata", "model_id", "mfid", "presence"])
BODIES = st.dictionaries(FIELDS, JSON | st.just(UUID.replace("-", "")) | st.just(RAW), max_size=9).map(
    lambda body: json.dumps(body).encode()
)
PAYLOADS = BODIES | st.binary(max_size=200).map(lambda junk: b'{"uuid":"d0c41e02' + junk) | st.binary(max_size=200)
LEVELS = st.sampled_from(
    [
        "devices",
        "rooms",
        "status",
        "telemetry",
        "BTtoMQTT",
        "LWT",
        "kitchen",
        "home",
        f"iBeacon:{UUID}-1-2",
        "",
        "x" * 99,
    ]
) | st.text(max_size=10)


@PATIENT
@given(st.lists(LEVELS, max_size=6).map("/".join), PAYLOADS)
def test_whatever_is_sent_is_a_report_of_ours_or_nothing_or_a_remote_fault(rest, payload):
    for read, root in ((said_by_espresense, "espresense"), (said_by_theengs, "home")):
        try:
            said = read(f"{root}/{rest}", payload)
        except RemoteFault:
            continue
        if isinstance(said.news, Report):
            assert said.news.beacon.uuid.startswith("d0c41e02")
            assert -127 < said.news.rssi_dbm < 0
            assert isinstance(said.news.beacon.major, int)


@PATIENT
@given(BODIES)
def test_a_device_message_of_ours_survives_any_body(payload):
    for read, topic in ((said_by_espresense, espresense()[0]), (said_by_theengs, theengs()[0])):
        with contextlib.suppress(RemoteFault):
            news = read(topic, payload).news
            assert news is None or news.beacon.uuid.startswith("d0c41e02")


# -- the listeners of a hub ----------------------------------------------------------------------------------------


def listeners(*topics):
    return Listeners(topics or ("espresense", "theengs:acme/vienna"), OURS)


def test_nothing_is_heard_unless_it_is_asked_for():
    quiet = Listeners((), OURS)
    assert quiet.filters == ()
    assert not quiet.claims("espresense/rooms/kitchen/status")


def test_only_what_is_needed_is_subscribed():
    filters = dict(listeners().filters)
    assert set(filters) == {
        "espresense/devices/+/+", "espresense/rooms/+/status", "espresense/rooms/+/telemetry",
        "acme/vienna/+/BTtoMQTT/+", "acme/vienna/+/LWT",
    }  # fmt: skip
    assert dict(listeners("theengs").filters).keys() == {"home/+/BTtoMQTT/+", "home/+/LWT"}
    both = listeners()
    assert both.claims("acme/vienna/gw/LWT")
    assert not both.claims("acme/viennese/gw/LWT")
    assert not both.claims("doorchime/v1/7f/vienna-1/edge-door/presence")


def test_everything_is_counted():
    both = listeners()
    assert both.read(*espresense(), False) is not None
    assert both.read(*espresense("apple:1005:9-26"), False) == Said(KITCHEN, None, private=True)
    assert both.read("espresense/rooms/kitchen/telemetry", b"{}", False) == Said(KITCHEN, None)
    assert both.read(*espresense(), True) is None, "a retained report is old news"
    assert both.read("espresense/rooms/kitchen/status", b"online", True) is not None
    with pytest.raises(RemoteFault):
        both.read(*espresense(rssi="x"), False)
    assert both.counts == {
        "reports": 1, "statuses": 1, "signs": 1, "not_ours": 1, "unreadable": 1, "retained_ignored": 1, "overrun": 0,
        "nodes_over_cap": 0,
    }  # fmt: skip


def test_signs_of_life_are_bounded_and_can_be_forgotten():
    some = Listeners(("espresense",), OURS, max_nodes=2)
    for number in range(3):
        some.note_life(Source("espresense", f"n{number}"), 100)
    assert len(some.lives) == 2
    assert some.counts["nodes_over_cap"] == 1
    some.note_life(Source("espresense", "n0"), 100 + BREAK_MS)
    assert some.lives[Source("espresense", "n0")] == (100, 100 + BREAK_MS)
    some.note_gap(Source("espresense", "n0"))
    assert set(some.lives) == {Source("espresense", "n1")}
    some.note_deafness()
    assert not some.lives
