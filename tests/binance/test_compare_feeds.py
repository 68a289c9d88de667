"""`mmkit compare-feeds`: its arithmetic beside a slow and obvious one, and a run on the sandbox."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.errors import FeedError
from mmkit_binance import rest
from mmkit_binance.compare import GRID_NS, Seen, behind_of, delays_of, shortest_poll_s
from mmkit_binance.compare_command import compare_feeds

MS = 1_000_000
LASTS = 40 * GRID_NS


def seen(rows: list[tuple[int, int]]) -> Seen:
    """Return a feed that had these update ids at these ms, each told 3 ms before."""
    at = sorted(ms * MS + 500 for ms, _ in rows)
    ids = sorted(number for _, number in rows)
    return Seen(at, ids, [one - 3 * MS for one in at], 0, 0, 0.0, 0)


feeds = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60)), min_size=1, max_size=15).map(
    seen
)


@settings(deadline=None)
@given(feeds, feeds)
def test_behind_is_how_long_the_other_has_known_more_at_each_moment(
    mine: Seen, other: Seen
) -> None:
    expected = []
    for moment in range(0, LASTS, GRID_NS):
        had = max(
            [one for at, one in zip(mine.at, mine.ids, strict=True) if at <= moment], default=0
        )
        news = [at for at, one in zip(other.at, other.ids, strict=True) if one > had]
        expected.append(moment - news[0] if news and news[0] <= moment else 0)
    assert behind_of(mine, other, (0, LASTS)).tolist() == expected


@settings(deadline=None)
@given(feeds, feeds)
def test_a_delay_lasts_from_the_exchanges_time_until_the_book_has_the_change(
    mine: Seen, stream: Seen
) -> None:
    expected = []
    for told, change in zip(stream.told, stream.ids, strict=True):
        there = [at for at, one in zip(mine.at, mine.ids, strict=True) if one >= change]
        if 0 <= told < LASTS and there:
            expected.append(there[0] - told)
    at, ids = (np.array(column, np.int64) for column in (mine.at, mine.ids))
    assert delays_of(at, ids, stream, (0, LASTS)).tolist() == expected


def mmkit(*words: object) -> tuple[str, ...]:
    command = "import sys; from mmkit.cli import main; sys.exit(main())"
    return sys.executable, "-c", command, *map(str, words)


def run(cwd: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        mmkit("compare-feeds", *words),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )


@pytest.fixture
def sandbox() -> Iterator[str]:
    """A sandbox in a process of its own, as a person would start one."""
    command = mmkit("sandbox", "--port", 0, "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.terminate()


def test_on_the_sandbox_a_slow_poll_is_later_than_the_stream_and_told_with_what_it_measures(
    sandbox: str, tmp_path: Path
) -> None:
    words = ("--sandbox", sandbox, "--duration", "4s", "--poll", "500ms", "--json")
    ended = run(tmp_path, *words)

    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    stream, poll = found["feeds"]
    assert (stream["feed"], poll["feed"]) == ("websocket", "REST every 500ms")
    assert stream["delay_p50"] < poll["delay_p50"]
    assert 100 < poll["delay_mean"] < 500
    assert poll["behind_mean"] > stream["behind_mean"]
    assert stream["updates_per_s"] > poll["updates_per_s"]
    assert 1.5 < poll["requests_per_s"] < 3
    for row in (stream, poll):
        assert row["delay_p50"] <= row["delay_p95"] <= row["delay_p99"]
        assert 10 < row["memory_mb"] < 1000
        assert row["bytes_per_s"] > 0
        assert row["cpu_percent"] > 0
    assert "this machine itself, so no network is in the figures" in found["measures"]
    assert "its clock is" in found["measures"]


def test_polling_beyond_half_of_what_the_venue_allows_is_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    assert shortest_poll_s("spot", 1) == 0.1
    ended = run(tmp_path, "--endpoint", "live", "--poll", "100ms", "--poll", "1s")

    assert ended.returncode == 2
    assert "0.5s or more keeps within half of the weight" in ended.stderr


def test_nobody_there_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "FIRST_DELAYS_S", (0.01, 0.01, 0.02, 0.02))
    with pytest.raises(FeedError, match="start it with 'mmkit sandbox'"):
        compare_feeds.main(["--sandbox", "http://127.0.0.1:1"], standalone_mode=False)
