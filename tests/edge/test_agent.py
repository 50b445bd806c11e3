"""The edge's loop with a radio, a line and a clock of our own; outbox, engine and sender are the real ones."""

from itertools import pairwise

import pytest

from edge.adapters.outbox import RETRY_MS
from edge.adapters.spool import AGE_SLACK_MS, Limits
from edge.agent import INBOX_MAX
from tests.edge.rig import ANN, BEN, BIG, STAMP, Rig, edge
from wire.errors import LocalFault, StoreFault


async def test_what_is_heard_reaches_the_hub_and_leaves_the_disk_on_its_word(tmp_path):
    async with edge(tmp_path) as rig:
        told = await rig.enter()
        assert told.gauges["outbox_rows"] == 2
        assert not rig.line.presence, "there is no connection yet"
        rig.line.connect()
        await rig.after()
        assert rig.line.kinds == ["enter", "sample"]
        message = rig.line.presence[0]
        assert (message.edge, message.boot, message.oldest_seq, message.clock) == ("e1", "b1", 1, STAMP)
        assert message.sent_mono_ms is not None
        rig.line.ack("b1", 1)
        assert (await rig.after()).gauges["outbox_rows"] == 1
        rig.line.ack("b1", 2)
        told = await rig.after()
        assert (told.gauges["outbox_rows"], told.gauges["present"], told.counters["events_published"]) == (0, 1, 2)


async def test_what_an_earlier_boot_left_goes_first(tmp_path):
    async with edge(tmp_path, earlier=[left_behind("enter"), left_behind("exit")]) as rig:
        rig.line.obedient = True
        await rig.enter()
        rig.line.connect()
        await rig.after()
        await rig.after()  # the first ack leads to the second boot
        assert [(message.boot, message.sent_mono_ms is None) for message in rig.line.presence] == [
            ("b0", True),
            ("b1", False),
        ]


async def test_an_unreadable_ack_is_logged_once_and_harms_nothing(tmp_path, caplog):
    async with edge(tmp_path) as rig:
        rig.line.connect()
        await rig.enter()
        for _ in range(3):
            rig.line.listener.message("ack", b'{"v": 1, "boot": "b1"}')
        assert (await rig.after()).gauges["outbox_rows"] == 2
        rig.line.ack("b1", 2)
        assert (await rig.after()).gauges["outbox_rows"] == 0
    assert [record.getMessage() for record in caplog.records].count("an ack cannot be read") == 1


async def test_what_waits_too_long_is_given_up_in_an_empty_shop(tmp_path):
    async with edge(tmp_path, Limits(10**9, max_age_ms=3_600_000), silent_radio_s=3600) as rig:
        await rig.enter()
        told = await rig.after(1_800_000)  # the exit comes meanwhile, and is young enough to stay
        assert told.counters["events_lost"] == 0
        rig.radio.alive()
        told = await rig.after(1_800_000 + 2 * AGE_SLACK_MS)
        assert told.counters["events_lost"] == 2
        rig.line.connect()
        await rig.after()
        lost, left = rig.line.events
        assert (lost.kind, lost.first_seq, lost.seq, lost.reason) == ("lost", 1, 2, "age")
        assert left.kind == "exit"


async def test_stopping_says_unknown_of_whoever_is_here_and_waits_for_the_hub(tmp_path):
    async with edge(tmp_path) as rig:
        rig.line.connect()
        await rig.enter()
        rig.line.ack("b1", 2)
        await rig.after()
        rig.line.obedient = True
    assert rig.line.kinds == ["enter", "sample", "unknown"]
    assert rig.line.telemetry[-1].gauges["outbox_rows"] == 0


# -- a radio that falls silent -------------------------------------------------------------------------------------


async def test_a_silent_radio_freezes_exits_says_unknown_and_thaws(tmp_path):
    async with edge(tmp_path, silent_radio_s=5, exit_silence_s=12) as rig:
        rig.line.obedient = True
        rig.line.connect()
        await rig.enter()
        assert rig.radio.starts == 1
        told = await rig.after(6_000)
        assert (told.health, rig.radio.starts) == ("degraded", 2)
        assert rig.line.kinds == ["enter", "sample", "unknown"]
        for _ in range(4):
            told = await rig.after(10_000)
        assert rig.line.kinds == ["enter", "sample", "unknown"], "nobody leaves while nobody can be heard"
        assert told.gauges["present"] == 1
        assert rig.radio.starts == 5, "after 5, 10 and 20 s more"
        rig.radio.alive()  # the store's own beacon
        assert (await rig.after()).health == "ok"
        for _ in range(3):
            await rig.after(3_000)
            rig.radio.alive()
        assert "exit" not in rig.line.kinds, "silence counts from the thaw"
        await rig.after(3_000)
        exit_ = rig.line.events[-1]
        assert (exit_.kind, exit_.observed_mono_ms) == ("exit", rig.line.events[0].observed_mono_ms)


