"""What each fault does, without sockets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sandbox_fixtures import service

from mmkit.events import Side
from mmkit_sandbox import rest
from mmkit_sandbox.channel import StreamKind
from mmkit_sandbox.faults import (
    PUBLIC,
    Fault,
    FaultKind,
    FaultsConfig,
    impossible,
    parse_fault,
    planned,
    possible,
)
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.simulation import SimulatedExchange
from mmkit_sandbox.trouble import Reply, Trouble

MS = 1_000_000
S = 1000 * MS
DIFF, TRADE = StreamKind.DIFF, StreamKind.TRADE


def trouble(*faults: str) -> Trouble:
    found = Trouble(planned(FaultsConfig(at=faults)), 0, seed=1)
    found.advance(0)
    return found


def through(found: Trouble, kind: StreamKind = DIFF, count: int = 6, every: int = 100 * MS) -> str:
    """Return the numbers of what arrives, one sent each `every`, and what is released between."""
    arrived = b""
    for number in range(count):
        now = number * every
        found.advance(now)
        arrived += b"".join(found.release("lane", now))
        arrived += b"".join(found.pass_on("lane", kind, b"%d" % number, now))
    return (arrived + b"".join(found.release("lane", 60 * S))).decode()


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        ("0s drop", "12345"),
        ("200ms drop", "01345"),
        ("0s duplicate", "0012345"),
        ("0s reorder", "102345"),
        ("0s delay", "120345"),
        ("0s delay 10s", "123450"),
        ("0s stall 250ms", "012345"),
        ("100ms silent 200ms", "045"),
        ("0s drop trade", "012345"),
        ("0s drop any", "12345"),
    ],
)
def test_a_message_is_harmed_as_the_schedule_says(fault: str, arrives: str) -> None:
    assert through(trouble(fault)) == arrives


def test_what_is_stalled_comes_at_once_and_in_order() -> None:
    found = trouble("0s stall 250ms")
    assert found.pass_on("lane", DIFF, b"a", 0) == []
    assert found.pass_on("lane", TRADE, b"b", 100 * MS) == []
    assert found.release("lane", 200 * MS) == []
    assert found.release("lane", 250 * MS) == [b"a", b"b"]


def test_a_silent_stream_leaves_the_others_alone() -> None:
    found = trouble("0s silent 1s depth")
    assert found.pass_on("lane", DIFF, b"a", 0) == []
    assert found.pass_on("lane", StreamKind.PARTIAL, b"a", 0) == []
    assert found.pass_on("lane", TRADE, b"b", 0) == [b"b"]


def test_a_fault_that_lasts_hits_about_half() -> None:
    arrived = through(trouble("0s drop 1000s"), count=400)
    found = trouble("0s drop 1000s")
    hit = sum(not found.pass_on("lane", DIFF, b"x", 0) for _ in range(1000))
    assert 400 < hit < 600
    assert arrived


def test_what_is_held_back_for_a_client_that_has_gone_is_forgotten() -> None:
    found = trouble("0s delay")
    assert found.pass_on("lane", DIFF, b"a", 0) == []
    found.forget("lane")
    assert found.release("lane", 10 * S) == []


@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.sampled_from([DIFF, TRADE]), st.integers(0, 300)), max_size=60),
)
def test_what_is_only_late_doubled_or_out_of_order_arrives_in_the_end(
    seed: int, sent: list[tuple[StreamKind, int]]
) -> None:
    kinds = (FaultKind.REORDER, FaultKind.DELAY, FaultKind.STALL, FaultKind.DUPLICATE)
    config = FaultsConfig.model_validate(
        {"seed": seed, "every": "300ms", "until": "10s", "kinds": kinds}
    )
    found = Trouble(planned(config), 0, seed)
    now = 0
    arrived: list[bytes] = []
    for number, (kind, wait) in enumerate(sent):
        now += wait * MS
        found.advance(now)
        arrived += found.release("lane", now)
        arrived += found.pass_on("lane", kind, b"%d" % number, now)
    numbers = {b"%d" % number for number in range(len(sent))}
    for _ in range(200):  # more than there are faults left; each may hold one of these back
        now += S
        found.advance(now)
        arrived += found.release("lane", now)
        for kind in (DIFF, TRADE):
            arrived += found.pass_on("lane", kind, b"more", now)
    assert numbers <= set(arrived)


RIGHT = Reply(200, b'{"lastUpdateId":1,"bids":[],"asks":[]}')


def test_answers_are_spoilt_once_and_then_right_again() -> None:
    found = trouble("0s html", "0s empty", "0s cut")
    page, nothing, cut, right = (found.answer(RIGHT, 0, "depth") for _ in range(4))
    assert (page.status, page.content_type, page.body[:9]) == (200, "text/html", b"<!DOCTYPE")
    assert (nothing.status, nothing.body) == (200, b"")
    assert RIGHT.body.startswith(cut.body)
    assert 0 < len(cut.body) < len(RIGHT.body)
    assert right == RIGHT


@pytest.mark.parametrize(("kind", "status"), [("http_429", 429), ("http_418", 418)])
def test_a_ban_lasts_and_says_how_long(kind: str, status: int) -> None:
    found = trouble(f"0s {kind} 3s")
    assert found.answer(RIGHT, 0, "depth").status == status
    assert found.answer(RIGHT, 0, "time").retry_after_s == 3
    assert found.answer(RIGHT, 2100 * MS, "time").retry_after_s == 1
    found.advance(3001 * MS)
    assert found.answer(RIGHT, 3001 * MS, "time") == RIGHT


def exchange(*symbols: str) -> SimulatedExchange:
    listings = [Listing.of(symbol) for symbol in symbols or ("BTC/USDT",)]
    found = SimulatedExchange(listings, 1, 0, remember=True)
    found.advance(20 * S, ())
    return found


def depth(found: Trouble, there: SimulatedExchange) -> rest.Depth | None:
    seen = found.book(there, 20 * S, "depth")
    return seen.depth(there.listings[0], 5000)


def test_a_stale_snapshot_is_the_true_book_of_five_seconds_ago() -> None:
    there = exchange()
    listing = there.listings[0]
    right = there.depth(listing, 5000)
    stale = depth(trouble("0s stale"), there)
    assert stale is not None
    assert stale.last_update_id < right.last_update_id
    assert stale.ts_ms <= 15_000
    assert stale == there.depth_at(listing, stale.last_update_id)
    assert depth(trouble("1s stale"), there) == right


def test_a_snapshot_of_another_symbol_is_the_other_ones_or_has_other_prices() -> None:
    two = exchange("BTC/USDT", "ETH/USDT")
    assert depth(trouble("0s other_symbol"), two) == two.depth(two.listings[1], 5000)
    one = exchange()
    wrong = depth(trouble("0s other_symbol"), one)
    assert wrong is not None
    assert wrong.bids != one.depth(one.listings[0], 5000).bids


def test_an_altered_snapshot_has_the_right_id_and_wrong_levels() -> None:
    there = exchange()
    right = there.depth(there.listings[0], 5000)
    wrong = depth(trouble("0s altered"), there)
    assert wrong is not None
    assert wrong.last_update_id == right.last_update_id
    assert wrong.bids != right.bids
    assert {price for price, _ in wrong.bids} < {price for price, _ in right.bids}


def test_the_exchange_tells_its_true_book_at_every_update_id() -> None:
    there = exchange()
    market = there.market(there.listings[0])
    assert market.truth is not None
    assert market.truth.at(market.truth.newest + 1) is None
    assert market.truth.at(market.truth.oldest - 1) is None
    now = market.truth.at(market.truth.newest)
    assert now is not None
    assert now.bids == dict(market.book.levels(Side.BUY))
    assert now.asks == dict(market.book.levels(Side.SELL))


def test_a_restart_goes_on_at_the_price_with_ids_from_the_start() -> None:
    there = exchange()
    market = there.market(there.listings[0])
    before, mid = market.depth(1).last_update_id, market.mid
    there.restart()
    again = there.market(there.listings[0])
    assert again.depth(1).last_update_id < before
    assert again.mid is not None
    assert mid is not None
    assert abs(again.mid - mid) < 100
    assert again.depth(5) != market.depth(5)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("12s drop", Fault(12 * S, FaultKind.DROP)),
        ("1.5s silent", Fault(1500 * MS, FaultKind.SILENT, 3 * S)),
        ("0s silent 5s trade", Fault(0, FaultKind.SILENT, 5 * S, "trade")),
        ("0s silent trade 5s", Fault(0, FaultKind.SILENT, 5 * S, "trade")),
        ("1m close_1006 any", Fault(60 * S, FaultKind.CLOSE_1006, 0, "any")),
    ],
)
def test_a_fault_is_written_as_people_say_it_and_reads_back(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "was expected; found ''"),
        ("soon drop", "a duration with its unit"),
        ("5s", "what goes wrong is one of drop, duplicate"),
        ("5s dorp", "what goes wrong is one of drop, duplicate"),
        ("5s drop dept", "a stream is one of depth, trade"),
        ("5s silent 5x", "a duration with its unit"),
        ("5s silent 5s 6s", "found '6s'"),
    ],
)
def test_a_fault_that_cannot_be_read_is_refused_with_what_was_expected(
    text: str, words: str
) -> None:
    with pytest.raises(ValueError, match="was expected") as error:
        parse_fault(text)
    assert words in str(error.value)


def first(faults: Iterator[Fault], count: int = 200) -> list[Fault]:
    return list(islice(faults, count))


def test_the_same_seed_brings_the_same_faults_about_as_often_as_was_said() -> None:
    config = FaultsConfig.model_validate({"seed": 3, "every": "10s", "after": "5s"})
    faults = first(planned(config))
    assert faults == first(planned(config))
    assert faults != first(planned(config.model_copy(update={"seed": 4})))
    assert faults == sorted(faults, key=lambda fault: fault.at_ns)
    assert faults[0].at_ns >= 5 * S
    assert 7 * S < faults[-1].at_ns / 200 < 13 * S
    assert {fault.kind for fault in first(planned(config), 1000)} == set(PUBLIC)


def test_chance_stops_when_it_is_told_to_and_keeps_to_what_it_is_given() -> None:
    config = FaultsConfig.model_validate(
        {
            "every": "100ms",
            "until": "5s",
            "kinds": ["drop", "delay"],
            "at": ["7s restart", "1s html"],
        }
    )
    faults = list(planned(config))
    assert faults[-1] == parse_fault("7s restart")
    assert parse_fault("1s html") in faults
    assert {fault.kind for fault in faults} == {"drop", "delay", "html", "restart"}
    assert all(fault.at_ns <= 5 * S for fault in faults[:-1])


def test_a_replay_is_refused_what_needs_a_market() -> None:
    config = FaultsConfig.model_validate({"kinds": ["drop", "stale"], "at": ["1s restart"]})
    assert impossible(config, replay=True) == ["stale", "restart"]
    assert impossible(config, replay=False) == []
    assert "stale" not in possible(replay=True)
    with pytest.raises(ValidationError, match="cannot have stale, restart"):
        service(replay=("day.gz",), faults=config)
