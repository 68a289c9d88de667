"""What a plugin may implement. Hooks assemble and end a run; nothing here is called per event.

Register implementations with `mmkit.hookimpl` in a module that an entry point of the group
``mmkit`` names, or in a file under ``user_data/plugins`` or ``user_data/strategies``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from mmkit.accounts import AccountClient
    from mmkit.interfaces import (
        Advisor,
        DataSource,
        ExecutionVenue,
        Provider,
        RiskCheck,
        RunInfo,
        Service,
        SignalModel,
        SignalTrainer,
        Strategy,
        WireFormat,
    )
    from mmkit.report import Report

hookspec = pluggy.HookspecMarker("mmkit")
hookimpl = pluggy.HookimplMarker("mmkit")


@hookspec
def register_data_sources() -> Iterable[Provider[Any, DataSource]]:
    """Offer data sources, chosen in YAML by ``data.plugin``.

    Called once per plugin when a run is assembled; a source is built only if it is chosen.
    """
    return ()


@hookspec
def register_wire_formats() -> Iterable[Provider[Any, WireFormat]]:
    """Offer venues' wire formats: raw messages to rows of the tape, without I/O.

    The provider's name is the venue's ccxt id, as in ``instrument.venue``. A live data source and a
    reader of capture files use the same one, so that a replay sees what the live run saw.
    """
    return ()


@hookspec
def register_execution_venues() -> Iterable[Provider[Any, ExecutionVenue]]:
    """Offer execution venues, chosen in YAML by ``venue.plugin``."""
    return ()


@hookspec
def register_accounts() -> Iterable[Provider[Any, AccountClient]]:
    """Offer accounts at real venues, chosen in YAML by ``venue.plugin`` where ``mode: live``.

    Each is built with a `mmkit.accounts.AccountContext`; its config derives from
    `mmkit.interfaces.AccountConfig`. Which orders are sent, and what becomes of them, is for `mmkit.live`.
    """
    return ()


@hookspec
def register_strategies() -> Iterable[Provider[Any, Strategy]]:
    """Offer strategies, chosen in YAML by ``strategy.plugin`` or with ``-s``."""
    return ()


@hookspec
def register_risk_checks() -> Iterable[Provider[Any, RiskCheck]]:
    """Offer risk checks, configured in YAML by a key of the provider's name under ``risk``.

    A check sees every order before it leaves and may veto it.
    """
    return ()


@hookspec
def register_services() -> Iterable[Provider[Any, Service]]:
    """Offer services, chosen in YAML by ``services[].plugin``: started before a run, stopped after."""
    return ()


@hookspec
def register_signal_models() -> Iterable[Provider[Any, SignalModel]]:
    """Offer signal models, chosen in YAML by ``signals[].plugin``.

    Each is built from the folder where one was saved (`mmkit.interfaces.ModelContext`).
    """
    return ()


@hookspec
def register_signal_trainers() -> Iterable[Provider[Any, SignalTrainer]]:
    """Offer what trains signal models, chosen in YAML by ``training.plugin``.

    A trainer has the name of the signal model that reads what it saves. It is apart from it because training
    may need libraries that trading does not, and has another config.
    """
    return ()


@hookspec
def register_advisors() -> Iterable[Provider[Any, Advisor]]:
    """Offer advisors, chosen in YAML by ``advisors[].plugin``.

    Each is built with a `mmkit.interfaces.AdvisorContext`.
    """
    return ()


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to the ``mmkit`` command line.

    Called whenever the command line starts, so it must be quick: import what a command needs inside
    the command.
    """


@hookspec
def run_started(run: RunInfo) -> None:
    """Take notice that a run has been assembled and is about to begin."""


@hookspec
def run_finished(run: RunInfo, report: Report) -> None:
    """Take notice that a run has ended, with its results."""
