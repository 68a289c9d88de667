"""The sandbox as a service that runs beside a run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from mmkit.errors import ConfigError, Mistake, UsageError
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import PluginConfig, Service, ServiceContext
from mmkit.units import Duration, Exact, format_duration
from mmkit_sandbox.accountconfig import AccountConfig, demo
from mmkit_sandbox.accounts import Accounts
from mmkit_sandbox.desk import Desk
from mmkit_sandbox.exchange import Exchange
from mmkit_sandbox.faults import FaultsConfig, impossible, planned, possible
from mmkit_sandbox.funding import USUAL, FundingTerms
from mmkit_sandbox.gateway import Gateway, GatewayConfig
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.pace import Pace
from mmkit_sandbox.replay import open_replay
from mmkit_sandbox.server import SandboxServer
from mmkit_sandbox.signing import public_key
from mmkit_sandbox.simulation import SimulatedExchange
from mmkit_sandbox.trouble import Trouble

_S, _MS = 1_000_000_000, 1_000_000


class Config(PluginConfig):
    """What may be written beside ``plugin: sandbox``."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(0, ge=0, le=65535, description="Port to listen on; 0 for any that is free.")
    seed: int = Field(1, description="Decides the order flow: the same seed, the same market.")
    symbols: tuple[str, ...] = Field(
        (), description="What is listed, such as BTC/USDT:USDT; the run's instruments if empty."
    )
    halted: tuple[str, ...] = Field(
        (), description="Of what is listed: symbols that take no orders, such as BTC/USDT."
    )
    clock_ahead: Duration = Field(
        0, description="The exchange's clock is so far ahead of this machine's, such as 60s."
    )
    clock_behind: Duration = Field(0, description="Likewise, behind it.")
    price: Exact | None = Field(None, gt=0, description="Where the market starts.")
    tick: Exact | None = Field(
        None, gt=0, description="Price step; the instrument's, or BTCUSDT's."
    )
    lot: Exact | None = Field(None, gt=0, description="Quantity step; likewise.")
    volatility: float = Field(
        0.9, gt=0, le=100, description="In bps per square root of a second; 0.9 is 50 % a year."
    )
    funding_every: Duration = Field(
        USUAL.every_ms * _MS,
        gt=0,
        description="Between payments of funding, on USD-M and COIN-M; whole seconds.",
    )
    funding_rate: Exact = Field(
        USUAL.rate,
        gt=-1,
        lt=1,
        decimal_places=8,
        description="Share of a position's value that longs pay shorts then; 0 for none.",
    )
    replay: tuple[Path, ...] = Field((), description="Captures to play instead of an order flow.")
    speed: float = Field(1.0, gt=0, le=10_000, description="How fast a capture is played.")
    hold: bool = Field(
        True, description="Start a capture only when somebody subscribes or asks for the time."
    )
    accounts: tuple[AccountConfig, ...] = Field(
        (), description="Who may trade here; one demo account that all know if empty."
    )
    faults: FaultsConfig = Field(
        FaultsConfig(), description="What goes wrong, by chance or at given times."
    )
    gateway: GatewayConfig = Field(
        GatewayConfig(), description="The language model at the same address, which is a rule."
    )

    @field_validator("funding_every")
    @classmethod
    def _whole_seconds(cls, value: int) -> int:
        if value % _S:
            found = format_duration(value)
            raise ValueError(
                f"whole seconds were expected, as the mark price is told; found {found}"
            )
        return value

    @model_validator(mode="after")
    def _accounts_that_can_be(self) -> Config:
        keys = [account.key for account in self.accounts]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise ValueError(f"accounts: each needs a key of its own; found twice: {min(twice)}")
        if self.replay and self.accounts:
            raise ValueError(
                "accounts: a capture that is replayed has no market to trade in; leave them or "
                "'replay' out"
            )
        return self

    @model_validator(mode="after")
    def _clock_that_can_be(self) -> Config:
        if self.replay and (self.clock_ahead or self.clock_behind):
            raise ValueError(
                "clock_ahead, clock_behind: a capture that is replayed has the time that it was recorded at; leave "
                "them or 'replay' out"
            )
        return self

    @model_validator(mode="after")
    def _faults_that_can_be(self) -> Config:
        if found := impossible(self.faults, replay=bool(self.replay)):
            raise ValueError(
                f"faults: a capture that is replayed cannot have {', '.join(found)}, which need a market "
                "of the sandbox's own; leave them or 'replay' out"
            )
        return self


