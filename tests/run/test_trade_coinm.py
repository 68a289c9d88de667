"""COIN-M from the exchange to the profit: a dry run, its replay, a recording and the watch, all in processes."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from processes import journal, mmkit, write_config

from mmkit_sandbox.replay import open_replay

CONFIG = """
instrument: {venue: binance, market: coinm, symbol: "BTC/USD:BTC"}
services: [{plugin: sandbox}]
data:
  plugin: binance
  endpoint: sandbox
  streams: [depth, aggTrade, bookTicker, markPrice, kline_1m, forceOrder]
strategy: {plugin: join_best, every: 100ms, size: "5", max_position: "20"}
"""


def made(fills: list[dict[str, Any]], mark: Fraction) -> Fraction:
    """Return what fills have made of nothing at a mark price, BTC, before fees: contracts of 100 USD."""
    position, gained = 0, Fraction()
    for fill in fills:
        signed = fill["signed"]
        # Buying a contract of 100 USD at p is owing 100/p BTC less, so each fill stands for itself.
        gained += signed * 100 / (Fraction(fill["price"]) / 10)
        position += signed
    return gained - position * 100 / mark


def test_a_dry_run_is_settled_in_the_base_coin_and_its_replay_is_equal(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data", CONFIG)
    ended = mmkit(
        *("trade", "-c", userdir / "config.yml", "--duration", "5s", "--json"), cwd=tmp_path
    )
    assert ended.status == 0, ended.stderr
    report = ended.json
    assert report["currency"] == "BTC"
    assert report["gaps"] == 0
    run = Path(report["folder"])
    entries = journal(run)
    signs = {
        one["order_id"]: 1 if one["side"] == "buy" else -1
        for one in entries
        if one["type"] == "SubmitOrder"
    }
    fills = [
        one | {"signed": signs[one["order_id"]] * one["quantity"]}
        for one in entries
        if one["type"] == "OrderFilled"
    ]
    assert len(fills) > 2

    compared = mmkit("parity", run, "--json", cwd=tmp_path)
    assert compared.status == 0, compared.stderr
    assert compared.json["equal"] is True
    assert compared.json["equity"] == report["equity"]

    # The same money by another road: from the fills alone, in fractions.
    equity = float(report["equity"]) + float(report["fees"])
    prices = [Fraction(fill["price"]) / 10 for fill in fills]
    low, high = (made(fills, at) for at in (min(prices) - 100, max(prices) + 100))
    assert (
        min(low, high) - Fraction(1, 10**8)
        <= Fraction(equity)
        <= max(low, high) + Fraction(1, 10**8)
    )
    realized = float(report["realized_pnl"])
    assert realized == pytest.approx(float(realized_of(fills)), abs=2e-8)


def realized_of(fills: list[dict[str, Any]]) -> Fraction:
    """Return the profit of what was closed, at the average price of what it closed, BTC.

    The average of an inverse position is the one at which it would be worth what was paid for it.
    """
    position, worth, realized = 0, Fraction(), Fraction()
    for fill in fills:
        signed = fill["signed"]
        price = Fraction(fill["price"]) / 10
        closing = 0
        if position and (position > 0) != (signed > 0):
            closing = min(abs(position), abs(signed)) * (1 if signed > 0 else -1)
            share = worth * Fraction(-closing, position)
            realized += share + closing * 100 / price
            worth -= share
        worth += (signed - closing) * 100 / price
        position += signed
    return realized


def test_what_is_recorded_and_watched_is_the_market(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data", CONFIG)
    config = ("-c", userdir / "config.yml")
    ended = mmkit("record", *config, "--duration", "2s", "--json", cwd=tmp_path)
    assert ended.status == 0, ended.stderr
    (market,) = ended.json["markets"]
    assert (market["kind"], market["gaps"]) == ("coinm", 0)
    raw = sorted((userdir / "data/binance/coinm/BTCUSD_PERP/raw").glob("*.zst"))
    assert raw

    # The raw files are a capture: they can be checked, and played by the sandbox again.
    recorded = f"""
instrument: {{venue: binance, market: coinm, symbol: "BTC/USD:BTC", tick: "0.1", lot: "1", contract_size: "100"}}
data: {{plugin: capture, paths: {json.dumps([str(one) for one in raw])}}}
strategy: {{plugin: join_best, size: "1", max_position: "5"}}
"""
    again = write_config(tmp_path / "again", recorded)
    checked = mmkit("data", "check", "-c", again / "config.yml", "--json", cwd=tmp_path)
    assert checked.status == 0, checked.stdout + checked.stderr

    replay = open_replay(raw)
    (listing,) = replay.listings
    assert (listing.market, listing.symbol, listing.pair) == ("coinm", "BTCUSD_PERP", "BTCUSD")
    replay.advance(replay.start_ns + 10**9, ())
    assert replay.depth(listing, 5) is not None
    assert len(replay.agg_trades(listing)) > 3

    live = mmkit("watch", *config, "--duration", "2s", "--json", cwd=tmp_path)
    assert live.status == 0, live.stderr
    *events, end = [json.loads(one) for one in live.stdout.splitlines()]
    assert end["type"] == "Watched"
    assert end["trades"]["main"] > 10
    assert all("ts_local" in one for one in events)
