"""The topic grammar: every builder, the parser, and what neither lets through."""

import re
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wire import topics
from wire.errors import BadTopic
from wire.topics import EdgeTopic, check_level, edge_topic, occupancy_topic, parse_edge_topic, partition, push_topic

LEAVES = ("presence", "ack", "status", "telemetry", "config", "config/ack", "grants", "redemptions")
FILTERS = {
    topics.PRESENCE_FILTER: "presence",
    topics.STATUS_FILTER: "status",
    topics.TELEMETRY_FILTER: "telemetry",
    topics.CONFIG_ACK_FILTER: "config/ack",
}
BAD_LEVELS = {
    "empty": "",
    "65 characters": "a" * 65,
    "plus": "a+b",
    "only plus": "+",
    "only hash": "#",
    "dot": "a.b",
    "star": "*",
    "greater": ">",
    "slash": "a/b",
    "dollar": "$sys",
    "upper case": "Store",
    "space": "a b",
    "underscore": "a_b",
    "newline at the end": "a\n",
    "newline at the start": "\na",
    "zero byte": "a\0",
    "umlaut": "ä",
    "other digits": "٣",
    "half a surrogate pair": "\ud800",
}

levels = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=64)
bad_levels = pytest.mark.parametrize("level", BAD_LEVELS.values(), ids=BAD_LEVELS.keys())


def matches(topic_filter: str, topic: str) -> bool:
    return re.fullmatch(topic_filter.replace("+", "[^/]*"), topic) is not None


def test_the_topics_are_spelled_as_documented() -> None:
    assert partition("oslo-2") == "fa"
    assert edge_topic("oslo-2", "door", "presence") == "doorchime/v1/fa/oslo-2/door/presence"
    assert edge_topic("oslo-2", "door", "config/ack") == "doorchime/v1/fa/oslo-2/door/config/ack"
    assert occupancy_topic("oslo-2") == "doorchime/v1/fa/oslo-2/occupancy"
    assert push_topic("phone-7") == "doorchime/v1/app/phone-7/push"


@pytest.mark.parametrize("leaf", LEAVES)
@given(store=levels, edge=levels)
def test_an_edge_topic_survives_building_and_parsing(leaf: str, store: str, edge: str) -> None:
    assert parse_edge_topic(edge_topic(store, edge, leaf)) == EdgeTopic(store, edge, leaf)


def test_the_docstring_names_every_leaf_and_no_other() -> None:
    assert topics.__doc__ is not None
    assert re.findall(r"<edge>/(\S+)", topics.__doc__) == list(LEAVES)


@given(levels)
def test_the_partition_is_the_low_byte_of_crc32_in_hexadecimal(store: str) -> None:
    assert int(partition(store), 16) == crc32(store.encode()) & 255
    assert re.fullmatch("[0-9a-f]{2}", partition(store))


def test_a_partition_below_16_keeps_its_leading_zero() -> None:
    store = next(f"s{n}" for n in range(10_000) if crc32(f"s{n}".encode()) & 255 < 16)
    assert partition(store).startswith("0")
    assert len(partition(store)) == 2


@given(levels)
def test_the_occupancy_topic_stands_in_the_partition_of_its_store(store: str) -> None:
    assert occupancy_topic(store).split("/") == ["doorchime", "v1", partition(store), store, "occupancy"]


@given(levels)
def test_the_push_topic_stands_under_app(device: str) -> None:
    assert push_topic(device).split("/") == ["doorchime", "v1", "app", device, "push"]


@given(levels)
def test_topics_of_a_store_or_a_phone_are_not_topics_of_an_edge(name: str) -> None:
    for topic in (occupancy_topic(name), push_topic(name)):
        with pytest.raises(BadTopic):
            parse_edge_topic(topic)


@pytest.mark.parametrize("leaf", LEAVES)
@given(store=levels, edge=levels)
def test_each_filter_matches_the_topics_of_its_leaf_only(leaf: str, store: str, edge: str) -> None:
    for topic_filter, wanted in FILTERS.items():
        assert matches(topic_filter, edge_topic(store, edge, leaf)) == (leaf == wanted)
        assert not matches(topic_filter, occupancy_topic(store))
        assert not matches(topic_filter, push_topic(edge))


@pytest.mark.parametrize("level", ["a", "0", "-", "a-1", "z" * 64])
def test_a_good_level_is_given_back(level: str) -> None:
    assert check_level(level) == level


@bad_levels
def test_a_bad_level_is_refused(level: str) -> None:
    with pytest.raises(BadTopic, match="gadget"):
        check_level(level, "gadget")


