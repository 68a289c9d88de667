"""What an error of ccxt's means for a run: wait and connect anew, or end it in words.

The tree of errors: ``ccxt/base/errors.py`` (4.5.90). The class is asked for its meaning, never for a code in
the message: which class a code becomes depends on the address that was asked, but every class means one thing.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from mmkit.tape import GapReason

_LONGEST_WORDS = 300


class Answer(Enum):
    """What to do about a failure."""

    RECONNECT = "reconnect"
    """The network, or the venue for a while."""
    SLOW_DOWN = "slow down"
    """The venue has had too many requests; coming back at once makes it worse."""
    TRY_A_FEW_TIMES = "try a few times"
    """The venue refused, and did not say clearly why."""
    END = "end"
    """Trying again will not help."""


class Failure(NamedTuple):
    """What an exception means.

    Attributes:
        answer: What to do.
        reason: Why the book is unknown (`mmkit.tape.GapReason`).
        words: What happened, for a person.
    """

    answer: Answer
    reason: int
    words: str


def meaning_of(error: BaseException, doing: str, venue: str) -> Failure:
    """Return what an exception out of ccxt means.

    Args:
        error: Of ccxt's tree, or whatever its code let through.
        doing: What was asked of ccxt, such as ``watchOrderBook``.
        venue: ccxt's id.
    """
    import ccxt

    told = _said(error)
    connection = int(GapReason.CONNECTION)
    sequence = int(GapReason.SEQUENCE)
    table: list[tuple[Any, Answer, int, str]] = [
        (
            (ccxt.DDoSProtection, ccxt.RateLimitExceeded),
            Answer.SLOW_DOWN,
            connection,
            f"'{venue}' says that too many requests were sent",
        ),
        (
            ccxt.InvalidNonce,  # ChecksumError is one
            Answer.RECONNECT,
            sequence,
            "an update of the book is missing or its checksum is wrong",
        ),
        (ccxt.OnMaintenance, Answer.RECONNECT, connection, f"'{venue}' is under maintenance"),
        (ccxt.ExchangeNotAvailable, Answer.RECONNECT, connection, f"'{venue}' cannot be reached"),
        (ccxt.RequestTimeout, Answer.RECONNECT, connection, f"'{venue}' did not answer in time"),
        (ccxt.NetworkError, Answer.RECONNECT, connection, "the connection was lost"),
        (
            ccxt.RestrictedLocation,
            Answer.END,
            connection,
            f"'{venue}' does not serve the place that this address is in; try another venue, or "
            "'endpoint: sandbox'",
        ),
        (
            ccxt.AuthenticationError,
            Answer.END,
            connection,
            f"'{venue}' wants a key even for public market data, and this source uses none; try another "
            "venue",
        ),
        (
            ccxt.BadSymbol,
            Answer.END,
            connection,
            f"'{venue}' has no stream of this symbol; see 'instrument.symbol'",
        ),
        (
            ccxt.NotSupported,
            Answer.END,
            connection,
            f"ccxt cannot do this at '{venue}'; try another venue or market, or leave out 'data.depth' and "
            "'data.options'",
        ),
        (
            (ccxt.ArgumentsRequired, ccxt.BadRequest),
            Answer.END,
            connection,
            f"'{venue}' does not take the request as it is; try another 'data.depth', or leave it and "
            "'data.options' out",
        ),
        (
            ccxt.InvalidProxySettings,
            Answer.END,
            connection,
            "the proxy is not set up as ccxt wants it; see HTTPS_PROXY and 'data.options'",
        ),
        (ccxt.OperationFailed, Answer.RECONNECT, connection, f"'{venue}' failed for now"),
        (
            ccxt.BaseError,
            Answer.TRY_A_FEW_TIMES,
            connection,
            f"'{venue}' refused, for a reason that ccxt has no class for",
        ),
        (OSError, Answer.RECONNECT, connection, "the connection was lost"),
    ]
    for kinds, answer, reason, words in table:
        if isinstance(error, kinds):
            return Failure(answer, reason, f"{doing}: {words} ({told})")
    return Failure(
        Answer.END,
        connection,
        f"{doing}: ccxt could not read what '{venue}' sent ({told}); another version of ccxt may",
    )


def _said(error: BaseException) -> str:
    """Return the class and the first words of an error; a page of HTML is cut short."""
    words = " ".join(str(error).split())
    if len(words) > _LONGEST_WORDS:
        words = words[:_LONGEST_WORDS] + "..."
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
