"""Advertising data in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from simulators.captures.chains import MAX_CHAINS, MAX_DATA_BYTES, Chains
from simulators.captures.packet import Report


def piece(data, *, chain="set", more=True, starts=False, address="aa", rssi=-60):
    return Report(address, rssi, data, chain, more, starts)


def test_pieces_become_one_advertisement_with_the_level_of_the_last():
    chains = Chains()
    assert chains.add(piece(b"one"), 0) is None
    assert chains.add(piece(b"two", address=""), 0) is None
    whole = chains.add(piece(b"three", address="", more=False, rssi=-70), 0)
    assert (whole.address, whole.data, whole.rssi_dbm) == ("aa", b"onetwothree", -70)
    chains.end()
    assert chains.counts == {"pieces": 2, "incomplete": 0}


def test_a_report_that_never_comes_in_pieces_passes_through():
    report = Report("aa", -60, b"x")
    assert Chains().add(report, 0) is report


def test_sets_and_interfaces_do_not_mix():
    chains = Chains()
    chains.add(piece(b"a", chain=1), 0)
    chains.add(piece(b"b", chain=2), 0)
    chains.add(piece(b"c", chain=1), 1)
    assert [chains.add(piece(b"!", chain=chain, more=False), at).data for chain, at in ((1, 0), (2, 0), (1, 1))] == [
        b"a!", b"b!", b"c!",
    ]  # fmt: skip


def test_a_new_beginning_voids_the_pieces_before_and_says_so():
    chains = Chains()
    chains.add(piece(b"", starts=True), 0)  # a pointer without data: nothing is lost with it
    chains.add(piece(b"old", starts=True), 0)
    assert chains.add(piece(b"new", starts=True, more=False), 0).data == b"new"
    assert chains.counts == {"pieces": 2, "incomplete": 1}


def test_pieces_whose_beginning_was_not_heard_are_counted():
    chains = Chains()
    assert chains.add(piece(b"tail", address="", more=False), 0) is None
    assert chains.add(piece(b"mid", address=""), 0) is None
    assert chains.counts == {"pieces": 2, "incomplete": 2}


def test_what_never_ends_is_given_up():
    chains = Chains()
    chains.add(piece(b"x"), 0)
    chains.end()
    chains.end()
    assert chains.counts == {"pieces": 1, "incomplete": 1}


def test_data_longer_than_there_can_be_is_given_up():
    chains = Chains()
    assert chains.add(piece(bytes(MAX_DATA_BYTES), more=True), 0) is None
    assert chains.add(piece(b"x", more=False), 0) is None
    assert chains.counts == {"pieces": 2, "incomplete": 1}


def test_the_oldest_set_is_given_up_for_one_too_many():
    chains = Chains()
    for chain in range(MAX_CHAINS + 1):
        chains.add(piece(b"head", chain=chain), 0)
    assert chains.counts["incomplete"] == 1
    assert chains.add(piece(b"tail", chain=1, more=False), 0).data == b"headtail"
    assert chains.add(piece(b"tail", chain=0, more=False), 0).data == b"tail"


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans(), st.booleans(), st.binary(max_size=40)), max_size=400))
def test_nothing_is_lost_uncounted(steps):
    chains, complete, handed_in = Chains(), [], 0
    for chain, more, starts, data in steps:
        handed_in += len(data)
        whole = chains.add(piece(data, chain=chain, more=more, starts=starts), 0)
        complete += [whole] if whole else []
    chains.end()
    assert len(complete) + chains.counts["pieces"] == len(steps)
    handed_out = sum(len(whole.data) for whole in complete)
    assert handed_out <= handed_in
    assert handed_out == handed_in or chains.counts["incomplete"]
