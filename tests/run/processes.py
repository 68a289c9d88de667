"""Runs the real command line in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

CONFIG = """
instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}
services: [{plugin: sandbox}]
data: {plugin: binance, endpoint: sandbox}
strategy: {plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"}
"""


def write_config(userdir: Path, text: str = CONFIG) -> Path:
    """Write ``userdir/config.yml`` and return the folder."""
    (userdir / "strategies").mkdir(parents=True, exist_ok=True)
    (userdir / "config.yml").write_text(text)
    return userdir


def start(*arguments: object, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    """Start ``mmkit ARGUMENTS`` with its output captured."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from mmkit.cli import main; sys.exit(main())",
            *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        **options,
    )


class Ended:
    """What a process printed and how it ended."""

    def __init__(self, process: subprocess.Popen[str], timeout: float = 60) -> None:
        self.stdout, self.stderr = process.communicate(timeout=timeout)
        self.status = process.returncode

    @property
    def json(self) -> Any:
        """What it printed with ``--json``."""
        return json.loads(self.stdout)


def mmkit(*arguments: object, cwd: Path, **options: Any) -> Ended:
    """Run ``mmkit ARGUMENTS`` to its end."""
    return Ended(start(*arguments, cwd=cwd, **options))


def newest_run(userdir: Path) -> Path:
    """Return the newest run folder."""
    return max((userdir / "results").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


def journal(run: Path) -> list[dict[str, Any]]:
    """Return the entries of a run's journal."""
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
