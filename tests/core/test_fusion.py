"""What a policy makes of a signal and an advice, in every case there is."""

from __future__ import annotations

from itertools import product

import pytest
from pydantic import ValidationError

from mmkit.answers import AnyAnswer, MarketStructure, Signal5, Volatility
from mmkit.events import Signal
from mmkit.fusion import NOBODY, Fused, Fusion, FusionSettings, vote_of_signal
from mmkit.interfaces import Target
from mmkit.testing import advice_of, build_strategy, market_view
from mmkit_strategies.signal_taker import SignalTaker

TRUST, DEFER = 0.8, 0.6
SIDES = ("BUY", "SELL", "HOLD")
# Below, at and above both limits.
CONFIDENCES = (0.0, 0.59, DEFER, 0.61, 0.79, TRUST, 0.81, 1.0)
MODEL_SAYS = {"BUY": (0.2, 0.1, 0.7), "SELL": (0.7, 0.1, 0.2), "HOLD": (0.1, 0.7, 0.2), None: None}


def signal(said: tuple[float, float, float] | None) -> Signal | None:
    if said is None:
        return None
    down, flat, up = said
    return Signal(
        ts_exchange=0, ts_local=0, name="direction", down=down, flat=flat, up=up, expires_ns=1
    )


def structure(side: str, confidence: float) -> MarketStructure:
    return MarketStructure(
        signal="NEUTRAL" if side == "HOLD" else side,  # type: ignore[arg-type]
        confidence=confidence,
        direction="UP",
        risk="LOW",
        reason="",
    )


def fused(policy: str, said: tuple[float, float, float] | None, answer: AnyAnswer | None) -> Fused:
    settings = FusionSettings.model_validate({"policy": policy})
    advice = None if answer is None else advice_of(answer)
    return Fusion(settings).fuse(signal(said), advice)


# What is expected, told as a table of words: who decides, by the advisor's confidence, and what that one says.
def table(policy: str, model: str | None, advisor: tuple[str, float] | None) -> tuple[str, str]:
    """Return side and by whom; an independent telling of the policies."""
    by_model = (model, "model") if model else ("HOLD", "nobody")
    side, confidence = advisor or (None, 0.0)
    by_advisor = (side, "advisor") if side else ("HOLD", "nobody")
    opposite = {("BUY", "SELL"), ("SELL", "BUY")}
    zone = "none" if side is None else "low"
    if confidence > DEFER:
        zone = "middle"
    if confidence > TRUST:
        zone = "high"
    expected: dict[str, tuple[str | None, str]] = {
        "confidence": {
            "none": by_model,
            "low": ("HOLD", "advisor"),
            "middle": by_model,
            "high": by_advisor,
        }[zone],
        "model": by_model,
        "advisor": by_advisor,
        "agree": ("HOLD", "nobody")
        if model is None or side is None
        else (model if model == side else "HOLD", "both"),
        "veto": ("HOLD", "advisor") if zone == "high" and (model, side) in opposite else by_model,
    }
    found, by = expected[policy]
    assert found is not None
    return found, by


POLICIES = ("confidence", "model", "advisor", "agree", "veto")
ADVISORS = [None, *product(SIDES, CONFIDENCES)]


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_says_what_its_table_says(policy: str) -> None:
    seen = set()
    for (model, said), advisor in product(MODEL_SAYS.items(), ADVISORS):
        answer = structure(*advisor) if advisor else None
        found = fused(policy, said, answer)
        assert (found.side, found.by) == table(policy, model, advisor), (model, advisor)
        sure = {
            "nobody": 0.0,
            "model": 0.7,
            "advisor": advisor[1] if advisor else None,
            "both": min(0.7, advisor[1]) if advisor else None,
        }
        assert found.confidence == sure[found.by]
        seen.add((found.side, found.by))
    assert len(seen) >= 4


def test_a_call_in_five_steps_decides_if_it_is_strong_and_else_leaves_it_to_the_model() -> None:
    for said, side in (("STRONG_BUY", "BUY"), ("STRONG_SELL", "SELL")):
        answer = Signal5(signal=said, liquidity=5, hint="")  # type: ignore[arg-type]
        assert fused("confidence", MODEL_SAYS["HOLD"], answer) == Fused(side, "advisor", 0.9)  # type: ignore[arg-type]
    for said, side in (("BUY", "BUY"), ("NEUTRAL", "HOLD"), ("SELL", "SELL")):
        answer = Signal5(signal=said, liquidity=5, hint="")  # type: ignore[arg-type]
        assert fused("confidence", MODEL_SAYS["SELL"], answer) == Fused("SELL", "model", 0.7)
        assert fused("advisor", None, answer) == Fused(side, "advisor", 0.7)  # type: ignore[arg-type]


def test_an_answer_that_is_not_about_the_side_is_none() -> None:
    answer = Volatility(level="HIGH", direction="UP", confidence=1.0, reason="")
    assert fused("advisor", None, answer) == NOBODY
    assert fused("confidence", MODEL_SAYS["BUY"], answer).by == "model"


def test_a_signal_that_is_as_likely_to_stay_says_hold() -> None:
    for said in ((0.4, 0.2, 0.4), (0.2, 0.4, 0.4), (0.4, 0.4, 0.2)):
        vote = vote_of_signal(signal(said))
        assert vote is not None
        assert (vote.side, vote.confidence) == ("HOLD", 0.4)


def test_limits_that_cross_are_refused() -> None:
    with pytest.raises(
        ValidationError, match=r"defer must not be above trust, but 0\.9 is above 0\.8"
    ):
        FusionSettings.model_validate({"defer": 0.9})


# --- signal_taker goes by it ----------------------------------------------------------------------


def wanted(
    policy: str, said: tuple[float, float, float] | None, answer: MarketStructure | None
) -> int:
    fusion = FusionSettings.model_validate({"policy": policy})
    strategy = build_strategy(
        SignalTaker,
        signals=["direction"],
        advisors={"market_structure": "market_structure"},
        fusion=fusion,
        balance="1000",
        short=True,
    )
    view = market_view(
        signals={"direction": said} if said else None,
        advice={"market_structure": answer} if answer else None,
        fusion=fusion,
    )
    target = strategy.quote(view)
    assert isinstance(target, Target)
    return (target.position > 0) - (target.position < 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_signal_taker_takes_the_side_that_the_policy_says(policy: str) -> None:
    for (model, said), advisor in product(MODEL_SAYS.items(), [None, ("BUY", 0.9), ("SELL", 0.9)]):
        answer = structure(*advisor) if advisor else None
        side = table(policy, model, advisor)[0]
        assert wanted(policy, said, answer) == {"BUY": 1, "SELL": -1, "HOLD": 0}[side]


def test_signal_taker_is_asked_on_what_its_policy_goes_by() -> None:
    def wake(policy: str) -> tuple[bool, bool]:
        fusion = FusionSettings.model_validate({"policy": policy})
        built = build_strategy(SignalTaker, fusion=fusion, balance="1000")
        return built.wake.on_signal, built.wake.on_advice

    assert {policy: wake(policy) for policy in POLICIES} == {
        "confidence": (True, True),
        "model": (True, False),
        "advisor": (False, True),
        "agree": (True, True),
        "veto": (True, True),
    }
