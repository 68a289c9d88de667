"""Every hook has an example in docs/plugins.md that works, and a test here that uses it."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from mmkit import hookspecs, model_folder
from mmkit.answers import MarketStructure
from mmkit.book import Book
from mmkit.clock import SimClock
from mmkit.commands import SubmitOrder
from mmkit.errors import FeedError
from mmkit.events import OrderRejected, Side
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import (
    AdvisorContext,
    Consulted,
    Context,
    Inquiry,
    ModelContext,
    PluginConfig,
    Quotes,
    RunInfo,
    ServiceContext,
    SourceContext,
    TrainingContext,
    TrainingSet,
)
from mmkit.plugins import Plugins
from mmkit.run.advisors.facts import Memory
from mmkit.tape import LAST, SELL, Kind
from mmkit.testing import BTCUSDT, build_strategy, market_view, snapshot_rows

DOCS = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
HOOKS = sorted(name for name in vars(hookspecs) if hasattr(getattr(hookspecs, name), "mmkit_spec"))
SPEC = InstrumentSpec(venue="example", market="usdm", symbol="BTC/USDT:USDT")
RUN = RunInfo(run_id="r1", command="trade", folder="", instrument=BTCUSDT, strategy="skewed")


def example(hook: str) -> str:
    """The Python block under the hook's heading."""
    section = re.search(rf"^### {hook}$(.*?)(?=^##|\Z)", DOCS.read_text(), re.M | re.S)
    assert section is not None, f"docs/plugins.md has no section '### {hook}'"
    block = re.search(r"^```python\n(.*?)^```$", section[1], re.M | re.S)
    assert block is not None, f"docs/plugins.md has no example under '### {hook}'"
    return block[1]


Load = Callable[[str], Plugins]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Save a hook's example as a user would, and load it."""

    def loaded(hook: str) -> Plugins:
        (tmp_path / "plugins").mkdir()
        (tmp_path / "plugins" / "example.py").write_text(example(hook))
        return Plugins.load(tmp_path)

    return loaded


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test_here(hook: str) -> None:
    assert any(name.startswith(f"test_{hook}_") for name in globals())


@pytest.mark.parametrize("hook", HOOKS)
def test_every_example_loads_as_a_plugin_and_offers_something(hook: str, load: Load) -> None:
    info = next(info for info in load(hook).infos if info.name == "example")
    assert info.error is None
    assert info.offers
    assert all(offer.available for offer in info.offers)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_what_it_is_for(hook: str) -> None:
    assert getattr(hookspecs, hook).__doc__


# --- one test a hook ------------------------------------------------------------------------------


def test_register_data_sources_gives_a_source_that_streams_rows(load: Load) -> None:
    plugins = load("register_data_sources")
    provider = plugins.provider("data source", "walk")
    clock = SimClock(1_000)

    async def first_two() -> list[Any]:
        source = provider.build(
            provider.config(seed=3),
            SourceContext(SPEC, clock, Path(), plugins.wire_formats),
        )
        assert (await source.instrument()).tick == Decimal("0.1")
        async with contextlib.aclosing(source.stream()) as stream:
            return [await anext(stream), await anext(stream)]

    first, second = asyncio.run(first_two())
    assert [row[1] for row in first] == [1_000] * 3
    assert [row[2] for row in second] == [Kind.SNAPSHOT, Kind.LEVEL, Kind.LEVEL | SELL | LAST]


def test_register_wire_formats_is_found_by_the_instruments_venue(load: Load) -> None:
    plugins = load("register_wire_formats")
    instrument = msgspec.structs.replace(BTCUSDT, venue="example")
    wire = plugins.wire_formats(instrument, ["book"])
    rows = wire.message('{"time": 5, "bid": ["60000.0", "1.5"], "ask": ["60000.1", "2"]}', 9)
    assert rows == [
        (5, 9, Kind.SNAPSHOT, 0, 0),
        (5, 9, Kind.LEVEL, 600_000, 1_500),
        (5, 9, Kind.LEVEL | SELL | LAST, 600_001, 2_000),
    ]
    with pytest.raises(FeedError, match="was expected; found '<html>'"):
        wire.message("<html>", 9)


def test_register_execution_venues_gives_a_venue_that_answers(load: Load) -> None:
    provider = load("register_execution_venues").provider("execution venue", "closed")
    venue = provider.build(PluginConfig(), Context(BTCUSDT))
    venue.send(SubmitOrder(ts_local=7, order_id=1, side=Side.BUY, price=1, quantity=1))
    assert venue.take(7) == [
        OrderRejected(ts_exchange=7, ts_local=7, order_id=1, reason="the venue is closed")
    ]
    assert venue.take(8) == []


