"""What keeps a configuration from trading with real orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import SecretStr

from mmkit.config.chosen import Chosen
from mmkit.config.yaml_source import Place, Written, dotted
from mmkit.errors import Mistake
from mmkit.interfaces import AccountConfig

_PLAY_MONEY = frozenset({"sandbox", "testnet", "demo"})
_LIMITS = {
    "max_position": "the position that orders may lead to",
    "max_order": "the quantity of a single order",
    "stale_after": "how old market data may be while quotes stand",
}
KILL_SWITCHES = ("max_drawdown", "max_loss_per_day", "max_rejects_per_minute", "halt_position")
"""Risk checks that stop a run for good; a live run has at least one of the first two."""


def is_account(chosen: Chosen) -> bool:
    """Return whether real orders go there."""
    return issubclass(chosen.provider.config, AccountConfig)


def is_real_money(chosen: Chosen) -> bool:
    """Return whether orders there are paid for with money; an endpoint that is not known to be for practice is taken for one where they are."""
    config = chosen.config
    return isinstance(config, AccountConfig) and config.endpoint not in _PLAY_MONEY


def mistakes_of(
    place: Place, written: Written, data: Chosen, venue: Chosen, risk: Sequence[Chosen], where: str
) -> list[Mistake]:
    """Return what keeps one market from being traded with real orders.

    Args:
        place: Of the market's sections: empty for the main one.
        written: The market's sections.
        data: Where its market data comes from.
        venue: Where its orders go.
        risk: Its risk checks.
        where: What to say that is missing in which a section is missing.
    """
    found: list[Mistake] = []

    def wrong(path: Place, message: str, hint: str) -> None:
        here = written
        for step in path:
            here = here.get(step) or here
        found.append(Mistake(here.where or where, dotted((*place, *path)), message, hint))

    _judge_venue(wrong, data, venue)
    _judge_contract_keys(wrong, written, venue)
    names = {one.name for one in risk}
    for name, what in _LIMITS.items():
        if name not in names:
            wrong(
                ("risk", name),
                f"mode: live needs it: {what}",
                "add it under 'risk'; docs/risk.md explains it",
            )
    if not names & set(KILL_SWITCHES):
        wrong(
            ("risk",),
            f"mode: live needs a kill switch: one of {', '.join(KILL_SWITCHES)}",
            'such as max_drawdown: "100"',
        )
    return found


def _judge_contract_keys(
    wrong: Callable[[Place, str, str], None], written: Written, venue: Chosen
) -> None:
    """Refuse what is for contracts on spot."""
    instrument = written.get("instrument")
    market = instrument.get("market") if instrument is not None else None
    if market is None or market.value != "spot":
        return
    for name in ("leverage", "margin"):
        value = getattr(venue.config, name, None)
        if value is not None:
            found = f"nothing was expected, as the market is spot; found {value}"
            wrong(("venue", name), found, "leave it out; it is for contracts")


def _judge_venue(wrong: Callable[[Place, str, str], None], data: Chosen, venue: Chosen) -> None:
    config = venue.config
    if not isinstance(config, AccountConfig):
        wrong(
            ("venue", "plugin"),
            f"an account at a venue was expected, as mode is live; '{venue.name}' is simulated",
            "such as venue: {plugin: ccxt, endpoint: sandbox, key: ..., secret: ...}, or mode: dry_run",
        )
        return
    for name, variable in (("key", "KEY"), ("secret", "SECRET")):
        value = getattr(config, name, None)
        if value is None or (isinstance(value, SecretStr) and not value.get_secret_value()):
            wrong(
                ("venue", name),
                "missing; without it nobody can trade at the venue",
                f'take it from the environment, {name}: "${{BINANCE_{variable}}}", or from the keyring, '
                f"{name}: keyring:NAME",
            )
    source = getattr(data.config, "endpoint", config.endpoint)
    if source != config.endpoint:
        wrong(
            ("venue", "endpoint"),
            f"the endpoint that market data comes from, {source}, was expected; found {config.endpoint}: quotes would "
            "be made for another market",
            "use one endpoint for 'data' and 'venue'",
        )
