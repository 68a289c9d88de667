"""What models say over a tape: the same in one batch as one at a time, known after the latency, gone when it expires."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from signal_runs import (
    MS,
    Entries,
    config_of,
    model,
    one_at_a_time,
    signal,
    still,
    told,
)

from mmkit.config import Config
from mmkit.errors import ConfigError, DataError, UsageError
from mmkit.events import MAIN, AnyEvent, Signal
from mmkit.interfaces import MarketView, Quotes, Strategy, StrategyConfig
from mmkit.report import Report, SignalFigures
from mmkit.research import backtest, sweep
from mmkit.run.assembly import assemble
from mmkit.run.backtest import EngineChoice, run_backtest, run_info
from mmkit.run.bracket import run_bracket
from mmkit.run.replay import received, replay_received
from mmkit.run.signals import batch
from mmkit.run.signals.batch import predict
from mmkit.run.signals.live import Live, live_signals
from mmkit.run.signals.loaded import load
from mmkit.settings import FillReports
from mmkit.tape import KIND, Kind, Tape
from mmkit.testing import BTCUSDT, random_tape

ENGINES: tuple[EngineChoice, ...] = ("compiled", "reference")
SHAPES = [("lightgbm", 100 * MS, 3), ("lightgbm", "update", 2), ("imbalance", 50 * MS, 2)]


def ran(config: Config, tape: Tape) -> tuple[list[Any], Report]:
    entries = Entries()
    tapes = {MAIN: tape}
    return entries.entries, run_backtest(config, tapes, entries, run_info(config, tapes))[1]


@pytest.mark.parametrize(("plugin", "sampling", "window"), SHAPES)
@pytest.mark.parametrize("every", [None, "200ms"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_one_batch_says_what_the_model_says_one_at_a_time(
    plugin: str,
    sampling: int | str,
    window: int,
    every: str | None,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tape = random_tape(seed, 400, rough=bool(seed % 2))
    asked = signal(model(plugin, sampling, window), plugin, **({"every": every} if every else {}))
    config = config_of(tmp_path_factory.mktemp("user"), [asked])
    beforehand = predict(load(config.signals[0], BTCUSDT), tape)
    feed = Live([load(config.signals[0], BTCUSDT)], still(), tape.start_ns)
    entries, _ = one_at_a_time(config, tape, feed)

    said = told(entries)
    assert len(said) > 5
    assert [one.ts_exchange for one in said] == beforehand.ts.tolist()
    np.testing.assert_allclose(
        [(one.down, one.flat, one.up) for one in said], beforehand.said, atol=1e-9
    )
    figures = feed.figures["direction"]
    assert (figures.failed, figures.late) == (0, 0)
    if sampling == "update":
        assert figures.unknown == beforehand.figures.unknown


@pytest.mark.parametrize(("plugin", "sampling", "window"), SHAPES)
@pytest.mark.parametrize("every", [None, "200ms"])
def test_a_tape_that_is_gone_through_in_pieces_says_the_same(
    plugin: str,
    sampling: int | str,
    window: int,
    every: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = signal(model(plugin, sampling, window), plugin, **({"every": every} if every else {}))
    loaded = load(config_of(tmp_path, [asked]).signals[0], BTCUSDT)
    tape = random_tape(3, 900, rough=True)
    whole = predict(loaded, tape)
    assert len(whole.ts) > 50
    for piece in (1, 2, 7, 50):
        monkeypatch.setattr(batch, "_PIECE", piece)
        found = predict(loaded, tape)
        np.testing.assert_array_equal(found.ts, whole.ts)
        np.testing.assert_array_equal(found.said, whole.said)
        assert found.figures == whole.figures


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_no_window_has_a_gap_in_it(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    tape = random_tape(seed, 600, rough=True)
    asked = signal(model("imbalance", 50 * MS, 2), "imbalance")
    config = config_of(tmp_path_factory.mktemp("user"), [asked])
    ends = predict(load(config.signals[0], BTCUSDT), tape).ts
    gaps = tape.ts_local[tape.kind & KIND == Kind.GAP]
    assert len(ends) > 50
    for end in ends.tolist():
        assert not ((gaps > end - 50 * MS) & (gaps <= end)).any()


@pytest.mark.parametrize("reports", FillReports)
def test_a_signal_is_known_one_latency_after_its_sample_and_to_nobody_before(
    reports: FillReports, tmp_path: Path
) -> None:
    sim = {"fill_reports": str(reports)}
    config = config_of(tmp_path, [signal(latency="30ms", expires="70ms")], sim=sim)
    entries, report = ran(config, random_tape(7, 800))

    said = told(entries)
    assert len(said) > 50
    assert {one.ts_local - one.ts_exchange for one in said} == {30 * MS}
    assert {one.expires_ns - one.ts_exchange for one in said} == {70 * MS}
    assert {one.ts_exchange % (100 * MS) for one in said} == {0}
    times = [entry.ts_local for entry in entries]
    assert times == sorted(times)
    figures = report.signals["direction"]
    assert (figures.told, figures.latency_ns, figures.latency) == (len(said), 30 * MS, "configured")


class Seen(Strategy):
    """Remembers which signal it was shown, and when, and what it heard."""

    def __init__(self, config: StrategyConfig, context: Any) -> None:
        super().__init__(config, context)
        self.shown: list[tuple[int, Signal | None]] = []
        self.heard: list[Signal] = []

    def on_event(self, event: AnyEvent) -> None:
        if isinstance(event, Signal):
            self.heard.append(event)

    def quote(self, view: MarketView) -> Quotes:
        self.shown.append((view.now, view.signals.get("direction")))
        return Quotes()


def seen(tmp_path: Path, tape: Tape, asked: dict[str, Any], **strategy: Any) -> Seen:
    (tmp_path / "strategies").mkdir(exist_ok=True)
    source = (
        "from mmkit import Strategy, Quotes\nfrom test_signals_in_a_backtest import Seen as _Seen\n"
        "class Seen(_Seen):\n    pass\n"
    )
    (tmp_path / "strategies" / "seen.py").write_text(source)
    config = config_of(tmp_path, [asked], {"plugin": "seen", **strategy})
    tapes = {MAIN: tape}
    session, _ = run_backtest(config, tapes, Entries(), run_info(config, tapes))
    found = session.engine.strategy
    assert isinstance(found, Seen)
    return found


def test_the_view_shows_the_last_signal_that_is_known_and_none_once_it_has_expired(
    tmp_path: Path,
) -> None:
    strategy = seen(
        tmp_path, random_tape(11, 800), signal(latency="30ms", expires="70ms"), every="9ms"
    )
    assert strategy.heard
    shown = dict.fromkeys((True, False), 0)
    for now, found in strategy.shown:
        known = [one for one in strategy.heard if one.ts_local <= now]
        expected = known[-1] if known and known[-1].expires_ns > now else None
        assert found == expected
        shown[found is not None] += 1
    assert min(shown.values()) > 50


def test_a_strategy_that_waits_for_signals_is_asked_when_one_comes_and_when_it_expires(
    tmp_path: Path,
) -> None:
    asked = signal(latency="30ms", expires="70ms")
    strategy = seen(tmp_path, random_tape(11, 800), asked, on=["signal"])
    times = {now for now, _ in strategy.shown}
    assert times <= {at for one in strategy.heard for at in (one.ts_local, one.expires_ns)}
    assert sum(found is None for _, found in strategy.shown) > 50
    assert sum(found is not None for _, found in strategy.shown) > 50


def test_a_latency_beyond_the_expiry_is_counted_and_tells_nothing(tmp_path: Path) -> None:
    config = config_of(tmp_path, [signal(latency="80ms", expires="70ms")])
    entries, report = ran(config, random_tape(7, 400))
    figures = report.signals["direction"]
    assert told(entries) == []
    assert figures.late > 50
    assert report.orders > 0


def test_without_a_latency_the_models_own_is_measured_and_told(tmp_path: Path) -> None:
    asked = signal()
    del asked["latency"]
    entries, report = ran(config_of(tmp_path, [asked]), random_tape(7, 400))
    figures = report.signals["direction"]
    assert figures.latency == "measured"
    # Some microseconds; a crowded machine may take a thousand times as long.
    assert 500 < figures.latency_ns < 20 * MS
    assert {one.ts_local - one.ts_exchange for one in told(entries)} == {figures.latency_ns}


def test_two_signals_come_in_the_order_in_which_they_are_known(tmp_path: Path) -> None:
    both = [
        signal(**{"as": "trees"}),
        signal(model("imbalance", 50 * MS, 1), "imbalance", latency="61ms", **{"as": "rule"}),
    ]
    entries, report = ran(config_of(tmp_path, both), random_tape(7, 400))
    said = told(entries)
    assert {one.name for one in said} == {"trees", "rule"}
    assert [one.ts_local for one in said] == sorted(one.ts_local for one in said)
    assert {name: one.told for name, one in report.signals.items()} == {
        name: sum(one.name == name for one in said) for name in ("trees", "rule")
    }


FAILING = """
from mmkit import PluginConfig, Provider, SignalModel, hookimpl
from mmkit.model_folder import read_card
import numpy as np

