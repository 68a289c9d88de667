"""The promise about faults: a book that is taken for known is the exchange's, and it comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import fault_schedules as schedules
import pytest

from mmkit_binance.sync import BookSync, FuturesRules, SpotRules
from mmkit_sandbox.faults import PUBLIC

SEEDS = 1000
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_in_a_thousand_schedules_a_trusted_book_is_the_exchanges_and_comes_back_in_time(
    part: int,
) -> None:
    outcomes = [
        schedules.run(seed) for seed in range(part * SEEDS // PARTS, (part + 1) * SEEDS // PARTS)
    ]

    wrong = [schedules.told(one) for one in outcomes if one.problem]
    assert not wrong, "\n".join(wrong[:5])
    assert max(one.recovered_ns for one in outcomes) < schedules.WITHIN
    # Every fault of public data has happened, in many of them, and books were really compared.
    happened = Counter(kind for one in outcomes for kind in {h.fault.kind for h in one.happened})
    assert set(happened) == set(PUBLIC)
    assert min(happened.values()) > len(outcomes) / 50
    assert all(one.compared for one in outcomes)
    assert sum(one.compared for one in outcomes) > 20 * len(outcomes)
    gaps = sum((one.gaps for one in outcomes), Counter[str]())
    assert min(gaps[name] for name in ("sequence", "connection", "silence")) > len(outcomes) / 20


def test_a_schedule_is_the_same_whenever_it_is_run() -> None:
    assert schedules.run(17) == schedules.run(17)
    assert schedules.run(17).happened != schedules.run(19).happened


def always(*_: Any) -> bool:
    return True


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (SpotRules, "continues", staticmethod(always)),
        (FuturesRules, "continues", staticmethod(always)),
        (BookSync, "_agree", always),
    ],
)
def test_a_client_that_trusts_too_easily_is_found_out(
    owner: type, name: str, broken: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, broken)
    problems = (schedules.run(seed).problem for seed in range(300))
    assert any("wrong while trusted" in problem for problem in problems)


def test_a_client_that_trusts_the_first_snapshot_is_found_out() -> None:
    problems = (schedules.run(seed, confirm=False).problem for seed in range(100))
    assert any("wrong while trusted" in problem for problem in problems)
