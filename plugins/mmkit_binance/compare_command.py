"""``mmkit compare-feeds``: websocket and REST polling side by side in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mmkit.instruments import InstrumentSpec
    from mmkit_binance.compare import Figures
    from mmkit_binance.compare_picture import Drawn


@click.command("compare-feeds", short_help="Websocket beside REST polling: delay, staleness, cost")
@click.option("--symbol", default="BTC/USDT:USDT", show_default=True, help="ccxt's symbol.")
@click.option(
    "--endpoint",
    type=click.Choice(["live", "testnet", "demo", "sandbox"]),
    default="sandbox",
    show_default=True,
    help="Where; 'mmkit sandbox' is the local one.",
)
@click.option("--sandbox", metavar="URL", help="Address of the sandbox.  [default: port 8787]")
@click.option(
    "--poll",
    "polls",
    multiple=True,
    metavar="TIME",
    help="How often to poll; may be repeated.  [default: 100ms and 1s]",
)
@click.option("--duration", default="30s", show_default=True, metavar="TIME", help="How long.")
@click.option(
    "--picture",
    "drawn",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw delay, staleness and cost there, as SVG.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def compare_feeds(
    symbol: str,
    endpoint: str,
    sandbox: str | None,
    polls: tuple[str, ...],
    duration: str,
    drawn: Path | None,
    as_json: bool,
) -> None:
    """Watch one symbol of Binance over its stream and by polling at once, and compare.

    Each feed has a process of its own. Delay is from the time that the exchange put on a change until the book here
    had it; behind is for how long, at each moment, the other feed had known what this one did not.
    """
    import msgspec

    from mmkit.errors import UsageError
    from mmkit.instruments import InstrumentSpec
    from mmkit.units import parse_duration

    pair, _, settle = symbol.partition(":")
    market = {"": "spot", pair.partition("/")[0]: "coinm"}.get(settle, "usdm")
    spec = InstrumentSpec(venue="binance", market=market, symbol=symbol)
    try:
        intervals = {poll: parse_duration(poll) / 1e9 for poll in polls or ("100ms", "1s")}
        lasts = parse_duration(duration) / 1e9
    except ValueError as error:
        raise UsageError(f"--poll and --duration: {error}") from error
    if min(*intervals.values(), lasts) <= 0:
        raise UsageError("--poll and --duration: a time above zero was expected, such as 100ms")
    services = {"sandbox": sandbox} if sandbox else {}
    if drawn is not None and not drawn.absolute().parent.is_dir():
        raise UsageError(
            f"--picture: a folder that exists was expected; found '{drawn.parent}', which does not; make it first"
        )
    found, feeds = _compare(spec, endpoint, services, intervals, lasts)
    if drawn is not None:
        from mmkit_binance.compare_picture import picture

        title = f"{_title(found)}, from {found['server']}"
        try:
            drawn.write_text(picture(title, found["measures"], feeds))
        except OSError as error:
            raise UsageError(f"--picture: '{drawn}' cannot be written: {error.strerror}") from error
    click.echo(msgspec.json.encode(found) if as_json else _table(found))


def _compare(
    spec: InstrumentSpec,
    endpoint: Any,
    services: dict[str, str],
    intervals: dict[str, float],
    lasts: float,
) -> tuple[dict[str, Any], list[Drawn]]:
    import asyncio
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    import numpy as np

    from mmkit.errors import UsageError
    from mmkit_binance.compare import (
        behind_of,
        delays_of,
        figures,
        measure_feed,
        shared_span,
        shortest_poll_s,
    )
    from mmkit_binance.compare_picture import Drawn
    from mmkit_binance.endpoints import addresses, routes, stream_names

    there = addresses(spec.venue, spec.market, endpoint, services)
    shortest = shortest_poll_s(spec.market, len(intervals))
    if not there.loopback and min(intervals.values()) < shortest:
        raise UsageError(
            f"--poll: with {len(intervals)} of them, {shortest:g}s or more keeps within half of the weight that "
            f"Binance allows an address; found {min(intervals.values()):g}s"
        )
    instrument, offset, uncertain = asyncio.run(_ask(spec, there))
    (route,) = routes(
        there, spec.market, stream_names(spec.market, instrument.native, ("depth",), "100ms")
    )
    jobs = {"websocket": None, **{f"REST every {name}": s for name, s in intervals.items()}}
    with ProcessPoolExecutor(len(jobs), multiprocessing.get_context("spawn")) as pool:
        running = {
            name: pool.submit(measure_feed, instrument, there, route.url, poll, lasts, offset)
            for name, poll in jobs.items()
        }
        seen = {name: job.result() for name, job in running.items()}
    span = shared_span(list(seen.values()))
    stream = seen["websocket"]
    fastest = min(intervals, key=lambda name: intervals[name])
    feeds = []
    for name, one in seen.items():
        against = f"REST every {fastest}" if name == "websocket" else "websocket"
        at, ids = (np.array(column, np.int64) for column in (one.at, one.ids))
        feeds.append(
            Drawn(
                figures(name, one, seen[against], stream, span),
                delays_of(at, ids, stream, span),
                behind_of(one, seen[against], span),
                against,
            )
        )
    found = {
        "symbol": spec.symbol,
        "market": spec.market,
        "server": there.rest,
        "seconds": (span[1] - span[0]) / 1e9,
        "clock_offset_ms": offset / 1e6,
        "clock_uncertain_ms": uncertain / 1e6,
        "measures": _measures(there.rest, there.loopback, offset, uncertain, fastest),
        "feeds": [feed.figures for feed in feeds],
    }
    return found, feeds


def _measures(server: str, loopback: bool, offset: int, uncertain: int, fastest: str) -> str:
    where = (
        "this machine itself, so no network is in the figures" if loopback else "the network away"
    )
    return (
        f"The server {server} is {where}; its clock is {offset / 1e6:+.1f} ms from ours, which was taken off, and "
        f"known to {uncertain / 1e6:.1f} ms, as is every delay. A delay begins with the time on the update, when the "
        "exchange sent it, up to 100 ms after the change itself, so that a poll may be ahead of it. The websocket is set against REST every "
        f"{fastest}, each REST against the websocket; all feeds share this machine's processors."
    )


async def _ask(spec: InstrumentSpec, there: Any) -> tuple[Any, int, int]:
    """Return the instrument, how far the exchange's clock is ahead, and how well that is known; ns."""
    import time

    import msgspec

    from mmkit_binance.listing import parse_listing
    from mmkit_binance.rest import Rest, patiently

    async with Rest(there) as rest:
        only = {"symbol": spec.base + spec.quote} if spec.market == "spot" else {}
        listed = await patiently(
            "exchangeInfo", lambda: rest.get("exchangeInfo", weight=20, **only)
        )
        samples = []
        for _ in range(5):
            sent = time.time_ns()
            raw = await patiently("time", lambda: rest.get("time"))
            received = time.time_ns()
            # The venue cuts its time down to the millisecond: half of one on average.
            server = int(msgspec.json.decode(raw)["serverTime"]) * 1_000_000 + 500_000
            samples.append((received - sent, server - (sent + received) // 2))
    round_trip, offset = min(samples)
    uncertain = round_trip // 2 + 500_000
    return parse_listing(listed, spec), offset if abs(offset) > uncertain else 0, uncertain


def _table(found: dict[str, Any]) -> str:
    heads: tuple[str, ...] = (
        "feed",
        "updates/s",
        "requests/s",
        "delay mean",
        "P50",
        "P95",
        "P99",
        "behind",
        "mean",
    )
    heads += ("P95", "max", "cpu", "memory", "received")
    lines: list[tuple[str, ...]] = [heads]
    rows: list[Figures] = found["feeds"]
    lines += [
        (
            row.feed,
            f"{row.updates_per_s:.1f}",
            f"{row.requests_per_s:.1f}",
            *(
                f"{one:.1f} ms"
                for one in (row.delay_mean, row.delay_p50, row.delay_p95, row.delay_p99)
            ),
            f"{row.behind_share:.0%}",
            *(f"{one:.1f} ms" for one in (row.behind_mean, row.behind_p95, row.behind_max)),
            f"{row.cpu_percent:.1f} %",
            f"{row.memory_mb:.0f} MB",
            f"{row.bytes_per_s / 1000:.1f} kB/s",
        )
        for row in rows
    ]
    widths = [max(len(line[n]) for line in lines) for n in range(len(heads))]
    table = [
        "  ".join(
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join([_title(found), *table, "", found["measures"]])


def _title(found: dict[str, Any]) -> str:
    return f"{found['symbol']} ({found['market']}), {found['seconds']:.1f} s"
