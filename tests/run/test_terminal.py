"""A run on a terminal that takes no output: a real one, that nobody reads, or that was stopped with Ctrl-S."""

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import journal, mmkit, newest_run, write_config

CTRL_C, CTRL_S = b"\x03", b"\x13"
OUT_OF_THE_SCREEN = b"\x1b[?1049l"


def orders(run: Path) -> int:
    return sum(one["type"] == "SubmitOrder" for one in journal(run))


def on_a_terminal(userdir: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Return a run that quotes, and our end of its terminal."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from mmkit.cli import main; sys.exit(main())",
            *("trade", "-c", userdir / "config.yml"),
        ],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=userdir.parent,
        preexec_fn=lambda: os.login_tty(its),  # noqa: PLW1509 - no thread of this test holds a lock
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(its)
    until = time.monotonic() + 30
    while b"quoting" not in os.read(ours, 65536):
        assert time.monotonic() < until
    return process, ours


def rest_of(terminal: int) -> bytes:
    """Read until its other end is gone."""
    said = b""
    try:
        while piece := os.read(terminal, 65536):
            said += piece
    except OSError:
        pass  # EIO is how Linux says it
    os.close(terminal)
    return said


def by_a_signal(process: subprocess.Popen[bytes], userdir: Path) -> None:
    process.terminate()


def by_stop(process: subprocess.Popen[bytes], userdir: Path) -> None:
    told = mmkit("stop", "--userdir", userdir, cwd=userdir.parent)
    assert (told.status, told.stdout[-8:]) == (0, ": ended\n"), told.stderr


@pytest.mark.parametrize(
    ("typed", "end", "status"),
    [(b"", by_a_signal, 130), (CTRL_S, by_stop, 0)],
    ids=["nobody reads", "Ctrl-S"],
)
def test_a_terminal_that_takes_no_output_holds_up_neither_quotes_nor_the_end(
    typed: bytes,
    end: Callable[[subprocess.Popen[bytes], Path], None],
    status: int,
    tmp_path: Path,
) -> None:
    userdir = write_config(tmp_path / "user_data")
    process, terminal = on_a_terminal(userdir)
    run = newest_run(userdir)
    os.write(terminal, typed)
    # By now the little that a terminal keeps is full.
    time.sleep(2)
    before = orders(run)
    time.sleep(2.5)
    assert orders(run) > before

    end(process, userdir)
    until = time.monotonic() + 10
    while not (run / "report.json").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    # All that it still waits for is somebody who reads.
    if typed:
        os.write(terminal, b"\x11")  # Ctrl-Q
    said = rest_of(terminal)

    assert process.wait(10) == status
    # The results are seen: they come after the end of the screen.
    assert b"fills" in said.rpartition(OUT_OF_THE_SCREEN)[2]


def test_ctrl_c_ends_a_run_whose_terminal_was_stopped(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data")
    process, terminal = on_a_terminal(userdir)
    os.write(terminal, CTRL_S)
    time.sleep(1.5)

    os.write(terminal, CTRL_C)

    said = rest_of(terminal)
    assert process.wait(10) == 130
    assert b"fills" in said.rpartition(OUT_OF_THE_SCREEN)[2]
