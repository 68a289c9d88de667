"""What may be written under ``sim:``, and how each mistake there is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mmkit.config import Config, load_config, load_resolved
from mmkit.errors import ConfigError

SHIPPED = Path(__file__).resolve().parents[2] / "user_data" / "config.yml"
PLAIN: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())


def config_with(sim: dict[str, Any], folder: Path) -> Config:
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump({"sim": sim, **{k: v for k, v in PLAIN.items() if k != "sim"}}))
    return load_config([path], userdir=folder)


def mistakes_of(sim: str, folder: Path) -> list[str]:
    """What is wrong with ``sim:``, whose text begins on line 2; the file's name is taken off."""
    path = folder / "config.yml"
    rest = yaml.safe_dump({k: v for k, v in PLAIN.items() if k != "sim"})
    path.write_text(f"sim:\n{sim}\n{rest}")
    with pytest.raises(ConfigError) as raised:
        load_config([path], userdir=folder)
    return [str(mistake).removeprefix(f"{path}:") for mistake in raised.value.mistakes]


@pytest.mark.parametrize(
    "sim",
    [
        {"latency": {"entry": "12ms", "response": {"quantiles": ["0s", "1ms", "2h"], "seed": 9}}},
        {"latency": {"entry": {"samples": "far/away.csv"}}},
        {"latency": {"entry": {"series": "far/away.csv", "max_gap": "90s"}}},
        {"fees": {"maker": "-0.00005", "taker": "0.0003"}},
        {"fees": {"tiers": [{"volume": "0", "maker": "0.0002", "taker": "0.0005"}]}},
        {
            "fees": {
                "tiers": [
                    {"volume": "0", "maker": "0.0002", "taker": "0.0005"},
                    {"volume": "15000000", "maker": "-0.0001", "taker": "0.0004"},
                ],
                "volume_30d": "3000000",
            }
        },
        {"queue": {"model": "optimistic"}},
        {"queue": {"model": "pessimistic"}},
        {"queue": {"model": "calibrated", "behind": [1, 0.5, 0.5, 0]}},
    ],
    ids=str,
)
def test_a_run_folder_gives_back_what_was_configured(sim: dict[str, Any], tmp_path: Path) -> None:
    config = config_with(sim, tmp_path)
    kept = yaml.safe_load(yaml.safe_dump(config.resolved))
    assert load_resolved(kept, tmp_path).sim == config.sim


DURATION = "a duration with its unit, such as 100ms, 5s or 2h, was expected"
FORMS = "a duration such as 10ms, or keys and values with one of quantiles, samples and series, was expected"