async def test_with_a_beacon_of_the_store_a_dead_radio_sends_nobody_away(tmp_path):
    async with edge(tmp_path, silent_radio_s=90, exit_silence_s=30) as rig:
        rig.line.obedient = True
        rig.line.connect()
        rig.radio.counts["adverts_canary"] += 1
        await rig.enter()
        for _ in range(8):
            await rig.after(10_000)
        assert "exit" not in rig.line.kinds, "30 s of silence, but of everything"
        assert "unknown" not in rig.line.kinds, "not certain yet"
        await rig.after(12_000)
        assert rig.line.kinds[-1] == "unknown"
        rig.radio.hear(ANN)
        assert (await rig.after()).health == "ok"
        assert "exit" not in rig.line.kinds


async def test_a_radio_that_refuses_to_start_again_is_tried_again(tmp_path, caplog):
    async with edge(tmp_path, silent_radio_s=5) as rig:
        await rig.after()
        rig.radio.fault = LocalFault("the radio does not start: BleakError")
        for _ in range(3):
            assert (await rig.after(20_000)).health == "degraded"
        rig.radio.fault = None
        await rig.after(60_000)
        assert rig.radio.running
        rig.radio.alive()
        assert (await rig.after()).health == "ok"
    assert [record.getMessage() for record in caplog.records].count("the scanner does not start") == 1


async def test_without_a_radio_the_agent_ends_and_lets_go(tmp_path):
    rig = Rig(tmp_path / "outbox.db", BIG, {})
    rig.radio.fault = LocalFault("the radio does not start: BleakError")
    with pytest.raises(LocalFault, match="the radio does not start"):
        await rig.start()
    assert rig.line.stopped


# -- a disk that takes nothing --------------------------------------------------------------------------------------


async def test_a_full_disk_is_told_and_events_go_on_from_memory_until_there_is_room(tmp_path):
    async with edge(tmp_path) as rig:
        rig.line.connect()
        disk = rig.spool._disk._db
        disk.execute("PRAGMA max_page_count = 1")  # what a full disk looks like to SQLite
        told = await rig.after()
        while told.health == "ok":  # until the pages that it has are used up
            rig.line.ack("b1", rig.spool.boots()[-1].last_seq)
            for n in range(100):
                rig.radio.hear(ANN[:-2] + n.to_bytes(2, "big"))
            told = await rig.after()
        assert told.reasons == ["disk_full"]
        assert told.gauges["outbox_in_memory"] > 0
        await rig.enter(BEN)
        assert rig.line.events[-1].seq == rig.spool.boots()[-1].last_seq, "sent all the same"
        disk.execute("PRAGMA max_page_count = 1000000")
        told = await rig.after(2 * RETRY_MS)
        assert (told.health, told.reasons, told.gauges["outbox_in_memory"]) == ("ok", [], 0)
        assert (told.counters["disk_refusals"], told.counters["events_lost"]) == (1, 0)
        assert [event.seq for event in rig.line.events] == list(range(1, len(rig.line.events) + 1))


async def test_an_outbox_that_cannot_be_read_ends_the_agent(tmp_path):
    rig = Rig(tmp_path / "outbox.db", BIG, {})
    await rig.start()
    rig.spool._disk._db.close()
    with pytest.raises(StoreFault):
        await rig.enter()
    assert rig.line.stopped
    assert not rig.radio.running


# -- a hub that does not take an event -----------------------------------------------------------------------------


@pytest.mark.parametrize("answers", [True, False], ids=["a hub that lives", "a hub that is silent"])
async def test_an_event_is_refused_only_after_a_sign_of_life(tmp_path, answers):
    async with edge(tmp_path) as rig:
        if answers:
            rig.line.on_knock = lambda: rig.line.ack("b1", 0)
        rig.line.connect()
        await rig.enter()
        for _ in range(60):
            told = await rig.after(6_000)
            rig.radio.hear(ANN)
            if "lost" in rig.line.kinds:
                break
        assert rig.line.knocks >= 1
        assert told.counters["rewinds"] >= 6
        if not answers:
            assert "lost" not in rig.line.kinds
            assert told.counters["events_lost"] == 0
            return
        lost = rig.line.events[0]
        assert (lost.kind, lost.first_seq, lost.seq, lost.enters, lost.reason) == ("lost", 1, 1, 1, "refused")
        assert told.counters["events_lost"] == 1
        rig.line.obedient = True
        rig.line.ack("b1", 1)
        told = await rig.after(6_000)
        assert (told.gauges["outbox_rows"], told.counters["events_lost"]) == (0, 1), "the rest follows"


