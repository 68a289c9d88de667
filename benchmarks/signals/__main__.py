"""Measures, prints tables, and ends with one line of JSON: ``python -m benchmarks.signals``."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable

from .epoch import epoch
from .features import features
from .lightgbm import lightgbm
from .lstm import lstm
from .part import Part, Sizes

PARTS: dict[str, Callable[[Sizes], Part]] = {
    "features": features,
    "lstm": lstm,
    "lightgbm": lightgbm,
    "epoch": epoch,
}
"""By name: what measures it."""


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(PARTS)}")
    return names


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"1 or more was expected; found {count}")
    return count


def main(arguments: list[str] | None = None) -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks.signals", description=__doc__)
    parser.add_argument(
        "--only", type=_names, default=list(PARTS), help="names, with commas between"
    )
    usual = Sizes()
    parser.add_argument(
        "--messages", type=_count, default=usual.messages, help="that are streamed, at most"
    )
    parser.add_argument("--repeats", type=_count, default=usual.repeats, help="of each batch")
    parser.add_argument(
        "--calls", type=_count, default=usual.calls, help="predictions of each candidate"
    )
    parser.add_argument("--windows", type=_count, default=usual.windows, help="of an epoch")
    asked = parser.parse_args(arguments)
    sizes = Sizes(asked.messages, asked.repeats, asked.calls, asked.windows)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.machine()}, load "
        f"{os.getloadavg()[0]:.1f}"
    )
    figures: dict[str, float] = {}
    for name in asked.only:
        part = PARTS[name](sizes)
        print("\n" + "\n".join(part.lines), flush=True)
        figures |= part.figures
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
