"""`mmkit trade` with `mode: live` as a person runs it: a real process against the real sandbox, over loopback."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from in_process import mmkit as here
from live_sandbox import KEY, SECRET, Exchange, exchange, live_config
from processes import Ended, journal, mmkit, newest_run, start, write_config

from mmkit.live.store import Store, totals
from mmkit_sandbox.ledger import EntryKind


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVE_KEY", KEY)
    monkeypatch.setenv("LIVE_SECRET", SECRET)


@pytest.fixture
def venue() -> Iterator[Exchange]:
    with exchange() as running:
        yield running


def until_quoting(
    userdir: Path, process: object, venue: Exchange, fills: int = 3, of: str = "OrderFilled"
) -> Path:
    """Wait until the run has been filled a few times, or as often something else has happened; return its folder."""
    for _ in range(600):
        runs = list(userdir.glob("results/*-trade*/journal.jsonl"))
        if runs and runs[-1].read_text().count(f'"{of}"') >= fills:
            return runs[-1].parent
        if process.poll() is not None:  # type: ignore[attr-defined]
            raise AssertionError(process.communicate()[1][-3000:])  # type: ignore[attr-defined]
        time.sleep(0.05)
    raise AssertionError(f"no {fills} times {of} within 30 s; on the book: {venue.open_orders()}")


def found_in(places: list[Path], text: str) -> list[str]:
    return [str(path) for path in places if path.is_file() and text.encode() in path.read_bytes()]


def the_journal(userdir: Path) -> Path:
    (path,) = (userdir / "orders").glob("*.sqlite")
    return path


def test_interrupted_twice_a_live_run_leaves_nothing_on_the_book_and_agrees_to_the_last_digit(
    tmp_path: Path, venue: Exchange
) -> None:
    userdir = write_config(tmp_path / "user_data", live_config(venue, plugin="binance"))
    process = start("trade", "-c", userdir / "config.yml", "--yes", "--json", "-vv", cwd=tmp_path)
    run = until_quoting(userdir, process, venue)
    command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()

    process.send_signal(signal.SIGINT)
    time.sleep(0.005)  # later all might be over, and nobody mind it any more
    process.send_signal(signal.SIGINT)
    ended = Ended(process)

    assert ended.status in (130, -signal.SIGINT), ended.stderr[-3000:]
    assert venue.open_orders() == []
    report = json.loads(ended.stdout, parse_float=Decimal)
    live = report["live"]["main"]
    assert live["differences"] == live["left"] == []
    store = Store(the_journal(userdir))
    lots, fees = totals(store.fills())
    store.close()
    assert Decimal(lots) / 1000 == venue.position() == Decimal(str(report["position"]))
    assert {asset: Decimal(str(fee)) for asset, fee in live["fees"].items()} == fees
    assert fees["USDT"] == Decimal(str(report["fees"])) > 0
    # What the exchange has booked is profit less fees; so is what we have.
    flat = report["position"] == 0
    if flat:
        assert venue.moved()[("usdm", "USDT")] == Decimal(str(report["equity"]))
    # Nobody is told key or secret: not the log, the journals, the report, the copy of the configuration, or `ps`.
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"report.json", "config.yml", "journal.jsonl"} <= {path.name for path in files}
    for mark in (KEY, SECRET):
        assert mark not in command_line
        assert mark not in ended.stdout + ended.stderr
        assert found_in(files, mark) == []
    assert mmkit("parity", run, cwd=tmp_path).status == 1


@pytest.mark.parametrize("plugin", ["binance", "ccxt"])
def test_a_live_run_that_amends_agrees_to_the_last_digit(
    tmp_path: Path, venue: Exchange, plugin: str
) -> None:
    strategy = (
        '{plugin: skewed, every: 100ms, half_spread: 1ticks, skew: 2ticks, size: "0.01", '
        'max_position: "0.05"}'
    )
    config = live_config(venue, plugin=plugin, strategy=strategy, quoting="{amend: true}")
    userdir = write_config(tmp_path / "user_data", config)
    process = start("trade", "-c", userdir / "config.yml", "--yes", "--json", cwd=tmp_path)
    run = until_quoting(userdir, process, venue)
    until_quoting(userdir, process, venue, of="OrderAmended")
    process.send_signal(signal.SIGINT)
    ended = Ended(process)

    assert ended.status in (130, -signal.SIGINT), ended.stderr[-3000:]
    assert venue.open_orders() == []
    report = json.loads(ended.stdout, parse_float=Decimal)
    live = report["live"]["main"]
    assert live["differences"] == live["left"] == []
    kinds = [entry["type"] for entry in journal(run)]
    amends = kinds.count("AmendOrder")
    assert (report["amends"], report["amends_rejected"]) == (
        amends,
        kinds.count("AmendRejected"),
    )
    assert amends == kinds.count("OrderAmended") + kinds.count("AmendRejected")
    assert kinds.count("OrderAmended") > 0
    store = Store(the_journal(userdir))
    lots, _ = totals(store.fills())
    store.close()
    assert Decimal(lots) / 1000 == venue.position()


def test_a_spot_run_that_is_stopped_from_elsewhere_agrees_with_every_balance(
    tmp_path: Path, venue: Exchange
) -> None:
    userdir = write_config(
        tmp_path / "user_data",
        live_config(
            venue,
            "spot",
            strategy='{plugin: join_best, every: 100ms, size: "0.01", max_position: "0.5"}',
            risk='{max_position: "0.5", max_order: "0.02", stale_after: 5s, max_loss_per_day: "100000", balance: {}}',
        ),
    )
    process = start("trade", "-c", userdir / "config.yml", "--yes", "--json", cwd=tmp_path)
    until_quoting(userdir, process, venue)

    stopped = mmkit("stop", "--userdir", userdir, cwd=tmp_path)
    ended = Ended(process)

    assert (stopped.status, ended.status) == (0, 0), stopped.stderr + ended.stderr
    assert venue.open_orders() == []
    live = ended.json["live"]["main"]
    assert live["differences"] == live["left"] == []
    store = Store(the_journal(userdir))
    moved: dict[str, Decimal] = {}
    for fill in store.fills():
        quantity = fill.side.sign * fill.quantity * Decimal("0.00001")
        moved["BTC"] = moved.get("BTC", Decimal(0)) + quantity
        moved["USDT"] = moved.get("USDT", Decimal(0)) - quantity * fill.price * Decimal("0.01")
        moved[fill.fee_asset] = moved.get(fill.fee_asset, Decimal(0)) - fill.fee
    store.close()
    assert moved == {asset: amount for (_, asset), amount in venue.moved().items()}


@pytest.mark.parametrize(
    ("market", "plugin"), [("usdm", "binance"), ("usdm", "ccxt"), ("coinm", "ccxt")]
)
def test_a_run_that_is_charged_funding_agrees_in_position_fees_and_funding_to_the_last_digit(
    tmp_path: Path, market: str, plugin: str
) -> None:
    size = {"usdm": "0.01", "coinm": "5"}[market]
    most, asset = {"usdm": ("0.1", "USDT"), "coinm": ("50", "BTC")}[market]
    with exchange({"funding_every": "2s", "funding_rate": "0.0003"}) as venue:
        userdir = write_config(
            tmp_path / "user_data",
            live_config(
                venue,
                market,
                plugin,
                strategy=f'{{plugin: join_best, every: 100ms, size: "{size}", max_position: "{most}"}}',
                risk=f'{{max_position: "{most}", max_order: "{size}", stale_after: 5s, max_drawdown: "100000"}}',
            ),
        )
        process = start("trade", "-c", userdir / "config.yml", "--yes", "--json", cwd=tmp_path)
        run = until_quoting(userdir, process, venue, fills=10)
        until_quoting(userdir, process, venue, fills=2, of="FundingPaid")
        process.send_signal(signal.SIGINT)
        ended = Ended(process)

        assert ended.status in (130, -signal.SIGINT), ended.stderr[-3000:]
        assert venue.open_orders() == []
        report = json.loads(ended.stdout, parse_float=Decimal)
        live = report["live"]["main"]
        assert (report["currency"], live["differences"], live["left"]) == (asset, [], [])
        store = Store(the_journal(userdir))
        fills, paid = list(store.fills()), store.money().fundings
        store.close()
        lots, fees = totals(fills)
        held = Decimal(lots) * (Decimal("0.001") if market == "usdm" else 1)
        assert held == venue.position() == report["position"]
        assert fees == {asset: Decimal(str(live["fees"][asset]))}
        assert fees[asset] == Decimal(str(report["fees"])) > 0
        told = [one for one in journal(run) if one["type"] == "FundingPaid"]
        assert sum(Decimal(one["amount"]) for one in told) == Decimal(str(report["funding"]))
        charged = {
            one.ts_ns: one.amount
            for one in venue.look(lambda account: list(account.entries))
            if one.kind is EntryKind.FUNDING
        }
        # One that was charged after the last look may be missing; none is counted twice or otherwise.
        assert {one.ts_ns: one.amount for one in paid}.items() <= charged.items()
        assert len(charged) - len(paid) in (0, 1)
        assert sum(one.amount for one in paid) == Decimal(str(report["funding"]))
        # The exchange's own books: fees as we have them, profit as our fills come to, and funding besides.
        booked = {kind: Decimal(0) for kind in EntryKind}
        for entry in venue.look(lambda account: list(account.entries)):
            if entry.market == market and entry.kind is not EntryKind.DEPOSIT:
                booked[entry.kind] += entry.amount
        assert booked[EntryKind.FEE] == -fees[asset]
        if market == "usdm":
            return
        worth = sum(
            (
                fill.side.sign
                * (100 * fill.quantity / (fill.price * Decimal("0.1"))).quantize(_UNIT)
                for fill in fills
            ),
            Decimal(0),
        )
        cost = venue.look(lambda account: account.positions["BTCUSD_PERP"].cost)
        assert booked[EntryKind.PROFIT] == worth - cost
        wallet = venue.look(lambda account: account.wallets["coinm"]["BTC"])
        assert wallet == 20 + sum(booked.values())


_UNIT = Decimal("1E-8")


def test_a_killed_run_leaves_orders_that_panic_cancels_and_a_position_that_it_brings_to_nothing(
    tmp_path: Path, venue: Exchange
) -> None:
    userdir = write_config(tmp_path / "user_data", live_config(venue))
    process = start("trade", "-c", userdir / "config.yml", "--yes", cwd=tmp_path)
    until_quoting(userdir, process, venue)
    for _ in range(100):
        # It may be between one quote and the next: stopped, it sends nothing, and what it has sent arrives.
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        if venue.open_orders() and venue.position():
            break
        process.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    else:
        raise AssertionError("no order and position at one time within 20 s")
    process.kill()
    process.wait()

    panicked = mmkit(
        "panic", "--flatten", "-c", userdir / "config.yml", "--userdir", userdir, cwd=tmp_path
    )

    assert panicked.status == 0, panicked.stderr
    assert "BTC/USDT:USDT: no order is left" in panicked.stdout
    assert venue.open_orders() == []
    assert venue.position() == 0
    # What it took to get there is in the journal of orders: the next run knows its position.
    store = Store(the_journal(userdir))
    lots, _ = totals(store.fills())
    assert store.found().orders == []
    store.close()
    assert lots == 0


def test_a_strategy_that_raises_leaves_nothing_on_the_book(tmp_path: Path, venue: Exchange) -> None:
    userdir = write_config(
        tmp_path / "user_data", live_config(venue, strategy="{plugin: moody, every: 100ms}")
    )
    (userdir / "strategies" / "moody.py").write_text(
        "from mmkit import Quotes, Strategy\n\n\n"
        "class Moody(Strategy):\n"
        "    calls = 0\n\n"
        "    def quote(self, view):\n"
        "        self.calls += 1\n"
        "        if self.calls > 10:\n"
        "            return 1 / 0\n"
        "        return Quotes(bid=(view.best_bid - 500 - self.calls, 10))\n"
    )

    ended = here("trade", "-c", userdir / "config.yml", "--yes", cwd=tmp_path)

    assert ended.status == 1
    assert "ZeroDivisionError" in ended.stderr
    assert any(entry["type"] == "OrderAccepted" for entry in journal(newest_run(userdir)))
    assert venue.open_orders() == []


def test_a_second_run_on_the_same_account_is_refused_by_the_name_of_the_first(
    tmp_path: Path, venue: Exchange
) -> None:
    userdir = write_config(tmp_path / "user_data", live_config(venue))
    path = userdir / "orders" / "binance-sandbox-usdm-BTC_USDT_USDT.sqlite"
    held = Store(path)
    try:
        ended = here("trade", "-c", userdir / "config.yml", "--yes", cwd=tmp_path)
    finally:
        held.close()
    assert ended.status == 1
    assert f"is in use by process {os.getpid()}" in ended.stderr
    assert sqlite3.connect(path).execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_a_wrong_secret_is_told_without_being_shown(
    tmp_path: Path, venue: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "WRONGSECRET0123456789abcdef"
    monkeypatch.setenv("LIVE_SECRET", wrong)
    userdir = write_config(tmp_path / "user_data", live_config(venue))

    ended = here("trade", "-c", userdir / "config.yml", "--yes", "-v", cwd=tmp_path)

    assert ended.status == 5
    assert "Traceback" in ended.stderr  # asked for with -v
    for mark in (KEY, SECRET, wrong, "signature="):
        assert mark not in ended.stdout + ended.stderr
        assert found_in(list(tmp_path.rglob("*")), mark) == []


def test_a_run_after_the_kill_switch_has_stopped_the_day_is_refused_with_until_when(
    tmp_path: Path, venue: Exchange
) -> None:
    risk = '{max_position: "0.05", max_order: "0.02", stale_after: 5s, max_loss_per_day: "0.05"}'
    config = live_config(venue, "spot", plugin="binance", risk=risk)
    userdir = write_config(tmp_path / "user_data", config)
    words = ("trade", "-c", userdir / "config.yml", "--yes", "--json", "--duration")
    process = start(*words, "60s", cwd=tmp_path)
    run = until_quoting(userdir, process, venue, fills=1)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    first = Ended(process)
    report = json.loads(first.stdout, parse_float=Decimal)
    assert report["halted"].startswith("max_loss_per_day: lost "), first.stderr[-2000:]
    live = report["live"]["main"]
    assert live["differences"] == live["left"] == []
    assert Decimal(str(live["position"])) == Decimal(str(report["position"]))
    assert run.is_dir()

    second = here(*words, "5s", cwd=tmp_path)
    assert second.status not in (0, 130)
    assert "'max_loss_per_day' has stopped this market today, with a loss of 0." in second.stderr
    assert "00:00 UTC on, or today with a higher limit" in second.stderr
    assert venue.open_orders() == []