class Moody(SignalModel):
    def __init__(self, config, context):
        card = read_card(context.folder)
        self.names, self.window = card.names, card.window

    def predict(self, window):
        turn = int(abs(window[-1, 1]) * 1000) % 3
        if turn == 0:
            raise ValueError("not today")
        return (0.5, 0.2, 0.3) if turn == 1 else (0.5, float("nan"), 0.3)

    def predict_batch(self, windows):
        return np.array([self.predict(window) for window in windows])

@hookimpl
def register_signal_models():
    return [Provider("moody", PluginConfig, Moody)]
"""


def test_a_model_that_fails_is_counted_named_once_and_the_quotes_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "moody.py").write_text(FAILING)
    config = config_of(tmp_path, [signal(model(), "moody")])
    tape = random_tape(7, 400)
    entries, report = ran(config, tape)
    figures = report.signals["direction"]
    assert (figures.failed > 20, figures.told > 10) == (True, True)
    assert "not today" in figures.failure or "probabilities" in figures.failure
    assert sum("failed" in record.message for record in caplog.records) == 1
    assert {(one.down, one.flat, one.up) for one in told(entries)} == {(0.5, 0.2, 0.3)}
    assert report.orders > 10

    live = Live([load(config.signals[0], BTCUSDT)], still(), tape.start_ns)
    one_at_a_time(config, tape, live)
    again = live.figures["direction"]
    assert (again.failed, again.told) == (figures.failed, figures.told)


def noisy(tape: Tape, rows: int, seed: int) -> Tape:
    """Return the tape with everything from that row on replaced by another market's rows at the same times."""
    other = random_tape(seed, 5_000)
    parts = list(tape.rows())
    start = parts[rows][1]
    strange = [
        (row[0] - other.start_ns + start, row[1] - int(other.ts_local[0]) + start, *row[2:])
        for row in other.rows()
    ]
    return Tape.from_rows(tape.instrument, parts[:rows] + strange)


