"""A strategy that answers what cannot be: the same words from both engines, also where its decision is compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from both_engines import Memory, Restless, session
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.errors import StrategyError
from mmkit.events import MAIN
from mmkit.interfaces import MarketView, Quotes, Strategy, Target
from mmkit.run.compiled import replay_compiled
from mmkit.run.replay import replay_plain
from mmkit.settings import SimSettings
from mmkit.testing import random_tape

TAPE = random_tape(1, 60)
ASKED: dict[str, Any] = {"every": "50ms"}


def reference(strategy: type[Strategy]) -> Memory:
    made, memory = session(strategy, SimSettings(), ASKED, {}, TAPE)
    replay_plain(made, {MAIN: TAPE})
    return memory


def compiled(strategy: type[Strategy]) -> Memory:
    made, memory = session(strategy, SimSettings(), ASKED, {}, TAPE)
    replay_compiled(made, TAPE)
    return memory


def refused_by_both(strategy: type[Strategy]) -> str:
    words = []
    for run in (reference, compiled):
        with pytest.raises(StrategyError) as found:
            run(strategy)
        words.append(str(found.value))
    assert words[0] == words[1]
    return words[0]


def test_a_strategy_that_looks_deeper_than_it_has_declared_is_told_what_to_write() -> None:
    class Curious(Restless):
        def quote(self, view: MarketView) -> Quotes | Target:
            return Quotes(bid=view.book.bids[0])

    words = refused_by_both(Curious)

    assert "Curious looks at view.book, but declares no depth" in words
    assert "'depth = 5' in class Curious" in words


@pytest.mark.parametrize("deep", [1, 2, 7])
def test_a_strategy_sees_no_more_levels_than_it_has_declared(deep: int) -> None:
    seen: set[int] = set()

    class Counts(Restless):
        depth = deep

        def quote(self, view: MarketView) -> Quotes | Target:
            seen.update(map(len, view.book))
            return super().quote(view)

    assert reference(Counts).entries == compiled(Counts).entries
    assert max(seen) == deep


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 600_000.0, "600000", None, True])
@pytest.mark.parametrize("place", ["bid price", "ask price", "bid quantity", "ask quantity"])
def test_what_is_no_whole_number_is_named_with_its_place_and_kind(value: Any, place: str) -> None:
    class Strange(Restless):
        def quote(self, view: MarketView) -> Quotes | Target:
            level = (value, 5) if place.endswith("price") else (view.best_bid, value)
            return Quotes(**{place.split(maxsplit=1)[0]: level})

    words = refused_by_both(Strange)

    assert f"quote() returned the {place} {value!r}, a {type(value).__name__}" in words
    assert "a whole number of" in words


@pytest.mark.parametrize("value", [math.nan, math.inf, 2.0, None])
def test_a_target_that_is_no_whole_number_is_refused(value: Any) -> None:
    class Strange(Restless):
        def quote(self, view: MarketView) -> Quotes | Target:
            return Target(value)

    assert f"the target position {value!r}" in refused_by_both(Strange)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Quotes(bid=(0, 5)), "a bid of 5 lots at 0 ticks; both must be above 0"),
        (Quotes(ask=(600_000, -1)), "an? ask of -1 lots"),
        (Quotes(bids=[(599_000, 1), (599_000, 2)]), "two bids at 599000 ticks"),
        (Quotes(bid=(600_000, 1), ask=(600_000, 1)), "they would trade with each other"),
        (Quotes(bid=(2**63, 1)), r"less than 2\*\*63 ticks were expected"),
        (Quotes(bid=(599_000, 1, 2)), "a pair"),  # type: ignore[arg-type]
    ],
)
def test_quotes_that_cannot_be_are_refused(answer: Quotes, words: str) -> None:
    class Strange(Restless):
        def quote(self, view: MarketView) -> Quotes | Target:
            return answer

    found = refused_by_both(Strange)
    assert pytest.raises(StrategyError, match=words).matches(StrategyError(found))


def test_a_strategy_that_raises_is_named_with_what_it_raised() -> None:
    class Raises(Restless):
        def quote(self, view: MarketView) -> Quotes | Target:
            raise LookupError("no such table")

    class Deaf(Restless):
        def on_event(self, event: Any) -> None:
            raise LookupError("heard nothing")

    assert refused_by_both(Raises) == "Raises.quote raised LookupError: no such table"
    assert refused_by_both(Deaf) == "Deaf.on_event raised LookupError: heard nothing"


# --- compiled decisions ---

Module = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Writes a module that holds a decision; returns what a strategy's `decision` would say."""
    monkeypatch.syspath_prepend(str(tmp_path))
    count = len(list(tmp_path.iterdir()))

    def written(body: str) -> str:
        name = f"decides_{abs(hash((str(tmp_path), body, count)))}"
        (tmp_path / f"{name}.py").write_text(body)
        return f"{name}:decide"

    return written


