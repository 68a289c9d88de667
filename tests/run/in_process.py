"""Runs the command line in the process of the test: a new one takes seconds to load what the tests have loaded."""

from __future__ import annotations

import io
import json
import logging
import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkit import cli


@dataclass(frozen=True)
class Ended:
    """What a command printed and how it ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def mmkit(*words: object, cwd: Path) -> Ended:
    """Run ``mmkit WORDS``."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    before, level = Path.cwd(), logging.getLogger().level
    os.chdir(cwd)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            status = cli.main([str(word) for word in words])
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        os.chdir(before)
        logging.getLogger().setLevel(level)
    return Ended(status, *(one.buffer.getvalue().decode() for one in (out, err)))  # type: ignore[attr-defined]