@pytest.mark.parametrize(("plugin", "sampling", "window"), SHAPES)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.3, 0.9))
def test_noise_in_place_of_the_future_leaves_every_earlier_signal_and_order_as_it_was(
    plugin: str,
    sampling: int | str,
    window: int,
    seed: int,
    share: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tape = random_tape(seed, 400)
    config = config_of(
        tmp_path_factory.mktemp("user"),
        [signal(model(plugin, sampling, window), plugin)],
        sim={"fill_reports": "after_data"},
    )
    rows = list(tape.rows())
    cut = int(len(rows) * share)
    while rows[cut][1] == rows[cut - 1][1]:
        cut -= 1
    moment = rows[cut][1]

    def before(some: Tape) -> list[Any]:
        return [entry for entry in ran(config, some)[0] if entry.ts_local < moment]

    whole = before(tape)
    assert len(told(whole)) > 3
    assert before(noisy(tape, cut, seed + 1)) == whole


ETHER = {
    "instrument": {
        "venue": BTCUSDT.venue,
        "market": BTCUSDT.market,
        "symbol": "ETH/USDT:USDT",
        "tick": "0.1",
        "lot": "0.001",
    },
    "data": {"plugin": "capture", "paths": ["none.gz"]},
}


def test_a_signal_of_another_market_is_what_its_model_says_over_that_ones_data(
    tmp_path: Path,
) -> None:
    other = replace(BTCUSDT, symbol="ETH/USDT:USDT", native="ETHUSDT", base="ETH")
    tapes = {MAIN: random_tape(7, 500), "ether": random_tape(8, 500, instrument=other)}
    asked = [signal(), signal(market="ether", **{"as": "ether"})]
    sim = {"fill_reports": "after_data"}
    config = config_of(tmp_path, asked, sim=sim, markets={"ether": ETHER})
    entries = Entries()
    run_backtest(config, tapes, entries, run_info(config, tapes))
    said = told(entries.entries)
    alone = predict(load(config.signals[1], other), tapes["ether"])
    ether = [one for one in said if one.name == "ether"]
    assert len(ether) > 50
    end_ns = said[-1].ts_local
    expected = [
        (ts, *three)
        for ts, three in zip(alone.ts.tolist(), alone.said.tolist(), strict=True)
        if ts + alone.latency_ns <= end_ns
    ]
    assert [(one.ts_exchange, one.down, one.flat, one.up) for one in ether] == expected

    # As a dry run has it: computed as the messages of both come, in the order of their receipt.
    instruments = {MAIN: BTCUSDT, "ether": other}
    live = live_signals(config, instruments, still(), min(tape.start_ns for tape in tapes.values()))
    again = Entries()
    session = assemble(
        config,
        instruments,
        again,
        min(tape.start_ns for tape in tapes.values()),
        FillReports.AFTER_DATA,
        signals=live,
    )
    replay_received(session, received(tapes))
    known = {(one.name, one.ts_exchange): one.up for one in told(again.entries)}
    both = [one for one in said if (one.name, one.ts_exchange) in known]
    assert len(both) > 100
    np.testing.assert_allclose(
        [one.up for one in both], [known[one.name, one.ts_exchange] for one in both], atol=1e-9
    )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"every": "150ms"}, "a whole multiple of that was expected; found 150ms"),
        ({"every": "update"}, "a whole multiple of that was expected; found update"),
        ({"model": "nowhere"}, "the folder of a saved model was expected"),
    ],
)
def test_a_signal_that_cannot_be_computed_is_refused_before_the_run(
    keys: dict[str, str], words: str, tmp_path: Path
) -> None:
    config = config_of(tmp_path, [signal(**keys)])
    with pytest.raises(DataError, match=words):
        ran(config, random_tape(7, 50))


