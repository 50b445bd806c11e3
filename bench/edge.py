"""`doorchime bench edge`: what an advertisement costs, and what becomes of a hard day at the door.

Ways of measuring, parameters and the meaning of each figure: docs/bench.md.
"""

import os
import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench import decoding
from bench.clock import cpu_s, steady_s
from bench.hearing import OURS, STRANGERS, BleakEar, EdgeEar, StrangersEar, cost_s, signals
from bench.measure import PAIRS, QUICK_S, Outcome, Say, in_memory, in_turns, percentile, rates, ratio, rounded, spread
from bench.naive_presence import NaivePresence
from bench.stays import Engine, Verdict, delays, engine_visits, hub_visits, judge, key_of
from edge.core.presence import Gates, PresenceEngine
from simulators.corpus import Advert, Corpus, make_corpus
from wire.errors import BrokenInvariant

SEEDS = 5
"""Corpora judged in a full run, each of a fresh seed; a quick run judges as many as there is time for."""

TURN_MS = 100
"""How often the engines are asked what time has brought, ms of the corpus."""


class Size(NamedTuple):
    """How much of everything."""

    adverts: int  # through bleak
    decoded: int
    decoded_by_peers: int
    turns: int
    until_s: float  # no corpus is begun after this


def run(quick: bool, say: Say) -> Outcome:
    """Measure the edge.

    Raises:
        BrokenInvariant: our decoder was wrong, or raised what it must not.
        LocalFault: something needed for measuring is not there.
    """
    size = Size(20_000, 40_000, 8_000, PAIRS, steady_s() + QUICK_S / 2) if quick else Size(
        100_000, 200_000, 40_000, 9, float("inf")
    )  # fmt: skip
    figures: dict[str, float] = {}
    ratios: dict[str, float] = {}
    peers: dict[str, float] = {}
    seed = secrets.randbelow(1_000_000)
    corpus = make_corpus(seed)
    say(f"hearing, through bleak (corpus of seed {seed})")
    _hearing(corpus.adverts[: size.adverts], corpus.law.people, size.turns, figures, ratios)
    say(f"decoding (corpus of seed {seed})")
    _decoding(decoding.mixed(seed, size.decoded), size, say, figures, ratios, peers)
    say(f"presence (corpus of seed {seed})")
    _presence(corpus, size.turns, figures, ratios, peers)
    _stays(seed, corpus, size.until_s, say, figures, peers)
    return Outcome(figures, ratios, peers)


def _hearing(
    adverts: Sequence[Advert], people: int, turns: int, figures: dict[str, float], ratios: dict[str, float]
) -> None:
    with in_memory() as folder:
        ours, strangers = folder / "ours", folder / "strangers"
        ours.write_bytes(signals(adverts, OURS))
        strangers.write_bytes(signals(adverts, STRANGERS))
        per_s = len(adverts)
        rows = in_turns(
            {
                "bleak": lambda _: per_s / cost_s(lambda: BleakEar(adverts), people, ours),
                "edge": lambda _: per_s / cost_s(lambda: EdgeEar(adverts), people, ours),
                "strangers": lambda _: per_s / cost_s(lambda: StrangersEar(adverts), people, strangers),
            },
            turns,
        )
    bleak_us = [1e6 / row["bleak"] for row in rows]
    for name, contender in (("cost_vs_bleak", "edge"), ("cost_vs_bleak_strangers", "strangers")):
        own = [1e6 / row[contender] - alone for row, alone in zip(rows, bleak_us, strict=True)]
        ratios |= spread([mine / alone for mine, alone in zip(own, bleak_us, strict=True)]).named(name)
        figures[f"own_us_{contender}"] = rounded(spread(own).median)
    figures["bleak_us"] = rounded(spread(bleak_us).median)


