"""What a stolen edge credential is worth on a real broker: its own topics, and not one other message either way.

Never SUBACK or PUBACK is looked at (mosquitto grants every subscription and filters what it delivers), only what
arrives, up to a message sent afterwards that must arrive.
"""

from itertools import count

import pytest

from tests.mosquitto import WITNESS, Broker, Hand, Refused, own
from wire.topics import ROOT, partition

pytestmark = pytest.mark.mosquitto

EDGES = [("vienna-1", "edge-a"), ("vienna-1", "edge-b"), ("graz-1", "edge-c")]
PP = partition("vienna-1")
LONG = "x" * 64_000
NUMBERS = count(1)

FOREIGN = {
    "other edge": [own(leaf, edge="edge-b") for leaf in ("presence", "status", "telemetry", "ack", "config")],
    "other store": [
        own("presence", "graz-1", "edge-c"),
        own("config", "graz-1", "edge-c"),
        own("presence", "graz-1", "edge-a"),  # its own name, elsewhere
        f"{ROOT}/{partition('graz-1')}/vienna-1/edge-a/presence",  # a partition that is not its store's
    ],
    "hub topic": [f"{ROOT}/{PP}/vienna-1/occupancy", f"{ROOT}/app/edge-a/push", f"{ROOT}/app/some-phone/push"],
    "$SYS": ["$SYS/broker/version", "$SYS/broker/clients/connected", "$CONTROL/dynamic-security/v1"],
    "empty level": [
        f"{ROOT}/{PP}/vienna-1//presence",
        f"{ROOT}//vienna-1/edge-a/presence",
        f"{own('presence')}/",
        f"/{own('presence')}",
    ],
    "characters of other brokers": [
        f"{ROOT}/{PP}/vienna-1/{odd}/presence" for odd in (".", "*", ">", "edge.a", "edge-a>")
    ],
    "64 kB topic": [f"{own('presence')}/{LONG}", "y" * 65_535],
    "beside its own": [f"{own('presence')}/more", own("presence").removesuffix("/presence"), own("presence").upper()],
}
"""Topics that are not edge-a's to write, and to read."""

FILTERS = {
    "#": ["#", f"{ROOT}/#", f"{ROOT}/{PP}/vienna-1/edge-b/#"],
    "+": [f"{ROOT}/+/+/+/presence", f"{ROOT}/{PP}/vienna-1/+/config", "+/+/+/+/+/+", f"{ROOT}/app/+/push"],
    "$share": [
        f"$share/x/{ROOT}/#",
        f"$share/x/{own('presence', edge='edge-b')}",
        f"$share/x/{own('config', edge='edge-b')}",
    ],
}
"""Filters that cover topics of others. To write to, they are no topics at all."""

HOSTILE_NAMES = ("+", "#", "edge-a/+", "edge-b/presence", "$SYS", "edge-a\n")
"""Names in certificates that the hub never signs: what if it did."""

VICTIMS = [own("presence", edge="edge-b"), own("config", edge="edge-b"), own("ack", "graz-1", "edge-c"),
           f"{ROOT}/app/some-phone/push", f"{ROOT}/{PP}/vienna-1/occupancy"]  # fmt: skip

BOTH = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
ROWS = [*FOREIGN, *FILTERS]


def topics_of(row):
    return FOREIGN.get(row) or FILTERS[row]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    found = Broker(tmp_path_factory.mktemp("acl"), EDGES)
    found.render()
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def people(broker):
    return {name: broker.ca.person(name)[0] for name in ("edge-a", "edge-b", "edge-c", "doorchime-hub", WITNESS)}


@pytest.fixture
def hands(broker, people):
    """Clients of a test, closed after it. Each session is named after its user, so one user has one connection."""
    made = []

    def hand(name, **more):
        made.append(Hand(broker, people.get(name, name), **more))
        return made[-1]

    yield hand
    for one in made:
        one.drop()


def watch(hands, topic_filter="#"):
    """Somebody who may read everything; and what is retained there."""
    witness = hands(WITNESS)
    witness.subscribe("fence")
    witness.subscribe(topic_filter)
    return witness, arrived(witness)


def arrived(witness):
    """What the witness has by now: everything that the broker took before."""
    fence = f"fence {next(NUMBERS)}".encode()
    witness.publish("fence", fence)
    return witness.heard_until(fence)


def mark():
    return f"mark {next(NUMBERS)}".encode()


# -- own: the control ----------------------------------------------------------------------------------------------


