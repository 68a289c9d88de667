"""mmkit: make markets, or trade off the order book, on crypto exchanges.

What a plugin or a notebook needs is importable from here; each name is loaded when it is first used,
so that ``import mmkit`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmkit.accounts import AccountClient, AccountContext
    from mmkit.advisors import Advisor, AdvisorContext, Consulted, Facts, Inquiry
    from mmkit.commands import CancelOrder, OrderType, SubmitOrder, TimeInForce
    from mmkit.events import Side
    from mmkit.hookspecs import hookimpl
    from mmkit.instruments import ContractKind, Instrument, InstrumentSpec
    from mmkit.interfaces import (
        NO_QUOTES,
        AccountConfig,
        Context,
        DataSource,
        ExecutionVenue,
        MarketView,
        PluginConfig,
        Provider,
        Quotes,
        RiskCheck,
        RiskView,
        Service,
        SignalModel,
        SignalTrainer,
        Strategy,
        StrategyConfig,
        Target,
        Wake,
        WireFormat,
    )
    from mmkit.research import Backtest, Sweep, backtest, load_tapes, sweep
    from mmkit.signal_models import (
        ModelContext,
        TrainingContext,
        TrainingSet,
        TrainingStep,
    )
    from mmkit.tape import Tape
    from mmkit.units import Distance, Duration, Exact

__version__ = "0.1.0"

_HOME = {
    "AccountClient": "accounts",
    "AccountConfig": "interfaces",
    "AccountContext": "accounts",
    "Advisor": "advisors",
    "AdvisorContext": "advisors",
    "Consulted": "advisors",
    "Facts": "advisors",
    "Inquiry": "advisors",
    "CancelOrder": "commands",
    "OrderType": "commands",
    "SubmitOrder": "commands",
    "TimeInForce": "commands",
    "Side": "events",
    "hookimpl": "hookspecs",
    "ContractKind": "instruments",
    "Instrument": "instruments",
    "InstrumentSpec": "instruments",
    "NO_QUOTES": "interfaces",
    "Context": "interfaces",
    "DataSource": "interfaces",
    "ExecutionVenue": "interfaces",
    "MarketView": "interfaces",
    "PluginConfig": "interfaces",
    "Provider": "interfaces",
    "Quotes": "interfaces",
    "RiskCheck": "interfaces",
    "RiskView": "interfaces",
    "Service": "interfaces",
    "SignalModel": "interfaces",
    "SignalTrainer": "interfaces",
    "Strategy": "interfaces",
    "StrategyConfig": "interfaces",
    "Target": "interfaces",
    "Wake": "interfaces",
    "WireFormat": "interfaces",
    "Backtest": "research",
    "Sweep": "research",
    "backtest": "research",
    "load_tapes": "research",
    "sweep": "research",
    "ModelContext": "signal_models",
    "TrainingContext": "signal_models",
    "TrainingSet": "signal_models",
    "TrainingStep": "signal_models",
    "Tape": "tape",
    "Distance": "units",
    "Duration": "units",
    "Exact": "units",
}

__all__ = [
    "NO_QUOTES",
    "AccountClient",
    "AccountConfig",
    "AccountContext",
    "Advisor",
    "AdvisorContext",
    "Backtest",
    "CancelOrder",
    "Consulted",
    "Context",
    "ContractKind",
    "DataSource",
    "Distance",
    "Duration",
    "Exact",
    "ExecutionVenue",
    "Facts",
    "Inquiry",
    "Instrument",
    "InstrumentSpec",
    "MarketView",
    "ModelContext",
    "OrderType",
    "PluginConfig",
    "Provider",
    "Quotes",
    "RiskCheck",
    "RiskView",
    "Service",
    "Side",
    "SignalModel",
    "SignalTrainer",
    "Strategy",
    "StrategyConfig",
    "SubmitOrder",
    "Sweep",
    "Tape",
    "Target",
    "TimeInForce",
    "TrainingContext",
    "TrainingSet",
    "TrainingStep",
    "Wake",
    "WireFormat",
    "__version__",
    "backtest",
    "hookimpl",
    "load_tapes",
    "sweep",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'mmkit' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"mmkit.{home}"), name)