# -- settings from afar --------------------------------------------------------------------------------------------


async def test_a_configuration_is_applied_once_and_acknowledged(tmp_path):
    async with edge(tmp_path) as rig:
        rig.line.connect()
        rig.line.configure(3, enter_dbm=-40, strong_dbm=-40)
        await rig.enter()
        assert "enter" not in rig.line.kinds
        rig.line.configure(3, enter_dbm=-80)
        rig.line.configure(2, enter_dbm=-80)
        await rig.enter()
        assert "enter" not in rig.line.kinds
        rig.line.configure(4, enter_dbm=-80)
        await rig.enter()
        assert "enter" in rig.line.kinds
        assert [(one.version, one.outcome, one.reason) for one in rig.line.answers] == [
            (3, "applied", ""),
            (4, "applied", ""),
        ]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"enter_dbm": -40, "strong_dbm": -40, "store": "s2"}, "store: cannot be changed"),
        ({"enter_dbm": -40, "strong_dbm": -40, "nonsense": 1}, "nonsense: cannot be changed"),
        ({"enter_dbm": -40, "strong_dbm": 5}, "strong_dbm"),
        ({"enter_dbm": -40}, "strong_dbm is below enter_dbm"),
    ],
)
async def test_a_configuration_with_one_bad_setting_changes_nothing_and_says_why(tmp_path, settings, named):
    async with edge(tmp_path) as rig:
        rig.line.connect()
        rig.line.configure(1, **settings)
        await rig.enter()
        assert rig.line.kinds[:1] == ["enter"], "as before"
        (answer,) = rig.line.answers
        assert (answer.version, answer.outcome) == (1, "refused")
        assert named in answer.reason
        rig.line.configure(1, enter_dbm=-70)
        await rig.after()
        assert rig.line.answers[-1].outcome == "applied", "a refused version can be sent again, mended"


# -- too much at once ----------------------------------------------------------------------------------------------


async def test_what_does_not_fit_the_inbox_is_dropped_oldest_first_and_counted(tmp_path):
    async with edge(tmp_path) as rig:
        rig.line.connect()
        for _ in range(50):
            rig.radio.hear(ANN)
        for _ in range(INBOX_MAX):
            rig.radio.hear(BEN)
        told = await rig.after()
        assert told.counters["adverts_dropped_overflow"] == 50
        assert {(event.beacon.minor, event.kind) for event in rig.line.events} == {(2, "enter"), (2, "sample")}


async def test_samples_come_more_rarely_the_fuller_the_outbox_and_as_before_once_it_is_empty(tmp_path):
    async with edge(tmp_path, Limits(max_bytes=10_000, max_age_ms=10**12)) as rig:
        await rig.enter()
        fill = 0.0
        while fill < 0.9:
            rig.radio.hear(ANN)
            fill = (await rig.after()).gauges["outbox_bytes"] / 10_000
        gaps = sample_gaps(rig.spool)
        assert sorted(set(gaps)) == [1_000, 2_000, 5_000, 10_000]
        assert gaps == sorted(gaps)
        rig.line.obedient = True
        rig.line.connect()
        for _ in range(13):  # one sample was planned before, and what it says is the first to see the room
            rig.radio.hear(ANN)
            await rig.after()
        samples = [event.observed_mono_ms for event in rig.line.events if event.kind == "sample"]
        assert samples[-1] - samples[-2] == 1_000
        assert "lost" not in rig.line.kinds


def sample_gaps(spool):
    found = [one["observed_mono_ms"] for one in spool.read("b1", 0, 1_000) if one["kind"] == "sample"]
    return [after - before for before, after in pairwise(found)]


def left_behind(kind):
    beacon = {"uuid": "d0c41e02-0000-4000-8000-000000000000", "major": 0, "minor": 9}
    times = dict.fromkeys(("observed_mono_ms", "first_mono_ms", "last_mono_ms"), 0)
    return {"kind": kind, "beacon": beacon, **times, "rssi_dbm": -60.0, "sd_db": 0.0, "n": 1, "span_ms": 0}
