"""Measures, prints tables, and ends with one line of JSON: ``python -m benchmarks.signals``."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable

from .features import features
from .part import Part

PARTS: dict[str, Callable[[], Part]] = {"features": features}
"""By name: what measures it."""


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(PARTS)}")
    return names


def main(arguments: list[str] | None = None) -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks.signals", description=__doc__)
    parser.add_argument(
        "--only", type=_names, default=list(PARTS), help="names, with commas between"
    )
    asked = parser.parse_args(arguments)
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.machine()}")
    figures: dict[str, float] = {}
    for name in asked.only:
        part = PARTS[name]()
        print("\n".join(part.lines), flush=True)
        figures |= part.figures
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
