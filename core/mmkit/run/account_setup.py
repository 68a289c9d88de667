"""An account of contracts is set up as the configuration says, or left as it is, and said in the log."""

from __future__ import annotations

import logging
from decimal import Decimal

from msgspec.structs import replace
from pydantic import BaseModel

from mmkit.accounts import AccountClient, AccountInfo, Margin, Refused
from mmkit.errors import ConfigError, Mistake, VenueError
from mmkit.interfaces import AccountConfig

_log = logging.getLogger("mmkit.live")


async def set_up(
    client: AccountClient, info: AccountInfo, config: BaseModel, where: str
) -> AccountInfo:
    """Set leverage and kind of margin where they are configured; return what the account is like then.

    Args:
        client: The account, with nothing of ours open.
        info: What it was like.
        config: What is written under ``venue``.
        where: Names the account in errors.

    Raises:
        ConfigError: if the leverage is out of the venue's range.
        VenueError: if the venue does not set it.
    """
    if not isinstance(config, AccountConfig):
        return info
    if config.margin is not None:
        margin = Margin(config.margin)
        if info.multi_assets and margin is Margin.ISOLATED:
            raise VenueError(
                f"{where}: venue.margin: an account in single-asset mode was expected, as isolated margin needs it; found "
                "multi-assets mode; say 'margin: cross', leave it out, or set the account to single-asset mode"
            )
        try:
            await client.set_margin(margin)
        except Refused as refused:
            raise _not_set(refused, where, "margin", margin.value) from refused
        info = replace(info, margin=margin)
    if config.leverage is not None and config.leverage != info.leverage:
        most = await client.most_leverage()
        if most is not None and config.leverage > most:
            words = f"{where}: from 1 to {most} was expected, the venue's range; found {config.leverage}"
            raise ConfigError([Mistake("", "venue.leverage", words, "take one of these")])
        try:
            await client.set_leverage(config.leverage)
        except Refused as refused:
            raise _not_set(refused, where, "leverage", str(config.leverage)) from refused
        info = replace(info, leverage=Decimal(config.leverage))
    if info.margin is not None and info.leverage is not None:
        given = config.margin is not None, config.leverage is not None
        _log.info(
            "account margin=%s (%s) leverage=%s (%s) position_mode=one-way assets=%s",
            info.margin.value,
            _from(given[0]),
            f"{info.leverage:f}",
            _from(given[1]),
            "multi: no check of the balance" if info.multi_assets else "single",
        )
    return info


def _from(given: bool) -> str:
    return "as configured" if given else "as the account has it"


def _not_set(refused: Refused, where: str, name: str, value: str) -> VenueError:
    advice = refused.advice or f"leave venue.{name} out, or set it at the venue by hand"
    said = str(refused).rstrip(".")
    return VenueError(f"{where}: venue.{name}: {value} was to be set; {said}; {advice}")
