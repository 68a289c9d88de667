"""What is there is learned, in a market whose probabilities are known; what is not there is not.

A short version of ``python -m benchmarks.signals.learnable``, whose figures are in docs/signals.md.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from benchmarks.signals.learnable import (
    ALL_LAGS,
    FEATURES,
    LAST_ALONE,
    MODELS,
    Learned,
    at_chance,
    learn,
    learn_shuffled,
    main,
)
from benchmarks.signals.made_market import (
    MARKETS,
    SEEN,
    MadeMarket,
    Step,
    best_calls,
    expected_f1,
    made_market,
    odds,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.config.learning import Sampling
from mmkit.learning import LabelRule
from mmkit.run.sampled import sample

# Smaller and quicker than the defaults, which the benchmark has.
SMALL: dict[str, Any] = {"lstm": [32], "learning_rate": 0.01, "batch": 128, "epochs": 6, "device": "cpu"}  # fmt: skip
N = 12_000


@cache
def market(name: str) -> MadeMarket:
    return made_market(N, 11, *MARKETS[name])


def keys(name: str, model: str, **more: Any) -> dict[str, Any]:
    small = SMALL if model == "lstm" else {}
    # A product of two takes longer to find.
    longer = {"epochs": 20} if (name, model) == ("pattern", "lstm") else {}
    return {**MODELS[name][model], **small, **longer, **more}


@cache
def learned(name: str, model: str) -> Learned:
    return learn(market(name), keys(name, model))


# --- the market -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(MARKETS))
def test_the_features_of_the_tape_are_what_the_moves_were_drawn_from(name: str) -> None:
    law, flat = MARKETS[name]
    made = made_market(400, 3, law, flat)
    samples = sample(made.tape, FEATURES[:3], Sampling()).samples
    steps = [Step(*row) for row in samples.values.tolist()]
    place = np.searchsorted(made.ts, samples.ts)
    assert len(steps) > 390
    for row in range(SEEN - 1, len(steps)):
        seen = odds(law(steps[row - SEEN + 1 : row + 1]), flat)
        np.testing.assert_allclose(seen, made.probabilities[place[row]], rtol=1e-12)


@pytest.mark.parametrize("name", list(MARKETS))
def test_the_moves_of_the_tape_come_as_often_as_their_probabilities_say(name: str) -> None:
    made = market(name)
    samples = sample(made.tape, FEATURES[:3], Sampling()).samples
    rule = LabelRule(horizon=1, threshold_bps=0.0)
    moves = rule.labels(rule.moves(samples))[:-1]
    odds_of = made.probabilities[np.searchsorted(made.ts, samples.ts)][:-1]
    # Over all, and more of where one class is likelier: each sum within four deviations of its mean.
    for one in range(3):
        for weight in (np.ones(len(moves)), odds_of[:, 0], odds_of[:, 1], odds_of[:, 2]):
            p = odds_of[:, one]
            off = float((weight * ((moves == one) - p)).sum())
            assert abs(off) < 4 * np.sqrt((weight**2 * p * (1 - p)).sum())


@given(flows=st.lists(st.floats(-1, 1), min_size=SEEN, max_size=SEEN), one=st.integers(0, SEEN - 1))
def test_no_single_flow_tells_of_the_pattern(flows: list[float], one: int) -> None:
    law = MARKETS["pattern"][0]
    turned = [-flow if number == one else flow for number, flow in enumerate(flows)]
    lean, other = (law([Step(0, 0, flow) for flow in each]) for each in (flows, turned))
    # With either sign of any other flow it leans as often one way as the other.
    assert lean == (-other if one in (SEEN - 2, SEEN - 4) else other)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000), flat=st.floats(-1, 3), down=st.floats(-2, 2), up=st.floats(-2, 2)
)
def test_no_rule_is_better_than_the_best_calls(
    seed: int, flat: float, down: float, up: float
) -> None:
    lean = np.random.default_rng(seed).uniform(-1, 1, 1_000)
    chances = np.array([odds(one, flat) for one in lean.tolist()])
    best = expected_f1(chances, best_calls(chances))
    other = (chances * np.exp([down, 0, up])).argmax(axis=1).astype(np.int8)
    # Of this many samples the best to first order may be a sample or two off.
    assert best >= expected_f1(chances, other) - 1e-3


# --- the models -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "model"),
    [("last", "lightgbm"), ("last", "lstm"), ("rare", "lightgbm"), ("rare", "lstm"), ("pattern", "lstm")],
)  # fmt: skip
def test_what_is_there_is_learned_to_within_two_points_of_the_best_forecast(
    name: str, model: str
) -> None:
    found = learned(name, model)
    assert found.short < 0.02
    # The best forecast knows far more than nothing, so that two points are little of it.
    assert found.best_f1 > found.evaluation.chance + 0.15


def test_where_only_the_sequence_tells_the_last_sample_is_worth_nothing() -> None:
    lstm, trees = learned("pattern", "lstm"), learned("pattern", LAST_ALONE)
    assert at_chance(trees.evaluation)
    assert lstm.less(trees.called, "the trees").better
    # Shown all of it, the trees find it as well.
    assert learned("pattern", ALL_LAGS).less(trees.called, "the trees").difference.low > 0.1


@pytest.mark.parametrize("model", ["lightgbm", "lstm"])
def test_where_nothing_is_there_nothing_is_found(model: str) -> None:
    found = learned("nothing", model)
    assert at_chance(found.evaluation)
    assert not found.evaluation.against_majority.difference.low > 0.15


@pytest.mark.parametrize("model", ["lightgbm", "lstm"])
def test_of_shuffled_labels_nothing_is_learned(model: str) -> None:
    assert at_chance(learn_shuffled(market("last"), keys("last", model)))


def test_where_moves_are_rare_calls_of_the_largest_probability_are_far_below_the_best() -> None:
    plain = learn(market("rare"), keys("rare", "lightgbm", calls="plain"))
    assert plain.short > 0.05
    assert learned("rare", "lightgbm").less(plain.called, "plain calls").better


def test_the_benchmark_ends_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--samples", "2000", "--only", "nothing"])
    *table, last = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in table[1:]] == [["nothing", "lightgbm"], ["nothing", "lstm"]]  # fmt: skip
    assert set(json.loads(last)) == {"samples", "nothing_lightgbm_at_chance", "nothing_lstm_at_chance"}  # fmt: skip
