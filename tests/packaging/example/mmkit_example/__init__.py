"""A plugin as somebody else would publish it: one strategy, one risk check, one command."""

import click

from mmkit import (
    NO_QUOTES,
    Context,
    MarketView,
    PluginConfig,
    Provider,
    Quotes,
    RiskCheck,
    RiskView,
    Strategy,
    StrategyConfig,
    SubmitOrder,
    hookimpl,
)


class Config(StrategyConfig):
    lots: int = 10


class BidOnly(Strategy):
    """Joins the best bid once and holds what it gets."""

    Config = Config

    def quote(self, view: MarketView) -> Quotes:
        if view.best_bid is None or view.position:
            return NO_QUOTES
        return Quotes(bid=(view.best_bid, self.config.lots))


class LimitConfig(PluginConfig):
    limit: int


class MaxLots(RiskCheck):
    def __init__(self, config: LimitConfig, context: Context) -> None:
        self.limit = config.limit

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        return None if order.quantity <= self.limit else f"more than {self.limit} lots"


@hookimpl
def register_strategies():
    return [Provider("bid_only", Config, BidOnly, "Joins the best bid once")]


@hookimpl
def register_risk_checks():
    return [Provider("max_lots", LimitConfig, MaxLots)]


@hookimpl
def register_commands(cli):
    @cli.command()
    def hello():
        """Say hello."""
        click.echo("hello from a plugin")
