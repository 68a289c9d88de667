"""What is drawn on a terminal: real commands on a pseudo terminal, read by a terminal emulator."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pyte
import pytest
from processes import write_config
from signal_runs import MS, model

CONFIG = """
instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}
services: [{plugin: sandbox, symbols: ["BTC/USDT:USDT", "ETH/USDT:USDT"]}]
data: {plugin: binance, endpoint: sandbox}
strategy: {plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"}
"""
COMMAND = "import sys; from mmkit.cli import main; sys.exit(main())"
# Without the size of the terminal that the tests are run from, which would go for this one's.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")
}
ENVIRONMENT |= {"TERM": "xterm-256color"}
ALTERNATE, MAIN = b"\x1b[?1049h", b"\x1b[?1049l"
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    """A terminal of a size, with a command in it.

    Attributes:
        raw: All that was written to it so far.
    """

    def __init__(self, columns: int, lines: int, words: tuple[str, ...], cwd: Path) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self.child = pexpect.spawn(
            sys.executable,
            ["-c", COMMAND, *words],
            dimensions=(lines, columns),
            cwd=str(cwd),
            env=ENVIRONMENT,  # type: ignore[arg-type]
        )

    def read(self, seconds: float, until: str | Callable[[list[str]], bool] = "") -> list[str]:
        """Return the screen after so long, or when it shows something, or is as it should be."""
        end = time.monotonic() + seconds

        def there() -> bool:
            return until in "\n".join(self.lines) if isinstance(until, str) else until(self.lines)

        while time.monotonic() < end and (not until or not there()):
            try:
                said = self.child.read_nonblocking(1 << 16, 0.1)
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                break
            self.raw += said
            self._stream.feed(said)
        assert there(), self.lines
        return self.lines

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    def resize(self, columns: int, lines: int) -> None:
        self.child.setwinsize(lines, columns)
        self._screen.resize(lines, columns)

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C; return the exit status and what was written after the screen was left."""
        self.child.sendintr()
        self.read(10)
        self.child.close()
        return int(self.child.exitstatus), self.raw.rpartition(MAIN)[2].decode()


@contextmanager
def terminal(
    tmp_path: Path, columns: int, lines: int, command: str, *words: str, more: str = ""
) -> Iterator[Terminal]:
    write_config(tmp_path / "user_data", CONFIG + more)
    one = Terminal(columns, lines, (command, "-c", "user_data/config.yml", *words), tmp_path)
    try:
        yield one
    finally:
        one.child.close(force=True)


SHOWN = {
    "trade": (
        "mmkit join_best on",
        "feed latency",
        "Ctrl-C pulls the quotes, prints the summary and ends.",
    ),
    "watch": ("mmkit watch ", "BTC/USDT:USDT", "Ctrl-C prints the summary and ends."),
    "record": ("mmkit record ", "BTC/USDT:USDT", "Ctrl-C prints the summary and ends."),
}
SUMMARY = {"trade": "strategy      join_best", "watch": "time ", "record": "recorded "}


@pytest.mark.parametrize("command", list(SHOWN))
def test_a_screen_fits_also_when_it_shrinks_and_ctrl_c_leaves_a_cursor_and_a_summary(
    command: str, tmp_path: Path
) -> None:
    head, known, hint = SHOWN[command]

    def whole(lines: list[str], width: int) -> bool:
        """Whether nothing is being drawn just now: from the first line to the last, each once."""
        filled = [line for line in lines if line]
        return (
            lines[0].startswith(head[:width])
            and filled[-1][: width - 2] == hint[: width - 2]
            and sum(line.startswith(head) for line in lines) == 1
            and sum(line.startswith(hint[:30]) for line in lines) == 1
        )

    with terminal(tmp_path, 80, 24, command) as one:
        one.read(60, until="synchronised" if command == "record" else known)
        large = one.read(20, until=lambda lines: whole(lines, 80))
        one.resize(40, 10)
        one.read(20, until=lambda lines: whole(lines, 40))
        status, left = one.interrupt()

    assert any(known in line for line in large)
    assert any(line.startswith("╭") and line.endswith("╮") for line in large)
    assert status == 130
    assert one.raw.count(ALTERNATE) == one.raw.count(MAIN) == 1
    assert one.raw.rindex(SHOW) > one.raw.rindex(HIDE)
    assert left.startswith(SUMMARY[command])
    assert "\x1b" not in left.replace(SHOW.decode(), "")
    assert "Traceback" not in left


def test_the_screen_shows_what_signals_say_how_old_it_is_and_what_went_wrong(
    tmp_path: Path,
) -> None:
    rule = model("imbalance", 50 * MS, 1)
    signals = f"""
signals:
  - {{plugin: imbalance, model: {rule}, as: steady, expires: 1h}}
  - {{plugin: imbalance, model: {rule}, as: brief, every: 500ms, expires: 200ms}}
  - {{plugin: imbalance, model: {rule}, as: hopeless, expires: 1ns}}
"""
    said = re.compile(r"(\d+ / ){2}\d+ %$")

    def whole(lines: list[str]) -> bool:
        """Whether all there is to be said of the three stands there, one below the other."""
        at = next((n for n, line in enumerate(lines) if "down / flat / up" in line), len(lines))
        rows = lines[at + 1 : at + 7]
        return (
            len(rows) == 6
            and said.search(rows[0]) is not None
            and " steady " in rows[0]
            and re.search(r"age +0\.\d s$", rows[1]) is not None
            and said.search(rows[2]) is not None
            and re.search(r"age +expired, 0\.\d s$", rows[3]) is not None
            and re.search(r"hopeless +not known yet$", rows[4]) is not None
            and re.search(r"late / failed +\d+ / 0$", rows[5]) is not None
        )

    with terminal(tmp_path, 80, 24, "trade", more=signals) as one:
        one.read(60, until=whole)
        one.resize(40, 20)
        one.read(20, until=lambda lines: whole(lines) and max(map(len, lines)) <= 40)
        status, left = one.interrupt()
    assert status == 130
    assert "Traceback" not in left


def test_a_failed_market_is_on_the_screen_and_in_the_summary(tmp_path: Path) -> None:
    symbols = ("--symbol", "BTC/USDT:USDT", "--symbol", "LTC/USDT:USDT")
    with terminal(tmp_path, 80, 24, "record", *symbols) as one:
        screen = one.read(60, until="FAILED LTC/USDT:USDT, not tried again: ")
        one.read(60, until="synchronised symbol=BTCUSDT")
        status, left = one.interrupt()

    assert sum("FAILED" in line for line in screen) == 1
    assert status == 3
    assert "1 of 2 markets failed" in left


def test_of_many_symbols_a_small_screen_shows_as_many_as_fit_and_says_how_many_do_not(
    tmp_path: Path,
) -> None:
    bases = ("BTC", "ETH", "SOL", "XRP", "BNB", "ADA", "TRX", "DOT", "LTC")
    symbols = tuple(word for base in bases for word in ("--symbol", f"{base}/USDT:USDT"))
    with terminal(tmp_path, 40, 10, "record", *symbols) as one:
        screen = one.read(60, until="FAILED: 5 more")
        one.interrupt()

    assert sum(line.startswith("FAILED ") for line in screen) == 2
    assert any(line.startswith("BTC/USDT:USDT") for line in screen)
    assert screen[-1] == "" or screen[-1].startswith("Ctrl-C")
