"""The section `markets`: what each market says itself, what it has from the main one, what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmkit.config import Config, draft_plain, load_config, load_resolved
from mmkit.errors import ConfigError

CONFIG = """
instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}
data: {plugin: binance, endpoint: sandbox}
markets:
  spot:
    instrument: {venue: binance, market: spot, symbol: "BTC/USDT"}
    data: {plugin: binance, endpoint: sandbox}
strategy: {plugin: join_best, size: "0.01", max_position: "0.05"}
sim: {latency: {entry: 3ms}, queue: {model: risk_averse}}
risk: {max_position: "0.05", max_order: "0.02"}
"""
AGAIN = '  perp:\n    instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}\n    data: {plugin: binance}\n'

Load = Callable[..., Config]
Wrong = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load the configuration with something put at the end of the market `spot`, or replaced."""

    def loaded(more: str = "", replace: tuple[str, str] = ("", "")) -> Config:
        place = "strategy: "
        assert CONFIG.count(replace[0]) == 1 or not replace[0]
        text = CONFIG.replace(*replace) if replace[0] else CONFIG
        path = tmp_path / "config.yml"
        path.write_text(text.replace(place, f"{more}{place}", 1))
        return load_config([path])

    return loaded


@pytest.fixture
def wrong(load: Load, tmp_path: Path) -> Wrong:
    """The mistakes, without the folder."""

    def mistakes(more: str = "", replace: tuple[str, str] = ("", "")) -> list[str]:
        with pytest.raises(ConfigError) as raised:
            load(more, replace)
        return [str(one).removeprefix(f"{tmp_path}/") for one in raised.value.mistakes]

    return mistakes


def read_back(config: Config) -> dict[str, Any]:
    """What a run folder keeps of it."""
    recorded: dict[str, Any] = yaml.safe_load(yaml.safe_dump(config.resolved, sort_keys=False))
    return recorded


# --- what a market has ----------------------------------------------------------------------------


def test_what_a_market_does_not_say_is_as_for_the_main_one(load: Load) -> None:
    config = load()
    main, spot = config.markets["main"], config.markets["spot"]
    assert list(config.markets) == ["main", "spot"]
    assert spot.spec.symbol == "BTC/USDT"
    assert (spot.sim, spot.risk, spot.venue) == (main.sim, main.risk, main.venue)


def test_what_a_market_says_is_laid_over_the_main_ones_key_by_key(load: Load) -> None:
    config = load(
        '    sim: {latency: {response: 7ms}}\n    risk: {max_order: "1", stale_after: 5s}\n'
    )
    main, spot = config.markets["main"], config.markets["spot"]
    assert (spot.sim.latency.entry, spot.sim.latency.response) == (3_000_000, 7_000_000)
    assert main.sim.latency.response == 10_000_000
    assert spot.sim.queue == main.sim.queue
    assert {check.name for check in main.risk} == {"max_position", "max_order"}
    limits = {check.name: getattr(check.config, "limit", None) for check in spot.risk}
    assert str(limits["max_order"]) == "1"
    assert limits.keys() == {"max_position", "max_order", "stale_after"}


def test_a_market_takes_a_risk_check_away_and_a_replay_has_it_taken_away_too(load: Load) -> None:
    config = load("    risk: {max_position: null}\n")
    assert [check.name for check in config.markets["spot"].risk] == ["max_order"]

    again = load_resolved(read_back(config), config.userdir)

    assert [check.name for check in again.markets["spot"].risk] == ["max_order"]
    assert [check.name for check in again.risk] == ["max_position", "max_order"]