@pytest.mark.parametrize(
    ("sim", "said"),
    [
        ("  latency:\n    entry: 10", f"3: sim.latency.entry: {DURATION}; found 10"),
        ("  latency:\n    entry: [1ms, 2ms]", f"3: sim.latency.entry: {DURATION}; found a list"),
        (
            "  latency:\n    entry: {quantile: [1ms, 2ms]}",
            f"3: sim.latency.entry: {FORMS}; found keys and values",
        ),
        (
            "  latency:\n    entry: {quantiles: [1ms, 2ms], samples: a.csv}",
            f"3: sim.latency.entry: {FORMS}; found keys and values",
        ),
        (
            "  latency:\n    entry: {quantiles: [1ms]}",
            "3: sim.latency.entry.quantiles: at least 2 quantiles were expected, the least and the largest "
            "latency",
        ),
        (
            "  latency:\n    entry:\n      quantiles: [1ms, 3ms, 2ms]",
            "4: sim.latency.entry.quantiles: quantiles that ascend were expected; the 3. one, 2ms, is "
            "below 3ms before it",
        ),
        (
            "  latency:\n    entry:\n      quantiles:\n        - 1ms\n        - 5",
            f"6: sim.latency.entry.quantiles[1]: {DURATION}; found 5",
        ),
        (
            "  latency:\n    entry:\n      quantiles: [1ms, 2ms]\n      seed: -1",
            "5: sim.latency.entry.seed: a value of at least 0 was expected; found -1",
        ),
        (
            "  latency:\n    response:\n      quantiles: [1ms, 2ms]\n      sead: 1",
            "5: sim.latency.response.sead: unknown key; did you mean 'seed'?",
        ),
        (
            "  latency:\n    response:\n      samples: 5",
            "4: sim.latency.response.samples: a path was expected; found 5",
        ),
        (
            "  latency:\n    response:\n      series: a.csv",
            "3: sim.latency.response.max_gap: missing; The longest time without a measurement, such as "
            "1m; for so long the first and the last one hold beyond the ends.",
        ),
        (
            "  latency:\n    response:\n      series: a.csv\n      max_gap: 0s",
            "5: sim.latency.response.max_gap: a value above 0s was expected; found '0s'",
        ),
        (
            "  fees:\n    maker: 0.1\n    tiers: [{volume: 0, maker: 0, taker: 0}]",
            "2: sim.fees: either tiers or maker and taker were expected; both are there: leave out tiers "
            "or maker",
        ),
        (
            "  fees:\n    maker: 0\n    taker: 0\n    volume_30d: 5",
            "2: sim.fees: volume_30d decides between tiers, and there are none; leave it out",
        ),
        (
            "  fees:\n    tiers: []",
            '3: sim.fees.tiers: a first tier with volume "0" was expected, which holds from the start',
        ),
        (
            "  fees:\n    tiers: [{volume: 1, maker: 0, taker: 0}]",
            '3: sim.fees.tiers: a first tier with volume "0" was expected, which holds from the start',
        ),
        (
            "  fees:\n    tiers:\n      - {volume: 0, maker: 0, taker: 0}\n"
            "      - {volume: 5, maker: 0, taker: 0}\n      - {volume: 5, maker: 0, taker: 0}",
            "3: sim.fees.tiers: volumes that ascend were expected; that of the 3. tier, 5, is not above 5 "
            "before it",
        ),
        (
            "  fees:\n    tiers:\n      - {volume: 0, maker: 0}",
            "4: sim.fees.tiers[0].taker: missing; Charged on fills that took.",
        ),
        (
            "  fees:\n    tiers:\n      - volume: -5\n        maker: 0\n        taker: 0",
            "4: sim.fees.tiers[0].volume: a value of at least 0 was expected; found -5",
        ),
        (
            "  fees:\n    tiers:\n      - volume: 0\n        maker: 1\n        taker: 0",
            "5: sim.fees.tiers[0].maker: a value below 1 was expected; found 1",
        ),
        (
            "  fees:\n    tiers:\n      - volume: 0\n        maker: 0\n        takr: 0",
            "6: sim.fees.tiers[0].takr: unknown key; did you mean 'taker'?",
        ),
        (
            "  queue:\n    model: hopeful",
            "3: sim.queue.model: one of optimistic, power, log, calibrated, risk_averse, pessimistic "
            "was expected; found 'hopeful'",
        ),
        (
            "  queue:\n    model: calibrated",
            "2: sim.queue: model calibrated needs the probabilities that were measured, such as "
            "behind: [1.0, 0.6, 0.3, 0.0]",
        ),
        (
            "  queue:\n    model: calibrated\n    behind: [1.0]",
            "4: sim.queue.behind: at least 2 probabilities were expected, at the front and at the end",
        ),
        (
            "  queue:\n    model: calibrated\n    behind: [1.0, 0.2, 0.3]",
            "4: sim.queue.behind: probabilities that do not rise from the front of the queue to its "
            "end were expected; the 3. one, 0.3, is above 0.2 before it",
        ),
        (
            "  queue:\n    model: calibrated\n    behind:\n      - 1.5\n      - 0.2",
            "5: sim.queue.behind[0]: a value of at most 1 was expected; found 1.5",
        ),
        (
            "  queue:\n    model: calibrated\n    behind:\n      - .nan\n      - 0.2",
            "5: sim.queue.behind[0]: a finite number was expected; found .nan",
        ),
        (
            "  queue:\n    model: calibrated\n    behind: 0.5",
            "4: sim.queue.behind: a list was expected; found 0.5",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(sim: str, said: str, tmp_path: Path) -> None:
    assert mistakes_of(sim, tmp_path) == [said]


def test_a_path_from_the_environment_is_kept_for_the_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_MEASURED", "measured/here")
    config = config_with({"latency": {"entry": {"samples": "${MM_MEASURED}/a.csv"}}}, tmp_path)
    assert config.resolved["sim"]["latency"]["entry"]["samples"] == "measured/here/a.csv"
