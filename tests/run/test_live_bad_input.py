"""What is wrong with key, account, market, clock or journal is told once, in words, and nothing is left at the venue."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from in_process import Ended
from in_process import mmkit as here
from live_sandbox import KEY, SECRET, SYMBOLS, Exchange, exchange, live_config
from processes import Ended as EndedProcess
from processes import start, write_config

from mmkit.events import Side
from mmkit.live.store import LEAST_ROOM, VERSION, Store
from mmkit_sandbox.accountorder import OrderKind, Placing

MARKETS, PLUGINS = ("usdm", "spot"), ("ccxt", "binance")
EVERY = [(market, plugin) for market in MARKETS for plugin in PLUGINS]
every = pytest.mark.parametrize(("market", "plugin"), EVERY)
LONG = "MMKIT_LONG" in os.environ
"""Whether every venue is tried in every market also where a run has to trade for a while."""
crosswise = pytest.mark.parametrize(
    ("market", "plugin"), EVERY if LONG else [("usdm", "ccxt"), ("spot", "binance")]
)
WRONG_KEY, WRONG_SECRET = "WRONGKEY0123456789abcdef", "WRONGSECRET0123456789abcdef"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVE_KEY", KEY)
    monkeypatch.setenv("LIVE_SECRET", SECRET)


@pytest.fixture(scope="module")
def venue() -> Iterator[Exchange]:
    with exchange() as running:
        yield running


@pytest.fixture(scope="module")
def halted() -> Iterator[Exchange]:
    with exchange({"halted": list(SYMBOLS.values())}) as running:
        yield running


@pytest.fixture(scope="module")
def readable() -> Iterator[Exchange]:
    with exchange(can_trade=False) as running:
        yield running


@pytest.fixture(scope="module")
def hedged() -> Iterator[Exchange]:
    with exchange(hedge_mode=True) as running:
        yield running


@pytest.fixture(scope="module")
def poor() -> Iterator[Exchange]:
    with exchange(balances={"USDT": "5", "BTC": "0.00001"}) as running:
        yield running


def typed(
    folder: Path,
    there: Exchange,
    market: str,
    plugin: str,
    *,
    command: tuple[str, ...] = ("trade", "--yes", "--duration", "1s"),
    venue: str = "",
    **sections: str,
) -> Ended:
    """Run what a person types, with the configuration that a person writes."""
    text = live_config(there, market, plugin, **sections)
    if venue:
        text = text.replace("venue: {", f"venue: {{{venue}, ")
    userdir = write_config(folder / "user_data", text)
    return here(command[0], "-c", userdir / "config.yml", *command[1:], cwd=folder)


def told(ended: Ended | EndedProcess, status: int, *words: str) -> str:
    """Assert that one error says all of it, without a traceback or a secret; return it."""
    assert ended.status == status, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, ended.stderr
    for one in words:
        assert one in errors[0]
    everything = ended.stdout + ended.stderr
    assert "Traceback" not in everything
    for mark in (KEY, SECRET, WRONG_KEY, WRONG_SECRET, "signature="):
        assert mark not in everything
    return errors[0]


# --- key and secret -------------------------------------------------------------------------------


@every
def test_a_key_that_the_venue_does_not_know_is_told_with_where_to_look(
    tmp_path: Path, venue: Exchange, market: str, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVE_KEY", WRONG_KEY)
    ended = typed(tmp_path, venue, market, plugin)
    told(ended, 5, f"{SYMBOLS[market]} at binance {market}, endpoint sandbox", "look at venue.key")
    assert venue.open_orders() == []


@every
def test_a_secret_that_is_not_the_keys_is_told_with_where_to_look(
    tmp_path: Path, venue: Exchange, market: str, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVE_SECRET", WRONG_SECRET)
    ended = typed(tmp_path, venue, market, plugin)
    told(ended, 5, "-1022", "look at venue.secret")


@every
def test_a_key_without_the_right_to_trade_is_refused(
    tmp_path: Path, readable: Exchange, market: str, plugin: str
) -> None:
    told(typed(tmp_path, readable, market, plugin), 5, "a key that may trade was expected")


def test_panic_says_that_the_key_is_wrong_too(
    tmp_path: Path, venue: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVE_SECRET", WRONG_SECRET)
    ended = typed(tmp_path, venue, "spot", "binance", command=("panic",))
    told(ended, 5, "BTC/USDT at binance spot", "look at venue.secret")


# --- the market -----------------------------------------------------------------------------------


@every
def test_a_market_that_is_not_traded_any_more_is_refused_in_the_venues_word(
    tmp_path: Path, halted: Exchange, market: str, plugin: str
) -> None:
    status = {"usdm": "SETTLING", "spot": "BREAK"}[market]
    told(typed(tmp_path, halted, market, plugin), 5, f"found status {status}", SYMBOLS[market])


@every
def test_panic_cancels_in_a_market_that_is_not_traded_any_more(
    tmp_path: Path, halted: Exchange, market: str, plugin: str
) -> None:
    ended = typed(tmp_path, halted, market, plugin, command=("panic",))
    assert ended.status == 0, ended.stderr
    assert f"{SYMBOLS[market]}: no order is left" in ended.stdout


@every
def test_a_symbol_that_the_venue_does_not_list_is_told_with_where_to_look(
    tmp_path: Path, venue: Exchange, market: str, plugin: str
) -> None:
    wrong = SYMBOLS[market].replace("BTC", "BTTC")
    instrument = f'{{venue: binance, market: {market}, symbol: "{wrong}"}}'
    ended = typed(tmp_path, venue, market, plugin, instrument=instrument)
    # Spot is asked for the one symbol, as its whole list is of megabytes.
    next_ = {"usdm": "did you mean BTC/USDT:USDT?", "spot": "see the venue's list of markets"}
    told(ended, 3, f"instrument.symbol: 'binance' lists no '{wrong}'", next_[market])


# --- size and balance -----------------------------------------------------------------------------


@every
def test_a_size_below_the_venues_least_value_is_told_with_the_least_size(
    tmp_path: Path, venue: Exchange, market: str, plugin: str
) -> None:
    size, least = {"usdm": ("0.001", "0.002"), "spot": ("0.00005", "0.00009")}[market]
    strategy = f'{{plugin: join_best, every: 100ms, size: "{size}", max_position: "0.05"}}'
    ended = typed(tmp_path, venue, market, plugin, strategy=strategy)
    told(ended, 3, "strategy.size", f"found {size}, worth", f"take at least {least}")


@every
def test_a_balance_that_pays_for_no_quote_is_told_with_the_asset(
    tmp_path: Path, poor: Exchange, market: str, plugin: str
) -> None:
    there = {"usdm": "found 5 USDT free", "spot": "found 0.00001 BTC and 5 USDT free"}[market]
    told(typed(tmp_path, poor, market, plugin), 5, "a quote of strategy.size", there)
    assert poor.look(lambda account: list(account.all_orders())) == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_one_side_that_cannot_be_paid_for_is_named_once_and_never_sent(
    tmp_path: Path, plugin: str
) -> None:
    with exchange(balances={"USDT": "50000"}) as there:
        # So far from the market that nothing is traded.
        strategy = (
            '{plugin: skewed, every: 100ms, half_spread: 1%, skew: 0bps, size: "0.01", '
            'max_position: "0.05"}'
        )
        ended = typed(tmp_path, there, "spot", plugin, strategy=strategy)
        assert ended.status == 0, ended.stderr
        assert ended.stderr.count("one_sided") == 1
        assert "asset=BTC" in ended.stderr
        orders = there.look(lambda account: list(account.all_orders()))
        assert {one.asked.side for one in orders} == {Side.BUY}
        assert there.open_orders() == []


# --- contracts: leverage, margin, position mode ---------------------------------------------------


@pytest.mark.parametrize("plugin", PLUGINS)
def test_hedge_mode_is_refused_with_the_way_out(
    tmp_path: Path, hedged: Exchange, plugin: str
) -> None:
    told(typed(tmp_path, hedged, "usdm", plugin), 5, "found hedge mode", "One-way Mode")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_leverage_and_margin_are_set_as_configured_and_said(tmp_path: Path, plugin: str) -> None:
    with exchange() as there:
        for number in range(2):  # the second time nothing is to be changed (-4046)
            ended = typed(
                tmp_path / str(number),
                there,
                "usdm",
                plugin,
                venue="leverage: 7, margin: isolated",
                command=("trade", "--yes", "--duration", "10ms"),
            )
            assert ended.status == 0, ended.stderr
            said = (
                "margin=isolated (as configured) leverage=7 (as configured) position_mode=one-way"
            )
            assert said in ended.stderr
        position = there.look(lambda account: account.positions["BTCUSDT"])
        assert (position.leverage, position.isolated) == (7, True)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_leverage_beyond_the_venues_range_is_told_with_the_range_and_nothing_is_changed(
    tmp_path: Path, venue: Exchange, plugin: str
) -> None:
    ended = typed(tmp_path, venue, "usdm", plugin, venue="leverage: 500")
    told(ended, 3, "venue.leverage", "from 1 to 125", "found 500")
    leverages = venue.look(lambda account: {one.leverage for one in account.positions.values()})
    assert leverages == {20}


def test_leverage_on_spot_is_a_mistake_that_config_check_tells(
    tmp_path: Path, venue: Exchange
) -> None:
    command = ("config", "check")
    text = live_config(venue, "spot").replace("venue: {", "venue: {leverage: 3, margin: cross, ")
    userdir = write_config(tmp_path / "user_data", text)
    ended = here(*command, "-c", userdir / "config.yml", cwd=tmp_path)
    assert ended.status == 3
    for one in ("leverage", "margin"):
        assert (
            f"config.yml:4: venue.{one}: nothing was expected, as the market is spot"
            in ended.stderr
        )


def test_a_check_of_the_balance_that_reckons_with_more_than_the_accounts_leverage_is_refused(
    tmp_path: Path, venue: Exchange
) -> None:
    risk = '{max_position: "0.05", max_order: "0.02", stale_after: 5s, max_drawdown: "9", balance: {leverage: 50}}'
    ended = typed(tmp_path, venue, "usdm", "binance", risk=risk)
    told(ended, 3, "risk.balance.leverage", "the account's leverage, 20, was expected; found 50")
    assert venue.open_orders() == []


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", ["ahead", "behind"] if LONG else ["behind"])
@crosswise
def test_a_clock_that_is_off_by_a_minute_is_said_once_and_trading_goes_on(
    tmp_path: Path, market: str, plugin: str, apart: str
) -> None:
    with exchange({f"clock_{apart}": "65s"}) as there:
        ended = typed(tmp_path, there, market, plugin)
        assert ended.status == 0, ended.stderr
        ours = {"ahead": "behind", "behind": "ahead of"}[apart]
        assert ended.stderr.count("WARNING mmkit.live clock ours is 65.0 s") == 1
        assert f"65.0 s {ours} the venue's" in ended.stderr
        assert "-1021" not in ended.stderr
        assert there.look(lambda account: list(account.all_orders()))
        assert there.open_orders() == []


# --- what else is there ---------------------------------------------------------------------------


def place_foreign(there: Exchange, market: str) -> None:
    """Put somebody else's order on the account's book, far away."""

    def place(account: Any) -> None:
        accounts = there._sandbox.accounts
        assert accounts is not None
        listing = next(one for one in accounts.listings() if one.market == market)
        placing = Placing(
            Side.BUY, OrderKind.LIMIT, Decimal("0.01"), Decimal(59000), client_id="theirs"
        )
        accounts.place(account, listing, placing)

    there.look(place)


@crosswise
def test_an_order_of_others_is_left_alone_and_said_once(
    tmp_path: Path, market: str, plugin: str
) -> None:
    with exchange() as there:
        place_foreign(there, market)
        ended = typed(tmp_path, there, market, plugin)
        assert ended.status == 0, ended.stderr
        assert ended.stderr.count("foreign_orders") == 1
        assert "orders='theirs'; they are not ours, and left alone" in ended.stderr
        assert there.open_orders() == ["theirs"]


# --- the journal ----------------------------------------------------------------------------------


def journal_of(folder: Path) -> Path:
    return folder / "user_data" / "orders" / "binance-sandbox-usdm-BTC_USDT_USDT.sqlite"


def test_a_journal_of_another_version_is_refused_and_left_as_it_is(
    tmp_path: Path, venue: Exchange
) -> None:
    path = journal_of(tmp_path)
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=7")
    connection.close()
    before = path.read_bytes()

    ended = typed(tmp_path, venue, "usdm", "binance")

    told(
        ended,
        1,
        str(path.name),
        f"version {VERSION} was expected, or 1",
        "found version 7",
        "move it away",
    )
    assert path.read_bytes() == before
    assert venue.open_orders() == []


def test_a_second_run_is_refused_by_the_name_of_the_first_which_goes_on(tmp_path: Path) -> None:
    with exchange() as there:
        userdir = write_config(tmp_path / "user_data", live_config(there, plugin="binance"))
        command = ("trade", "-c", userdir / "config.yml", "--yes")
        first = start(*command, cwd=tmp_path)
        until(lambda: bool(there.look(lambda account: list(account.all_orders()))), first)

        second = here(*command, cwd=tmp_path)

        told(second, 1, f"in use by process {first.pid}", "mmkit stop")
        assert first.poll() is None
        first.send_signal(signal.SIGINT)
        assert EndedProcess(first).status in (130, -signal.SIGINT)
        assert there.open_orders() == []


# --- the disk -------------------------------------------------------------------------------------

MOUNTED = "mount -t tmpfs -o size={size}m tmpfs {where} && exec {command}"


def can_mount(where: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = ["unshare", "-rm", "sh", "-c", MOUNTED.format(size=1, where=where, command="true")]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("market", "plugin"), EVERY if LONG else [("usdm", "binance")])
def test_a_disk_that_fills_up_stops_quoting_before_the_journal_fails(
    tmp_path: Path, market: str, plugin: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("no file system can be mounted here, not even in a namespace of its own")
    with exchange() as there:
        userdir = write_config(tmp_path / "user_data", live_config(there, market, plugin))
        (disk / "orders").mkdir(parents=True)
        (userdir / "orders").symlink_to(disk)
        size = LEAST_ROOM // 2**20 + 6
        command = (
            f"{sys.executable} -c 'import sys; from mmkit.cli import main; sys.exit(main())' "
            f"trade -c {userdir}/config.yml --yes"
        )
        process = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", MOUNTED.format(size=size, where=disk, command=command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        until(lambda: bool(there.open_orders()), process)
        # The disk as the run sees it: nobody else has it mounted.
        (Path(f"/proc/{process.pid}/root") / disk.relative_to("/") / "other").write_bytes(
            bytes(8 * 2**20)
        )
        until(lambda: not there.open_orders(), process)
        time.sleep(0.5)
        assert there.open_orders() == []
        process.send_signal(signal.SIGINT)
        ended = EndedProcess(process)

        told(ended, 1, "nothing was quoted any more", "64 are needed; make room")
        assert "cannot be written" not in ended.stderr
        assert there.open_orders() == []


def until(true: Any, process: Any, within_s: float = 40) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + within_s
    while not true():
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