def test_a_card_that_does_not_say_how_the_model_is_fed_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in model().iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    card = (folder / "card.json").read_text()
    config = config_of(tmp_path, [signal(folder)])
    (folder / "card.json").write_text(card.replace('"sampling"', '"sampled"'))
    with pytest.raises(DataError, match=r"the card of a model was expected; .*sampled"):
        ran(config, random_tape(7, 50))
    (folder / "card.json").write_text(card.replace('"spread",', '"age",', 1))
    with pytest.raises(DataError, match="the input 'spread' is no feature of the card"):
        ran(config, random_tape(7, 50))


@pytest.mark.parametrize(
    ("signals", "said"),
    [
        ([{"plugin": "lightgbm"}], "signals[0].model: missing"),
        ([{"plugin": "lightgmb", "model": "a"}], "did you mean 'lightgbm'"),
        ([{"plugin": "lightgbm", "model": "a", "evry": "1s"}], "signals[0].evry: unknown key"),
        (
            [{"plugin": "lightgbm", "model": "a", "market": "spot"}],
            "signals[0].market: a market of the run was expected; found 'spot'; there is main",
        ),
        ([{"plugin": "lightgbm", "model": "a", "every": "0s"}], "a duration above 0"),
        ([{"plugin": "lightgbm", "model": "a", "expires": "0s"}], "signals[0].expires"),
        (
            [{"plugin": "lightgbm", "model": "a"}, {"plugin": "lightgbm", "model": "b"}],
            "signals[1]: a name of its own was expected; 'direction'",
        ),
    ],
)
def test_a_mistake_in_the_section_is_told_with_its_place(
    signals: list[dict[str, str]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        config_of(tmp_path, signals)
    assert said in str(raised.value)


def test_waiting_for_signals_without_any_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.on: signals were expected under 'signals'"):
        ran(config_of(tmp_path, []), random_tape(7, 50))


@pytest.mark.timeout(600)  # the first that needs the compiled engine may compile it
def test_both_engines_give_the_same_journal_and_report_with_signals(tmp_path: Path) -> None:
    both = [signal(), signal(model("imbalance", 50 * MS, 2), "imbalance", **{"as": "rule"})]
    config = config_of(tmp_path, both)
    tapes = {MAIN: random_tape(7, 800)}
    runs: list[tuple[list[Any], Report]] = []
    for engine in ENGINES:
        entries = Entries()
        _, report = run_backtest(config, tapes, entries, run_info(config, tapes), engine=engine)
        assert report.engine == engine
        runs.append((entries.entries, replace(report, engine="", wall_s=0.0, events_per_s=0.0)))
    assert runs[0] == runs[1]
    assert len(told(runs[0][0])) > 100


def test_with_reports_after_data_signals_are_left_to_the_reference_which_is_said(
    tmp_path: Path,
) -> None:
    config = config_of(tmp_path, [signal()], sim={"fill_reports": "after_data"})
    tapes = {MAIN: random_tape(7, 50)}
    with pytest.raises(UsageError, match="only 'paper' with 'fill_reports: plain' is compiled"):
        run_backtest(config, tapes, Entries(), run_info(config, tapes), engine="compiled")
    report = run_backtest(config, tapes, Entries(), run_info(config, tapes))[1]
    assert report.engine == "reference"
    assert isinstance(report.signals["direction"], SignalFigures)


def test_a_sweep_and_a_bracket_are_told_the_same_signals_as_a_single_run(tmp_path: Path) -> None:
    tapes = {MAIN: random_tape(7, 400)}
    leaning = {
        "plugin": "skewed",
        "every": "70ms",
        "half_spread": "1ticks",
        "size": "0.01",
        "max_position": "0.05",
    }
    config = config_of(tmp_path, [signal()], leaning)
    skews = ["0ticks", "3ticks"]
    swept = sweep([tmp_path / "config.yml"], {"strategy.signal_skew": skews}, tapes=tapes)
    assert len(swept.tried) == 2
    alone = [
        backtest([tmp_path / "config.yml"], {"strategy.signal_skew": skew}, tapes=tapes)
        for skew in skews
    ]
    figures = [(one.report.equity, one.report.fills, one.report.signals) for one in swept.tried]
    assert figures == [(one.report.equity, one.report.fills, one.report.signals) for one in alone]
    assert figures[0][:2] != figures[1][:2]
    assert figures[0][2]["direction"].told > 50

    assert run_bracket(config, tapes).variants[1].equity == alone[0].report.equity
