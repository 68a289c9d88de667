"""The micro-price of Stoikov (2018): where mid will be, given the spread and the imbalance at the touch."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.tape import Tape
from mmkit.tops import tops_of

Floats = npt.NDArray[np.float64]

_STEADY = 1e-9  # ticks that the last of the sum's terms may still add
_TERMS = 10_000  # of the sum; the probability of yet another move of mid shrinks with each


class Microprice(msgspec.Struct, frozen=True, kw_only=True):
    """How far the expected future mid lies from mid.

    Attributes:
        adjustment: Ticks to be added to mid, by spread (rows: 1 tick, 2 ticks, ...) and by bucket of the
            imbalance ``bid / (bid + ask)`` (columns, equal parts of 0 to 1).
        observations: Times the state was seen, in the same shape.
        moves: Moves of mid that the estimate rests on.
    """

    adjustment: list[list[float]]
    observations: list[list[int]]
    moves: int


def fit_microprice(tape: Tape, *, buckets: int = 10, spreads: int = 2) -> Microprice:
    """Return Stoikov's estimate from every change of the best prices and quantities on `tape`.

    The state is ``(spread, bucket of the imbalance)``. From one change of the top to the next, mid stays
    and the state changes (probabilities Q), or mid moves by K (R) into a new state (T). With
    ``G1 = (1 - Q)^-1 R K`` the expected first move and ``B = (1 - Q)^-1 T`` where it leads to, the
    micro-price is ``mid + G1 + B G1 + B^2 G1 + ...``. Each observation is taken together with its mirror
    image, bid and ask exchanged, without which the sum need not converge. Changes from or to a wider
    spread than `spreads`, or across a gap, are left out.

    S. Stoikov, "The micro-price: a high-frequency estimator of future prices", Quantitative Finance
    18(12), 2018, 1959-1966, section 3.

    Args:
        tape: Recorded market data.
        buckets: Of the imbalance.
        spreads: States of the spread, from 1 tick; wider books are left out.

    Raises:
        DataError: if mid never moves between states, or a state leads nowhere.
    """
    tops = tops_of(tape)
    spread = tops.ask - tops.bid
    total = np.maximum(tops.bid_quantity + tops.ask_quantity, 1)
    bucket = np.minimum(buckets - 1, buckets * tops.bid_quantity // total)
    inside = (tops.span >= 0) & (spread <= spreads)
    # The last row is the end of the tape, not a change. Between two spans lies a row that is unknown.
    pair = inside[:-2] & inside[1:-1]
    twice_mid = tops.bid + tops.ask
    move = (twice_mid[1:-1] - twice_mid[:-2])[pair] / 2
    before = np.stack(((spread - 1)[:-2][pair], bucket[:-2][pair]))
    after = np.stack(((spread - 1)[1:-1][pair], bucket[1:-1][pair]))
    return _estimate(before, after, move, buckets, spreads)


def _estimate(
    before: npt.NDArray[np.int64],
    after: npt.NDArray[np.int64],
    move: Floats,
    buckets: int,
    spreads: int,
) -> Microprice:
    """Return the estimate from transitions: rows of `before` and `after` are spread state and bucket."""
    states = buckets * spreads
    here = before[0] * buckets + before[1]
    there = after[0] * buckets + after[1]
    mirrored_here = before[0] * buckets + buckets - 1 - before[1]
    mirrored_there = after[0] * buckets + buckets - 1 - after[1]
    x, y = np.concatenate((here, mirrored_here)), np.concatenate((there, mirrored_there))
    if not len(x):
        raise DataError(
            f"the best prices never change while the spread is at most {spreads} ticks; "
            "allow more spreads, or record for longer"
        )
    k = np.concatenate((move, -move))
    seen = np.bincount(x, minlength=states)
    stays = np.zeros((states, states))
    goes = np.zeros((states, states))
    np.add.at(stays, (x[k == 0], y[k == 0]), 1)
    np.add.at(goes, (x[k != 0], y[k != 0]), 1)
    each = np.maximum(seen, 1)[:, None]
    first_move = np.bincount(x, weights=k, minlength=states) / each[:, 0]
    if not (k != 0).any():
        raise DataError("mid never moves while the spread is that narrow; allow more spreads")
    try:
        inverse = np.linalg.inv(np.eye(states) - stays / each)
    except np.linalg.LinAlgError as error:
        raise DataError(
            "from some spread and imbalance mid never moves on in this recording; "
            "use fewer buckets, or a longer recording"
        ) from error
    term = inverse @ first_move
    onward = inverse @ (goes / each)
    adjustment = np.zeros(states)
    for _ in range(_TERMS):
        adjustment += term
        term = onward @ term
        if np.abs(term).max() < _STEADY:
            break
    else:
        raise DataError("the sum of the micro-price does not converge in this recording")
    table = adjustment.reshape(spreads, buckets)
    return Microprice(
        # Equal up to rounding: the mirror image has been counted.
        adjustment=((table - table[:, ::-1]) / 2).tolist(),
        observations=np.bincount(here, minlength=states).reshape(spreads, buckets).tolist(),
        moves=int((move != 0).sum()),
    )
