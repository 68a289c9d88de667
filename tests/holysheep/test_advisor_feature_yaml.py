"""Ideas of a language model become a section that a training takes, whatever they are called."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from mmkit.answers import FeatureIdea
from mmkit.features import DEFINITIONS, parse_features
from mmkit_holysheep.feature_yaml import features_yaml, known


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("spread", "spread"),
        ("Bid-Ask Spread", "spread"),
        ("order_book_imbalance", "imbalance_1"),
        ("imbalance_5", "imbalance_5"),
        ("Depth imbalance (top 10 levels)", "imbalance_10"),
        ("order flow imbalance", "ofi_1_10s"),
        ("ofi_5_30s", "ofi_5_30s"),
        ("OFI 30s", "ofi_1_30s"),
        ("realized_volatility_60s", "volatility_1m"),
        ("bid_slope", "bid_slope_5"),
        ("return", "return_10s"),
        ("micro-price", "microprice"),
        ("spread_30s", None),
        ("imbalance_0", None),
        ("volatility_of_volatility", None),
        ("vpin", None),
        ("spread zscore", None),
        ("imbalance_momentum", None),
        ("", None),
        ("ofi_0s", None),
        ("imbalance_5_10", None),
    ],
)
def test_a_name_is_taken_for_what_it_says_and_nothing_is_guessed(
    name: str, column: str | None
) -> None:
    spec = known(name)
    assert (spec and spec.column) == column


@pytest.mark.parametrize("name", [one for one in DEFINITIONS if one != "vpin"])
def test_every_feature_of_mmkit_but_that_which_needs_a_volume_is_known_by_its_own_name(
    name: str,
) -> None:
    spec = known(name)
    assert spec is not None
    assert spec.name == name
    # By the name of its column, too.
    assert known(spec.column) == spec


NAMES = st.one_of(
    st.text(min_size=1, max_size=60),
    st.lists(
        st.sampled_from([*DEFINITIONS, "order_flow", "10s", "5", "top3", "#", "\n", ": ", "- x"]),
        min_size=1,
        max_size=4,
    ).map("_".join),
)
IDEAS = st.lists(
    st.builds(FeatureIdea, name=NAMES, formula=st.text(max_size=80), relevance=st.integers(1, 10)),
    min_size=1,
    max_size=12,
)


@given(ideas=IDEAS, asked=st.text(max_size=20))
@example(
    ideas=[FeatureIdea(name="spread\n- evil", formula="a\u2028b\x85c: [", relevance=3)], asked=""
)
def test_whatever_the_ideas_the_section_is_one_that_a_training_takes(
    ideas: list[FeatureIdea], asked: str
) -> None:
    text = features_yaml(ideas, asked)
    found = yaml.safe_load(text)
    assert set(found) == {"features"}
    expected = dict.fromkeys(
        spec.column
        for idea in sorted(ideas, key=lambda one: -one.relevance)
        if (spec := known(idea.name))
    )
    assert len(text.splitlines()) == 2 + len(ideas)
    if found["features"]:
        assert [spec.column for spec in parse_features(found["features"])] == list(expected)
    else:
        assert not expected
