"""Unmodified bleak hears the stand-in for BlueZ, alone and with the edge behind it."""

import os

import pytest

from bench.hearing import OURS, STRANGERS, BleakEar, EdgeEar, StrangersEar, cost_s, signals
from simulators.corpus import Law, make_corpus

CORPUS = make_corpus(1, Law(people=4, visits=4, walkbys=0, span_s=400.0, visit_s=(180.0, 300.0)))


@pytest.fixture
def hear(tmp_path):
    """Play the corpus to an ear; the ear afterwards."""

    def play(kind, prefix):
        path, ears = tmp_path / "air", []
        path.write_bytes(signals(CORPUS.adverts, prefix))

        def make():
            ears.append(kind(CORPUS.adverts))
            return ears[0]

        assert cost_s(make, CORPUS.law.people, path) > 0
        assert ears[0].done.is_set()
        return ears[0]

    return play


def test_bleak_alone_hears_every_advertisement(hear):
    hear(BleakEar, OURS)


def test_the_edge_makes_facts_of_them(hear):
    ear = hear(EdgeEar, OURS)
    assert ear.facts > len(CORPUS.adverts) / 3, "people are heard once a second, so there is a sample nearly each time"


def test_strangers_end_at_the_scanner(hear):
    assert hear(StrangersEar, STRANGERS).facts == 0


def test_the_environment_is_left_as_it_was(hear, monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
    hear(BleakEar, OURS)
    assert os.environ["DBUS_SYSTEM_BUS_ADDRESS"] == "unix:path=/nonexistent"