def test_register_strategies_gives_a_strategy_that_quotes(load: Load) -> None:
    provider = load("register_strategies").provider("strategy", "touch")
    strategy = build_strategy(provider.build, size="0.02")
    quotes = strategy.quote(market_view(bids=[(100, 5)], asks=[(102, 5)]))
    assert quotes == Quotes(bid=(100, 20), ask=(102, 20))


def test_register_risk_checks_gives_a_check_that_halts(load: Load) -> None:
    provider = load("register_risk_checks").provider("risk check", "max_loss")
    check = provider.build(provider.config(limit=10), Context(BTCUSDT))

    class View:
        equity = Decimal("-9.99")

    assert check.halt(View()) is None
    View.equity = Decimal("-10")
    assert check.halt(View()) == "lost 10"


def test_register_services_gives_a_service_that_starts_and_stops(load: Load) -> None:
    provider = load("register_services").provider("service", "health")

    async def ask() -> bytes:
        service = provider.build(PluginConfig(), ServiceContext(SPEC, SimClock(), Path()))
        address = await service.start()
        try:
            host, port = address.removeprefix("tcp://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            answer = await reader.read()
            writer.close()
            return answer
        finally:
            await service.stop()

    assert asyncio.run(ask()) == b"running\n"


def test_register_signal_models_gives_a_model_that_predicts(load: Load, tmp_path: Path) -> None:
    provider = load("register_signal_models").provider("signal model", "shares")
    model_folder.save(
        tmp_path / "m",
        {"model.json": b"[0.2, 0.5, 0.3]"},
        {},
        plugin="shares",
        names=("a",),
        window=2,
    )
    model = provider.build(provider.config(), ModelContext(tmp_path / "m"))
    assert model.predict(np.zeros((2, 1))) == (0.2, 0.5, 0.3)
    assert model.predict_batch(np.zeros((4, 2, 1))).tolist() == [[0.2, 0.5, 0.3]] * 4


def test_register_signal_trainers_gives_a_trainer_that_saves_what_it_learned(
    load: Load, tmp_path: Path
) -> None:
    provider = load("register_signal_trainers").provider("signal trainer", "shares")
    trainer = provider.build(provider.config(), TrainingContext(("a",), 2))
    data = TrainingSet(np.zeros((4, 2, 1)), np.array([0, 1, 2, 2], np.int8))
    trainer.fit(data, data, seed=1, progress=print, stop=bool)
    trainer.save(tmp_path / "m", {"instrument": "x"})
    _, files = model_folder.load(tmp_path / "m", "shares", "model.json")
    assert files == {"model.json": b"[0.25, 0.25, 0.5]"}


def test_register_advisors_gives_an_advisor_that_answers(load: Load) -> None:
    provider = load("register_advisors").provider("advisor", "leaning")
    advisor = provider.build(provider.config(), AdvisorContext(SPEC, SimClock(), Path()))
    book, memory = Book(), Memory(BTCUSDT)
    for row in snapshot_rows([(100, 9)], [(101, 1)]):
        book.apply(row)
    facts = memory.facts(book, 0)
    assert facts is not None

    def asked(question: Any) -> Consulted:
        return asyncio.run(advisor.ask(Inquiry(question=question, facts=facts)))

    answer = asked("market_structure").answer
    assert isinstance(answer, MarketStructure)
    assert (answer.signal, answer.confidence) == ("BUY", 0.8)
    assert asked("sentiment").refused == "unknown question: sentiment"


def test_register_commands_adds_a_command(load: Load) -> None:
    cli = click.Group()
    load("register_commands").call_commands(cli)
    assert CliRunner().invoke(cli, ["greet", "you"]).output == "hello you\n"


def test_run_started_is_told_of_the_run(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    plugins = load("run_started")
    with caplog.at_level("INFO", "mmkit.example"):
        plugins.run_started(RUN)
    assert caplog.messages == ["run=r1 command=trade strategy=skewed"]


def test_run_finished_is_told_of_the_results(load: Load, tmp_path: Path) -> None:
    class Results:
        fills, equity = 3, Decimal("1.5")

    run = msgspec.structs.replace(RUN, folder=str(tmp_path / "results" / "r1"))
    (tmp_path / "results").mkdir()
    load("run_finished").run_finished(run, Results())  # type: ignore[arg-type]
    assert (tmp_path / "results" / "runs.csv").read_text() == "r1,skewed,3,1.5\n"


def test_the_list_of_hooks_is_not_empty() -> None:
    assert "register_strategies" in HOOKS
    assert len(HOOKS) >= 11
