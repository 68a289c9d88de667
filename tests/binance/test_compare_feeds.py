"""`mmkit compare-feeds`: its arithmetic beside a slow and obvious one, and a run on the sandbox."""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.errors import FeedError
from mmkit_binance import rest
from mmkit_binance.compare import (
    GRID_NS,
    Figures,
    Seen,
    behind_of,
    delays_of,
    shortest_poll_s,
)
from mmkit_binance.compare_command import compare_feeds
from mmkit_binance.compare_picture import Drawn, picture

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
    ended = run(tmp_path, *words, "--picture", "feeds.svg")

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
    drawn = (tmp_path / "feeds.svg").read_text()
    said = [words for words, *_ in placed(drawn)]
    assert found["measures"] in " ".join(said)
    assert said[0] == f"BTC/USDT:USDT (usdm), {found['seconds']:.1f} s, from {found['server']}"
    for row in (stream, poll):
        assert said.count(row["feed"]) == 2  # the legend, and its lane
        for name in ("delay_mean", "delay_p50", "delay_p95", "delay_p99"):
            assert f"{row[name]:,.1f} ms" in said
        assert f"{row['updates_per_s']:,.1f}/s" in said
        assert f"{row['cpu_percent']:,.1f} %" in said
        assert f"{row['memory_mb']:,.0f} MB" in said
        assert f"{row['bytes_per_s'] / 1000:,.1f} kB/s" in said


Words = tuple[str, float, float, float, float]


def placed(svg: str) -> list[Words]:
    """Return the words of a picture, each with left, top, right and bottom, at letters of an average width."""
    found = []
    for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        assert one.text is not None
        size, x, y = (float(one.attrib[name]) for name in ("font-size", "x", "y"))
        wide = len(one.text) * size * (0.62 if "font-weight" in one.attrib else 0.56)
        left = x - wide * {"start": 0, "middle": 0.5, "end": 1}[one.attrib["text-anchor"]]
        found.append((one.text, left, y - size * 0.75, left + wide, y + size * 0.2))
    return found


def one_feed(number: int, typical_ms: float, spread: float, late: float) -> Drawn:
    """Return a feed with delays about `typical_ms`, which is behind for `late` ms at most."""
    chance = np.random.default_rng(number)
    delays = (typical_ms * chance.lognormal(0, spread, 300) - 0.5) * MS
    behind = chance.integers(0, max(1, int(late * MS)), 3000) * (chance.random(3000) < 0.7)
    behind = behind.astype(np.int64)
    p50, p95, p99 = (float(one) for one in np.percentile(delays / MS, (50, 95, 99)))
    numbers = Figures(
        feed="websocket" if not number else f"REST every {number}00ms",
        updates_per_s=10.0 / (number + 1),
        requests_per_s=float(number),
        changes=300,
        delay_mean=float(delays.mean()) / MS,
        delay_p50=p50,
        delay_p95=p95,
        delay_p99=p99,
        behind_share=float((behind > 0).mean()),
        behind_mean=float(behind.mean()) / MS,
        behind_p95=float(np.percentile(behind, 95)) / MS,
        behind_max=float(behind.max()) / MS,
        cpu_percent=99.9,
        memory_mb=1234.5,
        bytes_per_s=1e6,
    )
    against = "REST every 100ms" if not number else "websocket"
    return Drawn(numbers, delays.astype(np.int64), behind, against)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.floats(0.001, 5000), st.floats(0, 2), st.floats(0, 9000)),
        min_size=2,
        max_size=6,
    )
)
def test_in_the_picture_no_words_overlap_or_leave_it_and_each_line_ends_at_all_changes(
    kinds: list[tuple[float, float, float]],
) -> None:
    feeds = [one_feed(number, *kind) for number, kind in enumerate(kinds)]
    svg = picture("BTC/USDT:USDT (usdm), 30.0 s", "What it measures is told here. " * 15, feeds)
    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    words = placed(svg)
    for text, left, top, right, bottom in words:
        assert min(left, top) >= 0, text
        assert right <= width, text
        assert bottom <= height, text
    for (text, left, top, right, bottom), other in itertools.combinations(words, 2):
        apart = right <= other[1] or other[3] <= left or bottom <= other[2] or other[4] <= top
        assert apart, (text, other[0])
    lines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == len(feeds)
    ends = []
    for line, feed in zip(lines, feeds, strict=True):
        points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        assert points == sorted(points, key=lambda point: (point[0], -point[1]))
        ends.append((float(feed.delays.max()), points[-1][0]))
    slow_last = sorted(ends)
    assert [x for _, x in slow_last] == sorted(x for _, x in ends)


def test_a_picture_in_a_folder_that_is_not_there_is_refused_before_anything_is_measured(
    tmp_path: Path,
) -> None:
    ended = run(tmp_path, "--sandbox", "http://127.0.0.1:1", "--picture", "no/feeds.svg")

    assert ended.returncode == 2
    assert "a folder that exists was expected; found 'no'" in ended.stderr


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
