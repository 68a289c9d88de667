"""Where peers, feeds and kept tapes lie; makes what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

HFTBACKTEST = "hftbacktest==2.4.4"
NAUTILUS = "nautilus_trader==1.221.*"

_FEEDS = {
    "day": ("8e6", "24"),
    "dense": ("8.2e6", "4"),
}  # events, hours: ../shared/oracle/README.md


class NotInstalledError(Exception):
    """A peer cannot be had here; says why."""


@dataclass(frozen=True)
class Feed:
    """One synthetic feed: its events, twice, and the book that they begin with."""

    name: str
    npy: Path
    npz: Path
    snapshot: Path


class Places:
    """Folders of a benchmark.

    ``BENCH_DIR`` is where everything is made, by default ``.bench``. ``FEED_DIR``, ``BENCH_PEER_PYTHON`` and
    ``BENCH_NAUTILUS_PYTHON`` name a folder of feeds and interpreters that are there already.
    """

    def __init__(self) -> None:
        self.root = Path(os.environ.get("BENCH_DIR") or REPOSITORY / ".bench").resolve()
        self.shared = Path(os.environ.get("SHARED_DIR") or REPOSITORY.parent / "shared").resolve()
        self.captures = self.shared / "data" / "binance_usdm"
        self.feeds = Path(os.environ.get("FEED_DIR") or self.root / "feed").resolve()
        self.tapes = self.root / "tapes"
        self.converted = self.root / "converted"
        for folder in (self.tapes, self.converted):
            folder.mkdir(parents=True, exist_ok=True)

    def peer_python(self) -> Path:
        """Return an interpreter that has hftbacktest; installs it, about 900 MB, if need be.

        Raises:
            NotInstalledError: if that fails.
        """
        return self._interpreter("BENCH_PEER_PYTHON", "hftbacktest", HFTBACKTEST)

    def nautilus_python(self) -> Path:
        """Return an interpreter that has nautilus_trader; installs it if need be.

        Raises:
            NotInstalledError: if that fails.
        """
        return self._interpreter("BENCH_NAUTILUS_PYTHON", "nautilus", NAUTILUS)

    def feed(self, name: str) -> Feed:
        """Return a feed, ``day`` or ``dense``; makes it, in about 10 s, if need be."""
        feed = Feed(
            name,
            self.feeds / f"{name}.npy",
            self.feeds / f"{name}.npz",
            self.feeds / f"{name}_snap.npz",
        )
        if not all(path.exists() for path in (feed.npy, feed.npz, feed.snapshot)):
            _say(f"making the feed {name}")
            self.feeds.mkdir(parents=True, exist_ok=True)
            script = self.shared / "oracle" / "gen_feed.py"
            subprocess.run(
                [self.peer_python(), script, *_FEEDS[name], self.feeds / name],
                check=True,
                stdout=sys.stderr,
            )
        return feed

    def _interpreter(self, variable: str, folder: str, requirement: str) -> Path:
        if given := os.environ.get(variable):
            return Path(given)
        python = self.root / folder / "bin" / "python"
        done = self.root / folder / ".installed"
        if not done.exists():
            _say(f"installing {requirement}")
            try:
                subprocess.run([sys.executable, "-m", "venv", self.root / folder], check=True)
                subprocess.run(
                    [python, "-m", "pip", "install", "--quiet", requirement],
                    check=True,
                    stdout=sys.stderr,
                )
            except (OSError, subprocess.CalledProcessError) as error:
                raise NotInstalledError(
                    f"{requirement} cannot be installed here: {error}"
                ) from error
            done.write_text(f"{requirement}\n")
        return python


def _say(what: str) -> None:
    print(f"bench-backtest: {what} ...", file=sys.stderr, flush=True)
