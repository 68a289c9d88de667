"""Runs the real command line in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def start(*arguments: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Start ``mmkit ARGUMENTS`` with its output captured."""
    code = "import sys; from mmkit.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )


def written(folder: Path, text: str, name: str = "config.yml") -> Path:
    """Write a file and return its path."""
    (folder / name).write_text(text)
    return folder / name