def test_numbers_from_the_environment_are_kept_for_the_replay_in_every_market(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_LIMIT", "0.30")
    monkeypatch.setenv("MM_URL", "ws://127.0.0.1:1")
    config = load(
        '    sim: {fees: {maker: "${MM_LIMIT}"}}\n    risk: {max_order: "${MM_LIMIT}"}\n',
        ('"BTC/USDT"}', '"BTC/USDT", lot: "${MM_LIMIT}"}'),
    )
    config = load_config(config.files, ["markets.spot.data.url=${MM_URL}"])
    spot = config.resolved["markets"]["spot"]
    assert spot["sim"]["fees"]["maker"] == "0.30"
    assert spot["risk"]["max_order"] == "0.30"
    assert spot["instrument"]["lot"] == "0.30"
    assert spot["data"]["url"] == "***"

    again = load_resolved(read_back(config), config.userdir)

    assert again.markets["spot"].spec == config.markets["spot"].spec
    assert again.markets["spot"].sim.model_dump() == config.markets["spot"].sim.model_dump()


def test_a_recorded_configuration_of_several_markets_is_loaded_back_and_is_the_same(
    load: Load,
) -> None:
    config = load("    sim: {latency: {entry: 1ms}}\n    venue: {plugin: paper}\n")
    recorded = read_back(config)
    again = load_resolved(recorded, config.userdir)
    assert again.resolved == {**config.resolved, "services": []}


def test_overrides_reach_into_a_market(load: Load) -> None:
    files = load().files
    config = load_config(files, ["markets.spot.sim.latency.entry=1ms"])
    assert config.markets["spot"].sim.latency.entry == 1_000_000
    assert config.sim.latency.entry == 3_000_000


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "replace", "said"),
    [
        (
            "    smi: {}\n",
            ("", ""),
            "config.yml:8: markets.spot.smi: unknown key; did you mean 'sim'?",
        ),
        (
            "    strategy: {plugin: join_best}\n",
            ("", ""),
            "config.yml:8: markets.spot.strategy: unknown key; known are: instrument, data, venue, sim, risk",
        ),
        (
            "",
            ("  spot:", "  main:"),
            "config.yml:5: markets.main: 'main' is the market of 'instrument'; another name was expected; "
            "such as spot",
        ),
        *(
            (
                "",
                ("  spot:", f"  {name}:"),
                f"config.yml:5: markets.{name}: a name of the letters a to z and A to Z, digits and _, not "
                f"beginning with a digit, was expected; found '{name}'; such as spot",
            )
            for name in ("spot-1", "1spot", "spöt", "a.b")
        ),
        (
            AGAIN,
            ("", ""),
            "config.yml:9: markets.perp.instrument: an instrument that no other market has was expected; found "
            "BTC/USDT:USDT at binance, which is that of 'main': each would be filled by the same trades; quote "
            "both in one market, with several levels",
        ),
        (
            '  two:\n    instrument: {venue: binance, market: spot, symbol: "BTC/USDT"}\n'
            "    data: {plugin: binance}\n",
            ("", ""),
            "config.yml:9: markets.two.instrument: an instrument that no other market has was expected; found "
            "BTC/USDT at binance, which is that of 'spot': each would be filled by the same trades; quote both in "
            "one market, with several levels",
        ),
        (
            "",
            ('"BTC/USDT"}\n    data: {plugin: binance, endpoint: sandbox}', '"BTC/USDT"}'),
            "config.yml:5: markets.spot.data: this section is missing; such as data: {plugin: binance, endpoint: "
            "sandbox}",
        ),
        (
            "",
            ('    instrument: {venue: binance, market: spot, symbol: "BTC/USDT"}\n', ""),
            "config.yml:5: markets.spot.instrument: this section is missing; such as instrument: {venue: binance, "
            'market: usdm, symbol: "BTC/USDT:USDT"}',
        ),
        (
            "",
            ("market: spot,", "market: spto,"),
            "config.yml:6: markets.spot.instrument.market: one of spot, usdm, coinm was expected; found 'spto'; "
            "did you mean 'spot'?",
        ),
        (
            "    sim: {queue: {model: pwoer}}\n",
            ("", ""),
            "config.yml:8: markets.spot.sim.queue.model: one of optimistic, power, log, calibrated, risk_averse, "
            "pessimistic was expected; found 'pwoer'; did you mean 'power'?",
        ),
        (
            "    risk: {max_positon: 1}\n",
            ("", ""),
            "config.yml:8: markets.spot.risk.max_positon: no risk check named 'max_positon'",
        ),
        (
            "    sim: {fill_reports: after_data}\n",
            ("", ""),
            "config.yml:8: markets.spot.sim.fill_reports: plain, as for the main market, was expected; found "
            "'after_data'; leave it out: a run has one rule for all markets",
        ),
        (
            "  coin: 7\n",
            ("", ""),
            "config.yml:8: markets.coin: keys and values were expected; found 7; such as {instrument: {...}, "
            "data: {...}}",
        ),
        (
            "services: [{plugin: sandbox}, {plugin: sandbox, port: 1}]\n",
            ("", ""),
            "config.yml:8: services[1]: a service that is not there yet was expected; found 'sandbox', the same as "
            "services[0]; one serves every market; leave this one out",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("config") else "",
)
def test_a_mistake_is_told_once_with_its_line_what_was_expected_and_what_found(
    more: str, replace: tuple[str, str], said: str, wrong: Wrong
) -> None:
    mistakes = wrong(more, replace)
    assert len(mistakes) == 1, mistakes
    assert mistakes[0].startswith(said)


@pytest.mark.parametrize("value", ["[spot]", "7", "spot"])
def test_markets_that_are_no_names_with_values_are_one_mistake(value: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    head, _, tail = CONFIG.partition("markets:")
    path.write_text(f"{head}markets: {value}\n{tail[tail.index('strategy:') :]}")
    with pytest.raises(ConfigError) as raised:
        load_config([path])
    (mistake,) = raised.value.mistakes
    assert str(mistake).startswith(
        f"{path}:4: markets: names and their markets were expected; found "
    )


def test_a_mistake_of_the_main_market_is_not_told_again_for_those_that_have_it_from_there(
    wrong: Wrong,
) -> None:
    more = "    sim: {latency: {entry: 5}}\n    risk: {max_order: -1}\n"
    mistakes = wrong(more, ("model: risk_averse", "model: risky"))
    assert [one.partition(": ")[2].partition(": ")[0] for one in mistakes] == [
        "sim.queue.model",
        "markets.spot.sim.latency.entry",
        "markets.spot.risk.max_order",
    ]


def test_the_same_instrument_at_another_venue_is_another_market(load: Load) -> None:
    config = load(AGAIN.replace("venue: binance", "venue: bybit"))
    assert list(config.markets) == ["main", "spot", "perp"]


def test_plain_data_may_have_markets_too() -> None:
    config = draft_plain(yaml.safe_load(CONFIG)).config({"markets.spot.sim": {"data_wait": "1s"}})
    assert config.markets["spot"].sim.data_wait == 1_000_000_000
