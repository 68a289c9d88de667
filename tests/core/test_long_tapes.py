"""Tapes longer than memory should hold: what has been gone through is given back, and nothing else changes."""

import re
from pathlib import Path
from typing import Any

import pytest

from mmkit.engine import Engine
from mmkit.events import MAIN
from mmkit.interfaces import Context
from mmkit.recorder import Recorder
from mmkit.risk import RiskGate
from mmkit.run import compiled
from mmkit.run.compiled import replay_compiled
from mmkit.run.replay import replay_plain
from mmkit.run.session import Session
from mmkit.settings import SimSettings
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import NAMES, Tape, file, index, tape
from mmkit.testing import BTCUSDT, build_strategy, random_tape
from mmkit_strategies.join_best import JoinBest


class Memory(Recorder):
    def __init__(self) -> None:
        self.entries: list[Any] = []

    def note(self, entry: Any) -> None:
        self.entries.append(entry)


@pytest.fixture
def short_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tapes of a test be long, and memory be given back after a thousand rows."""
    monkeypatch.setattr(tape, "_LONG", 1)
    monkeypatch.setattr(file, "_INDEXED", 1)
    for module in (tape, compiled):
        monkeypatch.setattr(module, "RELEASED", 1_000)
    monkeypatch.setattr(index, "PIECE", 1_000)


def session(over: Tape, **asked: Any) -> tuple[Session, Memory]:
    memory = Memory()
    strategy = build_strategy(JoinBest, size="0.005", max_position="0.02", **asked)
    engine = Engine(BTCUSDT, strategy, RiskGate(), over.start_ns)
    venue = PaperVenue(PaperConfig(), Context(BTCUSDT, SimSettings()))
    return Session(engine, venue, memory), memory


def on_disk(path: Path, messages: int = 20_000) -> tuple[Tape, Tape]:
    kept = random_tape(3, messages)
    kept.save(path)
    return kept, Tape.load(path)


def resident(path: Path) -> int:
    """Return how many bytes of a mapped file count as memory of this process."""
    found, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counts = line.endswith(str(path))
        elif counts and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found


@pytest.mark.usefixtures("short_is_long")
@pytest.mark.parametrize("every", ["50ms", "10000s"])
def test_runs_over_a_long_tape_are_those_over_the_same_tape_in_memory(
    tmp_path: Path, every: str
) -> None:
    kept, mapped = on_disk(tmp_path / "long.tape")
    assert mapped.long
    assert not kept.long
    runs = []
    for over, replayed in ((kept, "plain"), (mapped, "plain"), (mapped, "compiled")):
        made, memory = session(over, every=every)
        if replayed == "plain":
            replay_plain(made, {MAIN: over})
        else:
            replay_compiled(made, over)
        runs.append((memory.entries, made.engine.equity))
    assert runs[0] == runs[1] == runs[2]
    if every == "50ms":
        assert len(runs[0][0]) > 1_000


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="memory is told in /proc")
@pytest.mark.usefixtures("short_is_long")
@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_after_a_run_hardly_any_of_a_long_tape_is_left_in_memory(
    tmp_path: Path, engine: str
) -> None:
    path = tmp_path / "long.tape"
    _, mapped = on_disk(path, 150_000)
    made, _ = session(mapped, every="1s")
    if engine == "plain":
        replay_plain(made, {MAIN: mapped})
    else:
        replay_compiled(made, mapped)
    # A page and what the system reads around it, in each of fourteen columns.
    assert resident(path) < 14 * 20 * 4096 < path.stat().st_size / 3


def test_a_tape_that_is_not_long_stays_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "short.tape"
    _, mapped = on_disk(path)
    made, _ = session(mapped, every="1s")
    replay_compiled(made, mapped)
    assert not mapped.long
    assert resident(path) > path.stat().st_size / 2


def test_what_was_released_is_read_again_when_it_is_needed(tmp_path: Path) -> None:
    kept, mapped = on_disk(tmp_path / "a.tape")
    before = list(mapped.rows())
    mapped.release((*NAMES, "large", "nothing"), len(mapped))
    mapped.release(NAMES, -5)
    assert list(mapped.rows()) == before == list(kept.rows())
