"""`mmkit watch` as a person runs it: a real process, the real sandbox, real recordings, a real HTTP server."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from command import start, written
from http_receiver import receiver

from mmkit.config import load_config
from mmkit.run.watch import watch_recorded
from mmkit.tape import LAST, SELL, GapReason, Kind, Row, Tape
from mmkit.testing import BTCUSDT
from mmkit.watch import LargeTrade, Statistics, WatchEvent
from mmkit.watch.told import line, plain

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LIVE = """
instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}
services: [{plugin: sandbox}]
data: {plugin: binance, endpoint: sandbox}
watch: {large_trade: "0", cooldown: 100ms, every: 1s}
"""
RECORDED = f"""
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}}
data: {{plugin: capture, paths: ["{DATA}/binance_usdm/btcusdt_20240808.gz"]}}
"""


def watch(*arguments: object, cwd: Path, **environment: str) -> tuple[int, str, str]:
    process = start("watch", *arguments, cwd=cwd, **environment)
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def lines_of(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(one) for one in stdout.splitlines()]


def test_over_the_sandbox_there_is_a_json_object_for_each_event_and_one_for_the_end(
    tmp_path: Path,
) -> None:
    status, stdout, stderr = watch(
        "-c", written(tmp_path, LIVE), "--duration", "3s", "--json", cwd=tmp_path
    )
    assert status == 0, stderr
    *events, end = lines_of(stdout)
    kinds = [event["type"] for event in events]
    assert kinds.count("Statistics") in {2, 3, 4}
    assert kinds.count("LargeTrade") > 3
    times = [event["ts_local"] for event in events]
    assert times == sorted(times)
    assert end["type"] == "Watched"
    assert end["events"] == {kind: kinds.count(kind) for kind in kinds}
    assert end["trades"]["main"] >= kinds.count("LargeTrade")
    assert end["notified"] is None


def test_ctrl_c_prints_the_summary_and_ends_with_130(tmp_path: Path) -> None:
    process = start("watch", "-c", written(tmp_path, LIVE), cwd=tmp_path)
    assert process.stdout is not None
    first = process.stdout.readline()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert time.monotonic() - began < 2
    assert process.returncode == 130
    assert "LargeTrade" in first or "Statistics" in first or "PriceAnomaly" in first
    assert "trades" in stdout
    assert "Traceback" not in stderr


def test_events_of_the_sandbox_are_sent_on_and_the_address_is_nowhere_to_be_seen(
    tmp_path: Path,
) -> None:
    config = written(
        tmp_path, LIVE + 'notify: {urls: ["${CHAT_URL}"], events: [LargeTrade], every: 1s}\n'
    )
    with receiver() as chat:
        status, stdout, stderr = watch(
            *("-c", config, "--duration", "4s", "--json", "-vv"), cwd=tmp_path, CHAT_URL=chat.url
        )
        shown = start("config", "show", "-c", config, "-s", "join_best", "--set", "strategy.size=1",
                      "--set", "strategy.max_position=1", cwd=tmp_path, CHAT_URL=chat.url)  # fmt: skip
        printed = "".join(shown.communicate(timeout=30))
    assert status == 0, stderr
    end = lines_of(stdout)[-1]
    told = end["notified"]
    assert told["lines"] == end["events"]["LargeTrade"]
    assert told["sent"] == len(chat.messages)
    # At most one a second, and one at the end.
    assert 2 <= len(chat.messages) <= 6
    assert (told["failed"], told["unsent"]) == (0, 0)
    arrived = "\n".join(message["message"] for message in chat.messages).splitlines()
    assert all(" LargeTrade side=" in one or one.startswith("and ") for one in arrived)
    assert shown.returncode == 0, printed
    assert "urls:\n  - '***'\n" in printed
    for secret in chat.secrets:
        assert secret not in stdout + stderr + printed
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"p4ssw0rd" not in path.read_bytes()


def test_a_chat_that_refuses_does_not_stop_the_watch_and_is_told_at_the_end(tmp_path: Path) -> None:
    config = written(
        tmp_path, LIVE + 'notify: {urls: ["${CHAT_URL}"], events: [LargeTrade], every: 500ms}\n'
    )
    with receiver() as chat:
        chat.status = 403
        status, stdout, stderr = watch(
            *("-c", config, "--duration", "3s"), cwd=tmp_path, CHAT_URL=chat.url
        )
    assert status == 0, stderr
    assert "notify.urls[0]: HTTP 403" in stdout
    assert "notify_failed url=notify.urls[0] reason='HTTP 403'" in stderr
    for secret in chat.secrets:
        assert secret not in stdout + stderr


def test_a_recording_goes_through_as_fast_as_it_can_and_gives_the_same_each_time(
    tmp_path: Path,
) -> None:
    config = written(tmp_path, RECORDED)
    first = watch("-c", config, "--json", cwd=tmp_path)
    began = time.monotonic()
    second = watch("-c", config, "--json", cwd=tmp_path)
    assert time.monotonic() - began < 15  # 345 s of market
    assert first[0] == second[0] == 0, first[2]
    assert first[1] == second[1]
    *events, end = lines_of(first[1])
    assert end["trades"] == {"main": 21_313}
    assert end["gaps"] == {"main": 0}
    assert [event["ts_local"] for event in events] == sorted(event["ts_local"] for event in events)

    part = watch("-c", config, "--json", "--duration", "100s", cwd=tmp_path)
    *early, end = lines_of(part[1])
    assert end["end_ns"] - end["start_ns"] == 100 * 10**9
    assert early == events[: len(early)]
    assert len(early) > 10


def test_a_closed_pipe_ends_it_quietly(tmp_path: Path) -> None:
    process = start("watch", "-c", written(tmp_path, RECORDED), "--json", cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    assert process.wait(30) == 1
    process.stderr.close()


@pytest.mark.parametrize(
    ("section", "line_number", "said"),
    [
        ("watch: {windw: 3}", 4, "watch.windw: unknown key; did you mean 'window'?"),
        ("watch: {cooldown: 30}", 4, "watch.cooldown: a duration with its unit"),
        ("watch: {window: 4}", 4, "watch: least must not be above window"),
        ("watch: {deviations: 0}", 4, "watch.deviations: a value above 0 was expected; found 0"),
        ("notify: {events: [LargeTrad]}", 4, "notify.events[0]: one of PriceAnomaly, LargeTrade"),
        ("notify: {urls: [p4ssw0rd]}", 4, "notify.urls[0]: an address of apprise that begins with"),
        ("notify: {urls: ['${NOWHERE}']}", 4, "the environment variable 'NOWHERE' is not set"),
        (
            "markets: {other: {instrument: {venue: binance, market: spot, symbol: BTC/USDT},\n"
            "  data: {plugin: binance}, watch: {span: 0s}}}",
            5,
            "markets.other.watch.span",
        ),
    ],
)
def test_every_mistake_is_told_with_its_line(
    section: str, line_number: int, said: str, tmp_path: Path
) -> None:
    config = written(tmp_path, RECORDED + section + "\n")
    status, _, stderr = watch("-c", config, cwd=tmp_path)
    assert status == 3
    assert f"config.yml:{line_number}: " in stderr
    assert said in stderr
    assert "p4ssw0rd" not in stderr


def test_an_address_that_apprise_does_not_know_stops_before_anything_begins(tmp_path: Path) -> None:
    config = written(tmp_path, LIVE + "notify: {urls: ['nosuch://p4ssw0rd@x']}\n")
    status, stdout, stderr = watch("-c", config, "--duration", "1s", cwd=tmp_path)
    assert (status, stdout) == (3, "")
    assert "notify.urls[0]: an address that apprise understands was expected; found '***'" in stderr
    assert "p4ssw0rd" not in stderr


# --- several markets ------------------------------------------------------------------------------

S = 10**9


def test_each_market_has_its_own_limits_and_all_events_come_in_order_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"""
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}}
data: {{plugin: capture, paths: ["{DATA}/binance_usdm/btcusdt_20240808.gz"], clock_offset: 1272157us}}
watch: {{large_trade: "3", every: 7s, deviations: null}}
markets:
  spot:
    instrument: {{venue: binance, market: spot, symbol: "BTC/USDT", tick: "0.01", lot: "0.00001"}}
    data: {{plugin: capture, paths: ["{DATA}/binance_spot/btcusdt_20240808.gz"], clock_offset: 1274761us}}
    watch: {{large_trade: "0.5"}}