@BOTH
def test_its_own_topics_work_in_every_way(hands, version):
    witness, _ = watch(hands)
    will = mark()
    edge = hands("edge-a", version=version, will=(own("status"), will, True))
    for leaf in ("presence", "telemetry", "config/ack", "redemptions"):
        said = mark()
        edge.publish(own(leaf), said)
        assert said in arrived(witness), leaf
    for leaf in ("ack", "config", "grants"):
        said = mark()
        edge.subscribe(own(leaf))
        witness.publish(own(leaf), said)
        assert said in edge.heard_until(said)
    kept = mark()
    edge.publish(own("status"), kept, retain=True)
    assert kept in arrived(witness)
    edge.die()
    assert will in arrived(witness)
    assert will in watch(hands, own("status"))[1]


@BOTH
def test_the_hub_hears_every_edge_and_answers(hands, version):
    hub = hands("doorchime-hub", version=version)
    for topic_filter in (f"{ROOT}/+/+/+/presence", f"{ROOT}/+/+/+/status"):
        hub.subscribe(topic_filter)
    for store, name in EDGES:
        edge, said, answer = hands(name, version=version), mark(), mark()
        edge.subscribe(own("ack", store, name))
        edge.publish(own("presence", store, name), said)
        assert said in hub.heard_until(said)
        hub.publish(own("ack", store, name), answer)
        assert answer in edge.heard_until(answer)


# -- what is not its own -------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("retain", [False, True], ids=["publish", "retained"])
@pytest.mark.parametrize("row", [*ROWS, "what it only reads"])
def test_nothing_it_publishes_elsewhere_reaches_anybody(hands, row, version, retain):
    witness, _ = watch(hands)
    if row == "$SYS":
        witness.subscribe("$SYS/#")
    topics = [own(leaf) for leaf in ("ack", "config", "grants")] if row == "what it only reads" else topics_of(row)
    marks = []
    for topic in topics:
        edge = hands("edge-a", version=version)
        marks.append(mark())
        edge.publish(topic, marks[-1], retain=retain)
    assert not set(marks) & set(arrived(witness))
    if retain:
        assert not set(marks) & set(watch(hands)[1])


@BOTH
@pytest.mark.parametrize("row", ROWS)
def test_no_last_will_of_it_reaches_anybody(hands, row, version):
    witness, _ = watch(hands)
    marks = []
    for topic in topics_of(row):
        for retain in (False, True):
            marks.append(mark())
            try:
                edge = hands("edge-a", version=version, will=(topic, marks[-1], retain))
            except Refused:
                continue  # the best answer
            edge.die()
    assert not set(marks) & set(arrived(witness))
    assert not set(marks) & set(watch(hands)[1])


@BOTH
@pytest.mark.parametrize("retain", [False, True], ids=["live", "retained"])
@pytest.mark.parametrize("row", [*ROWS, "what it only writes"])
def test_nothing_of_others_comes_to_it_whatever_it_subscribes(hands, row, version, retain):
    if row == "$SYS":
        assert watch(hands, "$SYS/broker/version")[1], "there is something to be kept from it"
    witness, marks = hands(WITNESS), []
    topics = [own("presence"), own("status")] if row == "what it only writes" else topics_of(row)
    spoken = VICTIMS if row in FILTERS or row in ("$SYS", "64 kB topic") else topics

    def speak():
        for topic in spoken:
            marks.append(mark())
            witness.publish(topic, marks[-1], retain=retain)

    if retain:
        speak()
    edges = []
    for topic in topics:
        edge = hands("edge-a", version=version)  # takes the session over: one connection at a time
        edge.subscribe(own("ack"))
        edge.subscribe(topic)
        edges.append(edge)
        speak()
        fence = mark()
        witness.publish(own("ack"), fence)
        heard = edge.heard_until(fence)
        assert fence in heard or edge.closed
        assert set(heard) <= {fence}, "somebody else's message"
    if retain:
        for topic in spoken:
            witness.publish(topic, b"", retain=True)
    assert not witness.closed
    assert marks


@BOTH
@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=repr)
def test_a_name_with_wildcards_opens_nothing(hands, broker, name, version):
    (witness, _), marks = watch(hands), []
    person = broker.ca.person(name)[0]
    will = mark()
    for topic in [*VICTIMS, own("presence"), own("ack")]:
        marks.append(mark())
        try:
            stranger = hands(person, version=version, will=(topic, will, False))
        except Refused:
            continue
        stranger.publish(topic, marks[-1])
        stranger.subscribe(topic)
        stranger.subscribe("#")
        for victim in VICTIMS:
            witness.publish(victim, b"secret")
        stranger.die()
        assert b"secret" not in stranger.heard_until(b"secret")
    heard = arrived(witness)
    assert not {*marks, will} & set(heard)
