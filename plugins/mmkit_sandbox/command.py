"""``mmkit sandbox``: the local exchange on its own."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Run a local exchange that speaks Binance's protocol")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8787,  # where `endpoint: sandbox` looks
    show_default=True,
    help="Port to listen on; 0 for any that is free.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Decides the order flow.")
@click.option(
    "--symbol",
    "symbols",
    multiple=True,
    metavar="SYMBOL",
    help="What is listed, such as BTC/USDT (spot), BTC/USDT:USDT (USD-M) or BTC/USD:BTC (COIN-M); may be "
    "repeated.  [default: these three]",
)
@click.option(
    "--funding-every",
    metavar="TIME",
    default="8h",
    show_default=True,
    help="Between payments of funding, on USD-M and COIN-M.",
)
@click.option(
    "--replay",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Play a recorded capture instead of an order flow; may be repeated.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0, 10_000, min_open=True),
    default=1.0,
    show_default=True,
    help="How many times faster than recorded a capture is played.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="Something that goes wrong: 'WHEN WHAT [HOW LONG] [STREAM]', such as '12s silent 5s trade'; "
    "may be repeated.",
)
@click.option("--faults-every", metavar="TIME", help="Faults by chance, on average so often.")
@click.option(
    "--faults-kind",
    "faults_kinds",
    multiple=True,
    metavar="WHAT",
    help="What may go wrong by chance; may be repeated.  [default: everything about public data]",
)
@click.option("--faults-seed", type=int, default=1, show_default=True, help="Decides the chance.")
@click.option(
    "--gateway-fault",
    "gateway_faults",
    multiple=True,
    metavar="FAULT",
    help="Something that goes wrong with the language model's answers: 'WHICH WHAT [HOW LONG]', such as "
    "'3 hang' or '20% cut'; may be repeated.",
)
@click.option("--duration", metavar="TIME", help="End by itself after this time, such as 30s.")
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one JSON object.")
def sandbox(
    *,
    host: str,
    port: int,
    seed: int,
    symbols: tuple[str, ...],
    funding_every: str,
    replay: tuple[Path, ...],
    speed: float,
    faults: tuple[str, ...],
    faults_every: str | None,
    faults_kinds: tuple[str, ...],
    faults_seed: int,
    gateway_faults: tuple[str, ...],
    duration: str | None,
    as_json: bool,
) -> None:
    """Run a local exchange that speaks Binance's protocol, spot, USD-M and COIN-M.

    Without --replay its markets trade by themselves, and the same --seed always makes the same
    market. With --replay FILE the streams say what was recorded, when it was recorded; the
    capture starts once somebody subscribes or asks for the time. With --fault or --faults-every
    things go wrong; what has is told by a GET of /sandbox/faults. Without --replay orders can be
    placed in all of them, by a demo account whose key and secret are printed.

    The same address answers for a language model, under /v1: that is a rule and says so.
    """
    import asyncio

    from mmkit_sandbox.foreground import config_of, faults_of, gateway_of, seconds, serve
    from mmkit_sandbox.listing import Listing

    lasts = seconds(duration)
    for symbol in symbols:
        Listing.of(symbol)  # a symbol that cannot be listed is a mistake in the command line here
    config = config_of(
        host=host,
        port=port,
        seed=seed,
        symbols=symbols or ("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"),
        funding_every=funding_every,
        replay=replay,
        speed=speed,
        faults=faults_of(faults, faults_every, faults_kinds, faults_seed),
        gateway=gateway_of(gateway_faults, faults_seed),
    )
    try:
        asyncio.run(serve(config, lasts, as_json))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