"""
    told: list[WatchEvent] = []
    config = load_config(
        [written(tmp_path, text)],
        ["strategy={plugin: join_best, size: 1, max_position: 1}"],
        userdir=tmp_path,
    )
    watched, interrupted = watch_recorded(config, lambda event, _: told.append(event))

    assert not interrupted
    assert config.others["spot"].watch.every == 7 * S  # what it does not say is the main one's
    assert [event.ts_local for event in told] == sorted(event.ts_local for event in told)
    large = [event for event in told if isinstance(event, LargeTrade)]
    assert min(e.quantity for e in large if e.market == "main") > 3_000
    spot = [e.quantity for e in large if e.market == "spot"]
    assert 50_000 < min(spot) < 300_000
    assert {event.market for event in told if isinstance(event, Statistics)} == {"main", "spot"}
    assert watched.symbols == {"main": "BTC/USDT:USDT", "spot": "BTC/USDT"}


# --- how it is told -------------------------------------------------------------------------------


def test_what_people_read_is_in_quote_and_base_currency() -> None:
    from mmkit.watch import Watch, WatchSettings

    rows: list[Row] = [(0, 0, Kind.GAP | LAST, GapReason.START, 0)]
    rows += [(n * S, n * S, Kind.TRADE | LAST, 600_000 + n % 2, 10) for n in range(1, 7)]
    rows.append((7 * S, 7 * S, Kind.TRADE | SELL | LAST, 599_000, 2_500))
    tape = Tape.from_rows(BTCUSDT, rows)
    watch = Watch(BTCUSDT, WatchSettings())
    anomaly, large = (event for row in tape.rows() for event in watch.on_row(row))
    assert line(large, BTCUSDT) == (
        "1970-01-01T00:00:07.000Z LargeTrade side=sell quantity=2.500 price=59900.0"
    )
    # The deviation of 0.55 ticks is below the floor of one: z is 1000.5 ticks.
    assert line(anomaly, BTCUSDT) == (
        "1970-01-01T00:00:07.000Z PriceAnomaly side=sell price=59900.0 z=-1000.50 mean=60000.05 "
        "deviation=0.0547723 prices=6"
    )
    said = plain(anomaly, BTCUSDT)
    assert (str(said["price"]), said["mean"], said["symbol"]) == (
        "59900.0",
        60000.05,
        "BTC/USDT:USDT",
    )