def _decoding(
    heard: Sequence[decoding.Heard],
    size: Size,
    say: Say,
    figures: dict[str, float],
    ratios: dict[str, float],
    peers: dict[str, float],
) -> None:
    for name, decoder in (("wire.ibeacon.decode", decoding.ours), ("the baseline", decoding.by_struct)):
        judged = decoding.judge(decoder, heard)
        if any(judged):
            raise BrokenInvariant(f"{name}: {judged.wrong} wrong and {judged.raised} raised of {len(heard)}")
    rows = decoding.race(heard, size.turns)
    ratios |= ratio(rows, "ours", "struct").named("decode_vs_struct")
    figures |= rates(rows, "ours").named("decode_per_s")
    found = decoding.peers(heard[: size.decoded_by_peers], PAIRS)
    if found is None:
        say("=== LEFT OUT: other people's decoders, which are not installed (make oracles) ===")
    else:
        peers |= found


def _presence(
    corpus: Corpus, turns: int, figures: dict[str, float], ratios: dict[str, float], peers: dict[str, float]
) -> None:
    heard = [(key_of(advert.who), float(advert.rssi_dbm), advert.at_ms) for advert in corpus.adverts]

    def rate(make: Callable[[], Engine]) -> float:
        engine, turn_ms = make(), 0
        begun_s = cpu_s(os.getpid())
        for key, rssi_dbm, at_ms in heard:
            if at_ms >= turn_ms:
                engine.advance(at_ms)
                turn_ms = at_ms + TURN_MS
            engine.hear(key, rssi_dbm, at_ms)
        return len(heard) / (cpu_s(os.getpid()) - begun_s)

    rows = in_turns({"ours": lambda _: rate(_engine), "naive": lambda _: rate(NaivePresence)}, turns)
    figures |= rates(rows, "ours").named("presence_per_s")
    ratios |= ratio(rows, "ours", "naive").named("presence_vs_naive")
    peers["naive_presence_per_s"] = rounded(rates(rows, "naive").median)


def _stays(
    seed: int, corpus: Corpus, until_s: float, say: Say, figures: dict[str, float], peers: dict[str, float]
) -> None:
    ours: list[Verdict] = []
    naive: list[Verdict] = []
    total = len(corpus.visits)
    longest_s = 0.0
    while len(ours) < SEEDS and (not ours or steady_s() + longest_s <= until_s):
        begun_s = steady_s()
        if ours:
            seed = secrets.randbelow(1_000_000)
            corpus = make_corpus(seed)
        ours.append(judge(corpus, hub_visits(corpus, _engine())))
        naive.append(judge(corpus, engine_visits(corpus, NaivePresence())))
        longest_s = max(longest_s, steady_s() - begun_s)
        said = f"{ours[-1].exact} of {total} visits, {ours[-1].walkbys_taken} walk-bys taken"
        say(f"corpus of seed {seed}: {said} (naive: {naive[-1].exact} and {naive[-1].walkbys_taken})")
    figures["corpora"] = len(ours)
    figures["visits_exact_of_232"] = min(one.exact for one in ours)
    figures["visits_exact_of_232_median"] = spread([one.exact for one in ours]).median
    figures["walkbys_taken"] = sum(one.walkbys_taken for one in ours)
    peers["naive_visits_exact_of_232"] = min(one.exact for one in naive)
    peers["naive_walkbys_taken"] = sum(one.walkbys_taken for one in naive)
    figures |= _delays(corpus, _engine())
    peers |= {f"naive_{name}": value for name, value in _delays(corpus, NaivePresence()).items()}


def _delays(corpus: Corpus, engine: Engine) -> dict[str, float]:
    found = delays(corpus, engine)
    return {
        "enter_p50_s": rounded(percentile(found.enters_s, 0.5)),
        "enter_p95_s": rounded(percentile(found.enters_s, 0.95)),
        "exit_p50_s": rounded(percentile(found.exits_s, 0.5)),
    }


def _engine() -> PresenceEngine:
    return PresenceEngine(Gates())
