"""Every number of every bundled strategy, and of one that a user wrote, set to what is none or makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mmkit.config import Config, load_config
from mmkit.errors import ConfigError, PluginError
from mmkit.events import MAIN
from mmkit.recorder import Nothing
from mmkit.run.assembly import assemble
from mmkit.testing import BTCUSDT

SHIPPED = Path(__file__).resolve().parents[2] / "user_data" / "config.yml"
PLAIN: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
SIZES = {"size": "0.01", "max_position": "0.05"}
BUNDLED: dict[str, dict[str, Any]] = {
    "join_best": {**SIZES},
    "skewed": {**SIZES, "half_spread": "5bps", "skew": "1bps"},
    "grid": {**SIZES, "half_spread": "5bps", "spacing": "1bps", "skew": "1bps", "levels": 3},
    "avellaneda_stoikov": {**SIZES, "gamma": 0.1, "k": 1.5, "sigma": "3ticks", "horizon": "60s"},
    "glft": {
        **SIZES,
        "A": 1,
        "k": 0.5,
        "gamma": 0.05,
        "sigma": "1ticks",
        "xi": 0.1,
        "horizon": "9s",
    },
    "imbalance": {**SIZES, "half_spread": "5bps", "skew": "1bps", "adjustment": [[0.1]]},
}
USERS = """
from mmkit import Quotes, Strategy, StrategyConfig


class MineConfig(StrategyConfig):
    alpha: float = 1.0
    levels: int = 3


class Mine(Strategy):
    Config = MineConfig

    def __init__(self, config, context):
        super().__init__(config, context)
        if config.levels > 5:
            raise ValueError("no more than 5 levels")

    def quote(self, view):
        return Quotes()
"""


def load(strategy: dict[str, Any], folder: Path) -> Config:
    (folder / "strategies").mkdir(exist_ok=True)
    (folder / "strategies" / "mine.py").write_text(USERS)
    rest = yaml.safe_dump({key: value for key, value in PLAIN.items() if key != "strategy"})
    lines = "".join(f"  {key}: {value}\n" for key, value in strategy.items())
    (folder / "config.yml").write_text(f"strategy:\n{lines}{rest}")
    return load_config([folder / "config.yml"], userdir=folder)


NUMBERS = [(name, key) for name, config in BUNDLED.items() for key in config if key != "adjustment"]


@pytest.mark.parametrize("bad", [".nan", ".inf", "-.inf", "-1", "nan", "1e999"])
@pytest.mark.parametrize(("name", "key"), NUMBERS)
def test_a_number_that_is_none_is_refused_with_its_line(
    name: str, key: str, bad: str, tmp_path: Path
) -> None:
    config = {
        "plugin": name,
        **{k: f'"{v}"' if k in SIZES else v for k, v in BUNDLED[name].items()},
    }
    load(config, tmp_path)
    config[key] = bad
    if (key, bad) in {("size", "1e999"), ("max_position", "1e999")}:
        return  # a decimal, however large
    with pytest.raises(ConfigError) as raised:
        load(config, tmp_path)
    [mistake] = raised.value.mistakes
    line = 2 + list(config).index(key)
    assert (mistake.where, mistake.path) == (f"{tmp_path / 'config.yml'}:{line}", f"strategy.{key}")
    assert " was expected; found " in mistake.message
    assert bad in mistake.message


def test_a_table_with_a_number_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    config = {"plugin": "imbalance", **BUNDLED["imbalance"], "adjustment": "[[0.1, .nan]]"}
    with pytest.raises(
        ConfigError, match=r":7: strategy\.adjustment\[0\]\[1\]: a finite number was"
    ):
        load(config, tmp_path)


@pytest.mark.parametrize("bad", [".nan", ".inf", "-.inf"])
def test_a_users_own_numbers_are_finite_too(bad: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf":3: strategy\.alpha: a finite .* found {bad}"):
        load({"plugin": "mine", "alpha": bad}, tmp_path)


def test_what_a_users_own_strategy_refuses_is_told_with_the_line_of_the_file(
    tmp_path: Path,
) -> None:
    config = load({"plugin": "mine", "levels": 6}, tmp_path)
    with pytest.raises(
        PluginError, match=r"'mine' could not be built: .*no more than 5.*mine\.py:16"
    ):
        assemble(config, {MAIN: BTCUSDT}, Nothing(), 0)


@pytest.mark.parametrize("key", SIZES)
@pytest.mark.parametrize("name", BUNDLED)
def test_a_size_off_the_lot_is_told_with_its_key(name: str, key: str, tmp_path: Path) -> None:
    config = load({"plugin": name, **BUNDLED[name], key: '"0.0505"'}, tmp_path)
    with pytest.raises(ConfigError) as raised:
        assemble(config, {MAIN: BTCUSDT}, Nothing(), 0)
    assert str(raised.value) == (
        f"strategy.{key}: BTC/USDT:USDT: quantity 0.0505 is not a multiple of the lot 0.001; "
        "the nearest are 0.050 and 0.051"
    )
