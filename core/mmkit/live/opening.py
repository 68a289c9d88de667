"""Whether an account can be traded at all, and how a venue's no is explained to a person."""

from __future__ import annotations

from mmkit.accounts import AccountInfo, Refusal, Refused
from mmkit.errors import VenueError
from mmkit.instruments import Instrument

CLOCKS_APART_NS = 1_000_000_000
"""From here on a difference of the clocks is said: by so much may a signed request be early at Binance."""

_ADVICE = {
    Refusal.KEY: "look at venue.key and venue.secret; keys of live, testnet and demo are not the same",
    Refusal.PERMISSION: "look at the rights of the key, and at the addresses that it may be used from",
    Refusal.CLOCK: "synchronise the machine's clock, such as with chrony or ntpd",
    Refusal.RATE: "wait, and start again",
    Refusal.BUSY: "wait, and start again",
    Refusal.SYMBOL: "choose another symbol",
    Refusal.MODE: "set the account up otherwise at the venue",
    Refusal.BALANCE: "bring more money there, or trade a smaller size",
}


def place_of(instrument: Instrument, endpoint: str = "") -> str:
    """Return what an account is of, in words."""
    at = f", endpoint {endpoint}" if endpoint else ""
    return f"{instrument.symbol} at {instrument.venue} {instrument.market}{at}"


def explained(refused: Refused, where: str) -> VenueError:
    """Return the error for a person: what was refused where, in the venue's words, and what to do about it."""
    advice = refused.advice or _ADVICE.get(refused.refusal, "look at the account at the venue")
    said = str(refused).rstrip(".")
    return VenueError(f"{where}: an account that can be traded was expected; {said}; {advice}")


def refuse_unfit(info: AccountInfo, where: str) -> None:
    """Refuse an account that no order of ours can be right in.

    Raises:
        VenueError: if the key may not trade, the market takes no orders, or long and short are kept apart.
    """
    if not info.can_trade:
        raise VenueError(
            f"{where}: a key that may trade was expected; the venue says that it may not; give it that right there, and "
            "no other, or use another key"
        )
    if info.halted:
        raise VenueError(
            f"{where}: a market that is traded was expected; found status {info.halted} (delisted, or halted); choose "
            "another symbol, or wait; what is open there, 'mmkit panic' cancels"
        )
    if info.hedge_mode:
        raise VenueError(
            f"{where}: an account in one-way mode was expected; found hedge mode, which keeps long and short apart, "
            f"and mmkit trades one position a market; {info.way_out or 'set it to one-way mode at the venue'}"
        )
