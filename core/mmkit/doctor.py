"""Whether everything is in place for a run: one finding after the other, none of them raises."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmkit import __version__
from mmkit.clock import Clock, SystemClock
from mmkit.config import Config, load_config, loaded_plugins
from mmkit.discovery import reason_of
from mmkit.errors import ConfigError, MmkitError, UsageError
from mmkit.events import MAIN
from mmkit.plugins import Plugins
from mmkit.run.assembly import data_source, service

Status = Literal["ok", "warn", "fail"]

_OLDEST = (3, 11)  # pyproject.toml: requires-python
_NOT_FOR_USERS = {"all", "dev"}
_DATA_WAIT_S = 10.0
"""How long the first market data may take; a live source tries again for about five seconds."""
_CLOCK_WARN_NS = 500_000_000
"""Half of the second by which Binance lets a signed request be early."""
_DISK_WARN, _DISK_FAIL = 1 << 30, 100 << 20
"""A day of a liquid market is a few hundred MB."""


@dataclass(frozen=True)
class Finding:
    """One row.

    Attributes:
        name: What was looked at.
        status: ``ok``; ``warn`` if something is missing that a run may do without; ``fail``.
        message: What was found, and what to do about it.
    """

    name: str
    status: Status
    message: str


def examine(
    paths: Sequence[Path],
    overrides: Sequence[str] = (),
    *,
    userdir: Path | None = None,
    strategy: str | None = None,
) -> list[Finding]:
    """Return what was found; the arguments are those of `mmkit.config.load_config`."""
    findings = [_python(), Finding("mmkit", "ok", f"{__version__} in {Path(__file__).parent}")]
    findings += _extras()
    config: Config | None = None
    try:
        findings.append(_plugins(loaded_plugins(paths, overrides, userdir=userdir)))
        config = load_config(paths, overrides, userdir=userdir, strategy=strategy)
    except ConfigError as error:
        findings.append(Finding("config", "fail", str(error)))
    else:
        files = ", ".join(str(path) for path in config.files)
        findings.append(Finding("config", "ok", f"{files}: {config.strategy.name}, no mistakes"))
        findings += asyncio.run(_market(config))
    findings.append(_disk((config.userdir if config else userdir or Path("user_data")) / "results"))
    return findings


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST:
        return Finding(
            "python", "fail", f"{found}; {'.'.join(map(str, _OLDEST))} or later is needed"
        )
    return Finding("python", "ok", found)


def _extras() -> Iterator[Finding]:
    """Look at every optional dependency; one that is missing is no failure."""
    from importlib.metadata import PackageNotFoundError, requires, version

    wanted: dict[str, list[str]] = {}
    for requirement in requires("mmkit") or ():
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
        package = re.match(r"[A-Za-z0-9._-]+", requirement)
        if extra and package and extra[1] not in _NOT_FOR_USERS:
            wanted.setdefault(extra[1], []).append(package[0])
    for extra_name, packages in sorted(wanted.items()):
        there, missing = [], []
        for name in packages:
            try:
                there.append(f"{name} {version(name)}")
            except PackageNotFoundError:
                missing.append(name)
        if missing:
            message = f'{", ".join(missing)} not installed: pip install "mmkit[{extra_name}]"'
            yield Finding(f"extra {extra_name}", "warn", message)
        else:
            yield Finding(f"extra {extra_name}", "ok", ", ".join(there))


def _plugins(plugins: Plugins) -> Finding:
    infos = plugins.infos
    broken = [f"{info.name}: {info.error}" for info in infos if info.error]
    if broken:
        count = f"{len(broken)} of {len(infos)} failed to load"
        return Finding("plugins", "warn", "\n".join([count, *broken]))
    names = ", ".join(info.name for info in infos if not info.disabled)
    return Finding("plugins", "ok", names)


async def _market(config: Config) -> list[Finding]:
    """Start the services, listen to the data for a moment, compare the clocks."""
    clock = SystemClock()
    findings: list[Finding] = []
    async with contextlib.AsyncExitStack() as stack:
        endpoints: dict[str, str] = {}
        for chosen in config.services:
            try:
                started = service(config, chosen, clock)
                stack.push_async_callback(started.stop)
                endpoints[chosen.name] = await started.start()
            except Exception as error:  # noqa: BLE001 - foreign code
                findings.append(Finding(f"service {chosen.name}", "fail", _said(error)))
            else:
                address = endpoints[chosen.name] or "started"
                findings.append(Finding(f"service {chosen.name}", "ok", address))
        for market, one in config.markets.items():
            name = f"data {one.data.name}" if market == MAIN else f"data {market}"
            try:
                findings += await _listen(config, clock, endpoints, market, name)
            except Exception as error:  # noqa: BLE001 - foreign code
                findings.append(Finding(name, "fail", _said(error)))
    return findings


async def _listen(
    config: Config, clock: Clock, endpoints: dict[str, str], market: str, name: str
) -> list[Finding]:
    source = data_source(config, clock, endpoints, market)
    try:
        async with asyncio.timeout(_DATA_WAIT_S):
            instrument = await source.instrument()
            told = f"{instrument.symbol}, tick {instrument.tick}, lot {instrument.lot}"
            began = time.monotonic()
            try:
                rows = source.stream()
                await anext(rows)
            except UsageError:  # recorded data: there is nothing to listen to
                return [Finding(name, "ok", f"{told}, recorded"), _clock([], market)]
            waited_ms = (time.monotonic() - began) * 1e3
        await _ended(rows)
    except TimeoutError:
        words = f"nothing arrived within {_DATA_WAIT_S:g} s; is the network up?"
        return [Finding(name, "fail", words)]
    finally:
        await source.close()
    first = Finding(name, "ok", f"{told}, first data after {waited_ms:.0f} ms")
    return [first, _clock(source.stats.clock_offset_ns, market)]


async def _ended(rows: AsyncIterator[object]) -> None:
    close = getattr(rows, "aclose", None)
    if close is not None:
        await close()


def _clock(offsets_ns: Sequence[int], market: str) -> Finding:
    """Compare with the venue's clock if it told the time; else only see that ours goes forward."""
    name = "clock" if market == MAIN else f"clock {market}"
    if offsets_ns:
        offset = offsets_ns[-1]
        told = f"{abs(offset) / 1e6:.1f} ms {'behind' if offset > 0 else 'ahead of'} the venue's"
        if abs(offset) < _CLOCK_WARN_NS:
            return Finding(name, "ok", told)
        return Finding(name, "warn", f"{told}; synchronise it, such as with chrony or ntpd")
    wall, steady = time.time_ns(), time.monotonic_ns()
    time.sleep(0.05)
    drift = abs((time.time_ns() - wall) - (time.monotonic_ns() - steady))
    if drift > 10_000_000:
        return Finding(name, "warn", f"it was set by {drift / 1e6:.0f} ms within 50 ms")
    return Finding(name, "ok", "it goes forward; no venue to compare with")


def _disk(results: Path) -> Finding:
    folder = results.absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
        probe = folder / ".mmkit-doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Finding("disk", "fail", f"{folder} cannot be written to: {error.strerror}")
    told = f"{free / (1 << 30):.1f} GiB free for {results}"
    if free < _DISK_FAIL:
        return Finding("disk", "fail", f"{told}; a run would soon stop")
    return Finding("disk", "warn" if free < _DISK_WARN else "ok", told)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, MmkitError) else reason_of(error)
