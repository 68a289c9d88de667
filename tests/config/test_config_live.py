"""What keeps a configuration from trading with real orders, and where its secrets come from."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmkit.cli import main
from mmkit.config import Config, draft_plain
from mmkit.config.real import KILL_SWITCHES, is_real_money
from mmkit.errors import ConfigError, UsageError
from mmkit.run.accounts import words_before
from mmkit.run.trade import refuse_unready

LIVE: dict[str, Any] = {
    "mode": "live",
    "instrument": {"venue": "binance", "market": "usdm", "symbol": "BTC/USDT:USDT"},
    "data": {"plugin": "binance", "endpoint": "sandbox"},
    "venue": {"plugin": "ccxt", "endpoint": "sandbox", "key": "aKey", "secret": "aSecret"},
    "strategy": {"plugin": "join_best", "size": "0.01", "max_position": "0.05"},
    "risk": {
        "max_position": "0.05",
        "max_order": "0.02",
        "stale_after": "5s",
        "max_drawdown": "100",
    },
}


def config(tmp_path: Path, **changes: Any) -> Config:
    plain = {**LIVE, **changes}
    return draft_plain(plain, userdir=tmp_path).config()


def keeps(tmp_path: Path, **changes: Any) -> list[tuple[str, str]]:
    """Return paths, and what is said of each."""
    return [(one.path, one.message) for one in config(tmp_path, **changes).keeps_from_live]


def test_a_configuration_with_account_limits_and_kill_switch_may_trade_once_confirmed(
    tmp_path: Path,
) -> None:
    whole = config(tmp_path)
    assert whole.keeps_from_live == ()
    refuse_unready(whole, confirmed=True)
    with pytest.raises(UsageError, match="to be confirmed, and were not; nothing has been sent"):
        refuse_unready(whole, confirmed=False)


@pytest.mark.parametrize("missing", ["max_position", "max_order", "stale_after"])
def test_each_limit_is_needed(tmp_path: Path, missing: str) -> None:
    risk = {name: value for name, value in LIVE["risk"].items() if name != missing}
    ((path, message),) = keeps(tmp_path, risk=risk)
    assert path == f"risk.{missing}"
    assert message.startswith("mode: live needs it")


def test_a_kill_switch_is_needed_and_each_of_them_will_do(tmp_path: Path) -> None:
    risk = {name: value for name, value in LIVE["risk"].items() if name != "max_drawdown"}
    ((path, message),) = keeps(tmp_path, risk=risk)
    assert (path, "a kill switch" in message) == ("risk", True)
    for switch in KILL_SWITCHES:
        assert keeps(tmp_path, risk={**risk, switch: 10}) == []


@pytest.mark.parametrize("name", ["key", "secret"])
@pytest.mark.parametrize("value", [None, ""])
def test_key_and_secret_are_needed(tmp_path: Path, name: str, value: str | None) -> None:
    ((path, message),) = keeps(tmp_path, venue={**LIVE["venue"], name: value})
    assert (path, "missing" in message) == (f"venue.{name}", True)


def test_a_simulated_venue_and_another_endpoint_than_the_datas_are_refused(tmp_path: Path) -> None:
    ((path, message),) = keeps(tmp_path, venue={"plugin": "paper"})
    assert path == "venue.plugin"
    assert "'paper' is simulated" in message
    ((path, message),) = keeps(tmp_path, venue={**LIVE["venue"], "endpoint": "testnet"})
    assert path == "venue.endpoint"
    assert "found testnet" in message


@pytest.mark.parametrize(
    ("endpoint", "real"),
    [("live", True), ("demo", False), ("testnet", False), ("sandbox", False)],
)
def test_real_money_is_held_to_the_same_limits_and_is_called_what_it_is(
    tmp_path: Path, endpoint: str, real: bool
) -> None:
    changed = {
        "venue": {**LIVE["venue"], "endpoint": endpoint},
        "data": {**LIVE["data"], "endpoint": endpoint},
    }
    whole = config(tmp_path, **changed)
    assert whole.keeps_from_live == ()
    with pytest.raises(UsageError, match="nothing has been sent"):
        refuse_unready(whole, confirmed=False)
    assert is_real_money(whole.markets["main"].venue) is real
    assert ("REAL MONEY" in words_before(whole)[0]) is real
    ((path, _),) = keeps(tmp_path, **changed, risk={**LIVE["risk"], "max_drawdown": None})
    assert path == "risk"


def test_money_is_real_where_nobody_has_said_that_it_is_for_practice(tmp_path: Path) -> None:
    venue = config(tmp_path).venue
    for endpoint in ("mainnet", "production", "eu"):
        changed = venue.config.model_copy(update={"endpoint": endpoint})
        assert is_real_money(replace(venue, config=changed))


def test_every_market_is_held_to_it(tmp_path: Path) -> None:
    spot = {
        "instrument": {"venue": "binance", "market": "spot", "symbol": "BTC/USDT"},
        "data": LIVE["data"],
        "risk": {"max_order": None},
    }
    ((path, _),) = keeps(tmp_path, markets={"spot": spot})
    assert path == "markets.spot.risk.max_order"


def test_what_keeps_from_live_keeps_nobody_from_a_dry_run(tmp_path: Path) -> None:
    assert keeps(tmp_path, mode="dry_run", risk={}, venue={**LIVE["venue"], "key": None}) == []


def test_config_check_tells_all_of_it_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yml"
    path.write_text(
        "mode: live\n"
        'instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}\n'
        "data: {plugin: binance, endpoint: live}\n"
        "venue:\n  plugin: ccxt\n  endpoint: live\n  key: aKey\n"
        'strategy: {plugin: join_best, size: "0.01", max_position: "0.05"}\n'
        'risk: {max_position: "0.05"}\n'
    )
    assert main(["config", "check", "-c", str(path)]) == 3
    told = capsys.readouterr().err
    for place in ("venue.secret", "risk.max_order", "risk.stale_after", "risk: mode: live needs"):
        assert place in told
    assert "4 mistakes" in told


def test_without_a_terminal_and_yes_nothing_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    path = tmp_path / "config.yml"
    balance = {"balance": {"settle": "5000", "leverage": 3}}
    path.write_text(yaml.safe_dump({**LIVE, "risk": LIVE["risk"] | balance}, sort_keys=False))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert main(["trade", "-c", str(path), "--userdir", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "LIVE: real orders are about to be sent" in told
    assert "BTC/USDT:USDT at binance usdm, orders by 'ccxt', endpoint sandbox" in told
    assert "max_position 0.05, max_order 0.02" in told
    assert "balance (settle 5000, leverage 3)" in told
    assert "add '--yes'" in told
    assert "aSecret" not in told
    assert not (tmp_path / "results").exists()


def test_a_venue_that_is_misspelt_is_taken_for_the_account_that_it_is_near_to(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'ccxt'\? available: binance, ccxt, paper"):
        config(tmp_path, venue={**LIVE["venue"], "plugin": "cxxt"})


# --- the keyring ---


def test_a_secret_of_the_keyring_is_found_and_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {("mmkit", "binance_secret"): "MARKEDSECRET"}
    keyring = SimpleNamespace(get_password=lambda service, name: held.get((service, name)))
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    venue = {**LIVE["venue"], "secret": "keyring:binance_secret"}
    found = config(tmp_path, venue=venue)
    assert found.venue.config.secret.get_secret_value() == "MARKEDSECRET"  # type: ignore[attr-defined]
    assert "MARKEDSECRET" not in repr(found) + str(found.resolved)

    # What is no secret by its name is one because of where it is from.
    named = config(tmp_path, venue={**LIVE["venue"], "url": "keyring:binance_secret"})
    assert named.resolved["venue"]["url"] == "***"

    with pytest.raises(ConfigError) as missing:
        config(tmp_path, venue={**LIVE["venue"], "secret": "keyring:other"})
    (mistake,) = missing.value.mistakes
    assert mistake.path == "venue.secret"
    assert "keyring set mmkit other" in mistake.hint


def test_without_the_package_the_keyring_is_a_mistake_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match="pip install keyring"):
        config(tmp_path, venue={**LIVE["venue"], "secret": "keyring:other"})
