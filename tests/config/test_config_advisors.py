"""The sections advisors and fusion: what may be written, what is told of mistakes, and what is never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_config_schema import fits

from mmkit.config import Config, load_config, load_resolved
from mmkit.config.schema import json_schema
from mmkit.errors import ConfigError, UsageError
from mmkit.plugins import Plugins

S = 1_000_000_000

PLUGIN = """
from pydantic import SecretStr
from mmkit import Advisor, Consulted, PluginConfig, Provider, hookimpl

class Config(PluginConfig):
    model: str | list[str]
    key: SecretStr | None = None
    deadline: int = 8


class Asks(Advisor):
    def __init__(self, config, context): pass
    async def ask(self, inquiry): return Consulted(answer=None, refused="no", prompt_sha256="", text="", calls=())

@hookimpl
def register_advisors():
    return [Provider("asks", Config, Asks)]
"""
MORE = """
from mmkit import PluginConfig, Provider, hookimpl

@hookimpl
def register_signal_models():
    return [Provider("says", PluginConfig, lambda config, context: None)]
"""
BASE = """
instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}
data: {plugin: capture, paths: [day.gz]}
strategy: {plugin: join_best, size: "0.01", max_position: "0.05"}
signals: [{plugin: says, model: m}]
"""
Load = Callable[[str], Config]
Wrong = Callable[[str], list[str]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)
    plugins = tmp_path / "user_data" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "asks.py").write_text(PLUGIN)
    (plugins / "says.py").write_text(MORE)
    (tmp_path / "user_data" / "config.yml").write_text(BASE)

    def loaded(text: str) -> Config:
        path = tmp_path / "user_data" / "more.yml"
        path.write_text(text)
        return load_config([Path("user_data/config.yml"), Path("user_data/more.yml")])

    return loaded


@pytest.fixture
def wrong(load: Load) -> Wrong:
    def told(text: str) -> list[str]:
        with pytest.raises(ConfigError) as raised:
            load(text)
        return [str(mistake) for mistake in raised.value.mistakes]

    return told


@pytest.mark.parametrize(
    ("keys", "name", "every", "expires"),
    [
        ("", "market_structure", 60 * S, 120 * S),
        (", question: volatility, as: vol, every: 5m", "vol", 300 * S, 600 * S),
        (", messages: 100", "market_structure", None, 120 * S),
        (", on: [anomaly]", "market_structure", None, 120 * S),
        (", on: [large_trade], every: 10s", "market_structure", 10 * S, 20 * S),
        (", every: 10s, expires: 7s", "market_structure", 10 * S, 7 * S),
    ],
)
def test_what_is_not_written_hangs_on_what_is(
    keys: str, name: str, every: int | None, expires: int, load: Load
) -> None:
    (one,) = load(f"advisors: [{{plugin: asks, model: a{keys}}}]").advisors
    assert (one.name, one.section.every, one.section.expires) == (name, every, expires)
    assert one.advisor.config.model == "a"  # type: ignore[attr-defined]


def test_nothing_is_fused_unless_it_is_asked_for(load: Load) -> None:
    config = load("advisors: [{plugin: asks, model: a}]")
    assert config.fusion is None
    assert "fusion" not in config.resolved
    config = load("advisors: [{plugin: asks, model: a}]\nfusion: {}")
    assert config.fusion is not None
    assert config.resolved["fusion"] == {
        "policy": "confidence",
        "trust": 0.8,
        "defer": 0.6,
        "signal": "direction",
        "advice": "market_structure",
    }


def test_a_key_is_never_shown_and_the_run_is_loaded_again_without_key_and_plugin(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "not-for-your-eyes")
    config = load(
        "advisors: [{plugin: asks, model: [a, b], key: '${A_KEY}', every: 30s}]\nfusion: {policy: veto}"
    )
    text = yaml.safe_dump(config.resolved)
    assert "not-for-your-eyes" not in text + repr(config)
    assert config.resolved["advisors"] == [
        {
            "plugin": "asks",
            "question": "market_structure",
            "as": "market_structure",
            "every": "30s",
            "on": [],
            "expires": "1m",
            "language": "en",
            "model": ["a", "b"],
            "key": "***",
            "deadline": 8,
        }
    ]
    monkeypatch.delenv("A_KEY")
    again = load_resolved(yaml.safe_load(text), tmp_path / "elsewhere")
    assert [one.section for one in again.advisors] == [one.section for one in config.advisors]
    assert again.fusion == config.fusion
    with pytest.raises(UsageError, match="brings its own data, signals and advice"):
        again.advisors[0].advisor.build(None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("advisors: {plugin: asks}", "advisors: a list was expected; found keys and values; such as [{plugin: holysheep, "),
        ("advisors: [asks]", "advisors[0]: keys and values such as {plugin: NAME} were expected; found 'asks'"),
        ("advisors: [{model: a}]", "advisors[0].plugin: missing; available: asks"),
        ("advisors: [{plugin: ask, model: a}]", "advisors[0].plugin: no advisor named 'ask'; did you mean 'asks'?"),
        ("advisors: [{plugin: asks}]", "advisors[0].model: missing"),
        ("advisors: [{plugin: asks, modle: a, model: b}]", "advisors[0].modle: unknown key; did you mean 'model'?"),
        ("advisors: [{plugin: asks, model: a, evry: 3s}]", "advisors[0].evry: unknown key"),
        ("advisors: [{plugin: asks, model: a, every: 5}]", "advisors[0].every: "),
        ("advisors: [{plugin: asks, model: a, every: 10ms}]", "advisors[0].every: a value of at least 1s was expected; found '10ms'"),
        ("advisors: [{plugin: asks, model: a, messages: 0}]", "advisors[0].messages: a value of at least 1 was expected; found 0"),
        ("advisors: [{plugin: asks, model: a, on: [anomly]}]", "advisors[0].on[0]: one of anomaly, large_trade was expected; found 'anomly'"),
        ("advisors: [{plugin: asks, model: a, question: mood}]", "advisors[0].question: one of market_structure, conditions, "),
        ("advisors: [{plugin: asks, model: a, question: news}]", "advisors[0].question: a question about the market was expected; found 'news'"),
        ("advisors: [{plugin: asks, model: a, language: de}]", "advisors[0].language: one of en, ko was expected; found 'de'"),
        ("advisors: [{plugin: asks, model: a, expires: 0s}]", "advisors[0].expires: a value above 0s was expected; found '0s'"),
        ("advisors: [{plugin: asks, model: a, as: 1st}]", "advisors[0].as: "),
        ("advisors: [{plugin: asks, model: a}, {plugin: asks, model: b}]", "advisors[1]: a name of its own was expected; 'market_structure' is that of another advisor; give it one with 'as: NAME'"),
        ("fusion: {policy: advisor}", "fusion.advice: a name under 'advisors' was expected; found 'market_structure'; add one under 'advisors'"),
        ("fusion: {policy: model, signal: directoin}", "fusion.signal: a name under 'signals' was expected; found 'directoin'; did you mean 'direction'?"),
        ("fusion: {policy: trust}", "fusion.policy: one of confidence, model, advisor, agree, veto was expected; found 'trust'"),
        ("fusion: {policy: model, trust: 85}", "fusion.trust: a value of at most 1 was expected; found 85"),
        ("fusion: {policy: model, trust: 0.5}", "fusion: defer must not be above trust, but 0.6 is above 0.5"),
        ("fusion: {policy: model, trusted: 0.5}", "fusion.trusted: unknown key; did you mean 'trust'?"),
    ],
)  # fmt: skip
def test_a_mistake_says_where_what_was_expected_and_what_was_found(
    text: str, said: str, wrong: Wrong
) -> None:
    (mistake,) = wrong(text)
    assert mistake.startswith(f"user_data/more.yml:1: {said}"), mistake


def test_fusion_wants_an_advisor_that_says_which_side_to_be_on(wrong: Wrong) -> None:
    (mistake,) = wrong(
        "advisors: [{plugin: asks, model: a, question: volatility, as: vol}]\nfusion: {advice: vol}"
    )
    assert mistake.startswith(
        "user_data/more.yml:2: fusion.advice: an advisor that is asked market_structure or signal5 was "
        "expected; 'vol' is asked volatility"
    )


def test_a_strategy_that_is_to_be_asked_on_advice_wants_advisors(load: Load) -> None:
    from mmkit.recorder import Nothing
    from mmkit.run.assembly import assemble
    from mmkit.testing import BTCUSDT

    config = load("strategy: {on: [advice]}\nsignals: []")
    with pytest.raises(ConfigError, match="advisors were expected under 'advisors'"):
        assemble(config, {"main": BTCUSDT}, Nothing(), 0)


def test_the_schema_knows_both_sections(load: Load) -> None:
    load("")
    schema: dict[str, Any] = json_schema(Plugins.load(Path("user_data")))
    base = yaml.safe_load(BASE)

    def fit(text: str) -> bool:
        return fits({**base, **yaml.safe_load(text)}, schema, schema)

    assert fit(
        "advisors: [{plugin: asks, model: a, as: x, every: 5m, 'on': [anomaly], journal: run}]"
    )
    assert fit("fusion: {policy: agree, trust: 1, defer: 0, signal: direction, advice: x}")
    assert not fit("advisors: [{plugin: asks}]")
    assert not fit("advisors: [{plugin: asks, model: a, evry: 5m}]")
    assert not fit("advisors: [{plugin: asks, model: a, question: mood}]")
    assert not fit("advisors: [{plugin: other, model: a}]")
    assert not fit("fusion: {policy: trust}")
    assert not fit("fusion: {trust: 85}")