class Sandbox(Service):
    """A local exchange that speaks Binance's protocol."""

    def __init__(self, config: Config, context: ServiceContext) -> None:
        self.config, self._clock = config, context.clock
        specs = [context.spec, *context.markets.values()]
        self.listings = () if config.replay else _listings(config, specs)
        self._spec = context.spec
        self._server: SandboxServer | None = None
        self.exchange: Exchange | None = None
        """What stands behind the address, once started."""
        self.trouble: Trouble | None = None
        """What goes wrong, once started; `None` for nothing."""
        self.gateway: Gateway | None = None
        """Answers for a language model, once started."""
        self.accounts: Accounts | None = None
        """Who trades here, once started; `None` in a replay."""
        self.desk: Desk | None = None
        """Where they are answered; likewise."""

    async def start(self) -> str:
        """Listen; return the address, such as ``http://127.0.0.1:8787``.

        Raises:
            VenueError: if the port is in use.
            CaptureError: if a capture to be replayed cannot be read.
            PluginError: if an account's public key is none.
        """
        config = self.config
        if config.replay:
            # Reading takes a second or two; the run's loop goes on meanwhile.
            exchange = await asyncio.to_thread(
                open_replay,
                config.replay,
                config.tick or self._spec.tick,
                config.lot or self._spec.lot,
            )
            pace = Pace(self._clock, exchange.start_ns, config.speed, held=config.hold)
            self.exchange = exchange
        else:
            apart_ns = config.clock_ahead - config.clock_behind
            pace = Pace(self._clock, self._clock.now_ns() + apart_ns if apart_ns else None)
            self.exchange = SimulatedExchange(
                self.listings,
                config.seed,
                pace.now_ns(),
                config.volatility,
                remember=config.faults.on,
                funding=FundingTerms(config.funding_every // _MS, config.funding_rate),
            )
        if config.faults.on:
            faults = planned(config.faults, possible(replay=bool(config.replay)))
            self.trouble = Trouble(faults, pace.now_ns(), config.faults.seed)
        self.gateway = Gateway(self.exchange, pace, config.gateway)
        if isinstance(self.exchange, SimulatedExchange):
            who = config.accounts or (demo(),)
            for account in who:
                if account.public_key:
                    public_key(account.public_key)  # one that is none is a mistake to be told now
            self.accounts = Accounts(self.exchange, who, pace.now_ns())
            self.desk = Desk(self.accounts, self.trouble)
        self._server = SandboxServer(
            self.exchange,
            pace,
            config.host,
            config.port,
            patient=bool(config.replay),
            trouble=self.trouble,
            gateway=self.gateway,
            desk=self.desk,
        )
        return await self._server.start()

    def announce_shutdown(self, close_after_s: float) -> None:
        """Tell clients of a shutdown that only they see: `SandboxServer.announce_shutdown`."""
        if self._server is not None:
            self._server.announce_shutdown(close_after_s)

    async def stop(self) -> None:
        """Close every connection; takes a fraction of a second."""
        if self._server is not None:
            await self._server.stop()


def _listings(config: Config, specs: Sequence[InstrumentSpec]) -> list[Listing]:
    listings = _listed(config, specs)
    for symbol in config.halted:
        try:
            wanted = Listing.of(symbol)
        except UsageError as error:
            raise ConfigError([Mistake("", "services.sandbox.halted", str(error))]) from error
        found = [one for one in listings if (one.market, one.pair) == (wanted.market, wanted.pair)]
        if not found:
            words = f"{symbol!r} is not listed; expected one of 'symbols', or leave it out"
            raise ConfigError([Mistake("", "services.sandbox.halted", words)])
        for one in found:
            one.halted = True
    return listings


def _listed(config: Config, specs: Sequence[InstrumentSpec]) -> list[Listing]:
    grids = {spec.symbol: (spec.tick, spec.lot) for spec in specs}
    try:
        return [
            Listing.of(
                symbol,
                tick=config.tick or grids.get(symbol, (None, None))[0],
                lot=config.lot or grids.get(symbol, (None, None))[1],
                price=config.price,
            )
            for symbol in config.symbols or grids
        ]
    except UsageError as error:
        raise ConfigError([Mistake("", "services.sandbox.symbols", str(error))]) from error