HEAD = """
import math
from mmkit.decision import BEST_BID, decision


@decision
def decide(view, parameters, wanted):
"""


def deciding(path: str, *numbers: Any) -> type[Strategy]:
    def parameters(self: Any) -> Any:
        return numbers

    return type("Decides", (Restless,), {"decision": path, "parameters": parameters})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    wanted[0] = view.nothing\n", r"Unknown attribute 'nothing' of type int64\*"),
        ("    wanted[0] = nowhere\n", "name 'nowhere' is not defined"),
        ("    wanted['bids'] = 1\n", r"No implementation of function .*setitem.*Literal\[str\]"),
        ("    with open('x') as f:\n        wanted[0] = 1\n", "construct is not supported"),
        ("    wanted[0] = 1 if view[0] else 'x'\n", "unify"),
    ],
)
def test_a_decision_that_does_not_compile_is_told_in_one_line_with_the_reason_of_numba(
    module: Module, body: str, reason: str
) -> None:
    path = module(HEAD + body)

    with pytest.raises(StrategyError, match=reason) as found:
        compiled(deciding(path))

    words = str(found.value)
    assert words.startswith(f"the compiled decision '{path}' cannot be used: ")
    assert words.endswith(
        "or ask the strategy in plain Python with '--set strategy.compiled=false'"
    )
    assert "\n" not in words
    assert "\x1b" not in words


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def decide(:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import nowhere_at_all\n", "No module named 'nowhere_at_all'"),
        (
            "def decide(view, parameters, wanted):\n    pass\n",
            "a function marked with mmkit.decision.decision was expected; found a function",
        ),
        (
            "from mmkit.decision import decision\n\n@decision\ndef decide(view, wanted):\n    pass\n",
            "function takes 2 arguments",
        ),
    ],
)
def test_a_module_of_a_decision_that_cannot_be_used_is_told_in_one_line(
    module: Module, text: str, reason: str
) -> None:
    with pytest.raises(StrategyError) as found:
        compiled(deciding(module(text)))

    assert reason in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    "numbers", [(math.nan,), (1, math.inf), ("one",), (None,), ((1, 2), 3), (1j,)]
)
def test_parameters_that_are_no_finite_numbers_never_reach_compiled_code(
    module: Module, numbers: tuple[Any, ...]
) -> None:
    with pytest.raises(StrategyError) as found:
        compiled(deciding(module(HEAD + "    wanted[0] = 0\n"), *numbers))

    assert "Decides.parameters returned" in str(found.value)
    assert "finite numbers were expected" in str(found.value)


@pytest.mark.parametrize("broken", ["math.sqrt(-bid)", "math.log(-bid)", "-1e308 * bid"])
@pytest.mark.parametrize("place", [2, 3])
def test_a_decision_that_comes_to_no_number_stops_the_run(
    module: Module, broken: str, place: int
) -> None:
    body = "    wanted[0], wanted[1], wanted[2], wanted[3] = 1, 0, view[BEST_BID], 5\n"
    body += "    bid = float(view[BEST_BID])\n"
    path = module(HEAD + body + f"    wanted[{place}] = int({broken})\n")

    with pytest.raises(StrategyError) as found:
        compiled(deciding(path))

    assert str(found.value).startswith(f"{path} wanted [1, 0, ")
    assert "prices and quantities above 0" in str(found.value)


COPY = (
    HEAD + "    for n in range(int(parameters[0])):\n        wanted[n] = int(parameters[1 + n])\n"
)
few = st.tuples(st.integers(-1, 4).map(lambda n: n and n + 599_996), st.integers(-1, 3))


def test_a_compiled_decision_is_refused_where_the_same_quotes_are_and_only_there(
    module: Module,
) -> None:
    path = module(COPY)
    ends = {"refused": 0, "taken": 0}

    @settings(max_examples=150, deadline=None)
    @given(bids=st.lists(few, max_size=3), asks=st.lists(few, max_size=3))
    def check(bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        class Plain(Restless):
            def quote(self, view: MarketView) -> Quotes | Target:
                return Quotes(bids=bids, asks=asks)

        flat = [len(bids), len(asks), *np.ravel([*bids, *asks]).astype(int).tolist()]
        copying = deciding(path, len(flat), *flat)
        try:
            expected = reference(Plain).entries
        except StrategyError:
            ends["refused"] += 1
            with pytest.raises(StrategyError, match="prices and quantities above 0"):
                compiled(copying)
        else:
            ends["taken"] += 1
            assert compiled(copying).entries == expected

    check()
    assert min(ends.values()) > 5


@pytest.mark.parametrize("counts", [(-2, 0), (0, -1), (129, 0), (0, 129)])
def test_more_levels_than_there_is_room_for_or_fewer_than_none_are_refused(
    module: Module, counts: tuple[int, int]
) -> None:
    with pytest.raises(StrategyError, match="at most 128 levels a side"):
        compiled(deciding(module(COPY), 2, *counts))
