"""Measures, prints a table, and ends with one line of JSON: ``python -m benchmarks.backtest``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable

from .bench import Bench
from .convert import convert
from .engines import compiled_day, compiled_dense, python_day, python_dense
from .identical import identical
from .nautilus import nautilus
from .outcome import Finding, NotYetError
from .places import NotInstalledError
from .storage import bytes_per_row
from .sweep import sweep_64
from .whole import cold, warm_cpu_s

MEASUREMENTS: dict[str, tuple[Callable[[Bench], Finding], str, str]] = {
    "identical": (identical, "true", ""),
    "compiled_day": (compiled_day, "5", "8"),
    "compiled_dense": (compiled_dense, "5", "8"),
    "python_day": (python_day, "5", "14"),
    "python_dense": (python_dense, "1", "2"),
    "cold": (cold, "1.5", "3"),
    "warm_cpu_s": (warm_cpu_s, "< 1.5", "< 0.8"),
    "sweep_64": (sweep_64, "20", "60"),
    "bytes_per_row": (bytes_per_row, "56", "32"),
    "convert": (convert, "3", "10"),
    "nautilus": (nautilus, "", ""),
}
"""By name: how it is measured, what it must be and what is aimed at."""


def _measure(bench: Bench, name: str) -> Finding:
    try:
        return MEASUREMENTS[name][0](bench)
    except (NotYetError, NotInstalledError) as reason:
        return Finding(None, (f"not measured: {reason}",))
    except Exception as error:  # noqa: BLE001 - one that fails must not take the others with it
        return Finding(None, (f"failed: {type(error).__name__}: {error}",))


def _shown(value: float | bool | None) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else f"{value:.3g}"


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} is none of {', '.join(MEASUREMENTS)}"
        )
    return names


def main(arguments: list[str] | None = None) -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks.backtest", description=__doc__)
    parser.add_argument(
        "--only", type=_names, default=list(MEASUREMENTS), help="names, with commas between"
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs of each; medians are told")
    asked = parser.parse_args(arguments)
    if asked.repeats < 1:
        parser.error("--repeats must be at least 1")
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.machine()}")
    print(f"{'name':<16}{'figure':>8}{'must':>8}{'aim':>8}  how")
    bench = Bench(asked.repeats)
    findings: dict[str, Finding] = {}
    try:
        for name in asked.only:
            finding = findings[name] = _measure(bench, name)
            _, must, aim = MEASUREMENTS[name]
            first, *rest = finding.notes
            print(f"{name:<16}{_shown(finding.value):>8}{must:>8}{aim:>8}  {first}", flush=True)
            for note in rest:
                print(f"{'':<42}{note}", flush=True)
    finally:
        bench.close()
    print(json.dumps({name: _rounded(finding.value) for name, finding in findings.items()}))
    if any("failed:" in finding.notes[0] for finding in findings.values()):
        sys.exit(1)


def _rounded(value: float | bool | None) -> float | bool | None:
    return value if value is None or isinstance(value, bool) else round(value, 3)


if __name__ == "__main__":
    main()