@bad_levels
def test_no_builder_takes_a_bad_level(level: str) -> None:
    with pytest.raises(BadTopic, match="store"):
        edge_topic(level, "door", "ack")
    with pytest.raises(BadTopic, match="edge"):
        edge_topic("oslo-2", level, "ack")
    with pytest.raises(BadTopic, match="store"):
        occupancy_topic(level)
    with pytest.raises(BadTopic, match="device"):
        push_topic(level)


@bad_levels
def test_the_parser_takes_no_bad_level(level: str) -> None:
    with pytest.raises(BadTopic):
        parse_edge_topic(f"doorchime/v1/fa/{level}/door/presence")
    with pytest.raises(BadTopic):
        parse_edge_topic(f"doorchime/v1/fa/oslo-2/{level}/presence")


@pytest.mark.parametrize(
    "leaf", ["", "Presence", "presence\n", "presence/", "/presence", "+", "#", "config/ack/x", "push"]
)
def test_an_unknown_leaf_is_refused(leaf: str) -> None:
    with pytest.raises(BadTopic):
        edge_topic("oslo-2", "door", leaf)
    with pytest.raises(BadTopic):
        parse_edge_topic(f"doorchime/v1/fa/oslo-2/door/{leaf}")


@given(levels, st.integers(0, 255))
def test_only_the_partition_of_the_store_is_accepted(store: str, number: int) -> None:
    topic = f"doorchime/v1/{number:02x}/{store}/door/presence"
    if number == int(partition(store), 16):
        assert parse_edge_topic(topic) == EdgeTopic(store, "door", "presence")
    else:
        with pytest.raises(BadTopic, match=f"in partition {partition(store)}, not '{number:02x}'"):
            parse_edge_topic(topic)


@pytest.mark.parametrize("spelling", ["FA", "0xfa", "fa ", "", "+", "app", "000000fa"])
def test_another_spelling_of_the_partition_is_refused(spelling: str) -> None:
    with pytest.raises(BadTopic, match="partition"):
        parse_edge_topic(f"doorchime/v1/{spelling}/oslo-2/door/presence")


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "/",
        "doorchime",
        "doorchime/v1",
        "doorchime/v1/",
        "doorchime/v1/fa",
        "doorchime/v1/fa/oslo-2",
        "doorchime/v1/fa/oslo-2/door",
        "doorchime/v2/fa/oslo-2/door/presence",
        "Doorchime/v1/fa/oslo-2/door/presence",
        "/doorchime/v1/fa/oslo-2/door/presence",
        "x/doorchime/v1/fa/oslo-2/door/presence",
        "doorchime/v1/doorchime/v1/fa/oslo-2/door/presence",
        "doorchime/v1//fa/oslo-2/door/presence",
        "doorchime/v1/fa/oslo-2/door/presence/",
        "doorchime/v1/fa/oslo-2/door/presence/more",
        "$share/hub/doorchime/v1/fa/oslo-2/door/presence",
    ],
)
def test_a_topic_outside_the_grammar_is_refused(topic: str) -> None:
    with pytest.raises(BadTopic):
        parse_edge_topic(topic)


def test_the_text_of_a_refusal_stays_short() -> None:
    for topic in (
        "x" * 65_535,
        f"doorchime/v1/fa/oslo-2/door/{'x' * 60_000}",
        f"doorchime/v1/fa/{'x' * 60_000}/door/ack",
    ):
        with pytest.raises(BadTopic) as caught:
            parse_edge_topic(topic)
        assert len(str(caught.value)) < 300


pieces = st.sampled_from(["doorchime", "v1", "fa", "oslo-2", "door", *LEAVES, "", "+", "#", "\n", "app"])


@given(st.one_of(st.text(st.characters()), st.lists(st.one_of(pieces, levels), max_size=8).map("/".join)))
@example("doorchime/v1/fa/oslo-2/door/presence")
def test_any_text_gives_a_topic_that_builds_the_same_text_or_bad_topic(text: str) -> None:
    try:
        parsed = parse_edge_topic(text)
    except BadTopic:
        return
    assert edge_topic(*parsed) == text


@given(st.text(st.characters()), st.text(st.characters()), st.sampled_from(LEAVES))
def test_any_names_give_a_topic_or_bad_topic(store: str, edge: str, leaf: str) -> None:
    try:
        topic = edge_topic(store, edge, leaf)
    except BadTopic:
        return
    assert parse_edge_topic(topic) == EdgeTopic(store, edge, leaf)
