"""How long commands and reports of a recorded run were on their way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from mmkit.commands import AmendOrder, AnyCommand, CancelOrder, SubmitOrder
from mmkit.errors import DataError
from mmkit.events import (
    AmendRejected,
    AnyEvent,
    CancelRejected,
    Liquidity,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrderFilled,
    OrderRejected,
)
from mmkit.units import format_duration

LEAST = 20
"""Answered commands: with fewer, the largest is all that is known of the tail."""
_COUNTS = (21, 101, 201)
"""Of quantiles: P95 is always one of them, and P99 of the last two."""
_TAIL = 0.01
_CONFIDENCE = 0.95

Samples = list[tuple[int, int]]
"""When something was sent, by the sender's clock, and how long it took; ns."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured one way. Times in ns.

    Attributes:
        count: Commands or reports.
        moments: At which they were sent; those of one moment are one draw of the simulation.
        within: With 95 % confidence no share of all is further from that of those measured than this.
        least: The shortest.
        median: Half took no longer.
        mean: Of all.
        p95: 95 % took no longer.
        p99: 99 % took no longer.
        largest: The longest.
        quantiles: At equal steps of probability, from the least to the largest.
        honest: Whether mean and P99 of what is drawn from these are right to a hundredth.
    """

    count: int
    moments: int
    within: float
    least: int
    median: int
    mean: float
    p95: int
    p99: int
    largest: int
    quantiles: list[int]
    honest: bool


class LatencyFit(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took to the venue and back.

    Attributes:
        entry: From a command to its answer at the venue, by both clocks.
        response: From a report at the venue to us, by both clocks.
        round_trip: From a command to the arrival of its answer, by our clock alone.
        unanswered: Commands whose answer is not in the journal.
        waited: Commands that were answered at the very time of one sent before them: they may have waited for it.
    """

    entry: Measured
    response: Measured
    round_trip: Measured
    unanswered: int
    waited: int


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """Commands and reports of a journal, and how long they took.

    Attributes:
        entry: Commands, by when they were sent.
        response: Reports about orders, by when the venue sent them.
        round_trip: Commands again, until we knew.
        unanswered: Commands whose answer is not there.
        waited: Commands answered at the very time of one sent before.
    """

    entry: Samples
    response: Samples
    round_trip: Samples
    unanswered: int
    waited: int


def answers_of(entries: Iterable[AnyCommand | AnyEvent]) -> Answers:
    """Return how long the commands and reports of a journal took.

    An order is answered when it is accepted, rejected, or has taken; a cancel when it is done or too late.
    """
    submitted: dict[int, int] = {}
    canceling: dict[int, int] = {}
    amending: dict[int, int] = {}
    entry: Samples = []
    response: Samples = []
    round_trip: Samples = []
    answered: dict[int, int] = {}
    waited = 0
    for happened in entries:
        match happened:
            case SubmitOrder():
                submitted[happened.order_id] = happened.ts_local
                continue
            case CancelOrder():
                canceling[happened.order_id] = happened.ts_local
                continue
            case AmendOrder():
                amending[happened.order_id] = happened.ts_local
                continue
            case OrderAmended() | AmendRejected():
                sent = amending.pop(happened.order_id, None)
            case OrderAccepted() | OrderRejected() | OrderFilled(liquidity=Liquidity.TAKER):
                sent = submitted.pop(happened.order_id, None)
            case OrderCanceled():
                # One that could not rest is canceled without our asking, which answers the order.
                sent = canceling.pop(happened.order_id, submitted.pop(happened.order_id, None))
            case CancelRejected():
                sent = canceling.pop(happened.order_id, None)
            case OrderFilled():
                sent = None
            case _:
                continue
        venue, local = happened.ts_exchange, happened.ts_local
        response.append((venue, local - venue))
        if sent is not None:
            entry.append((sent, venue - sent))
            round_trip.append((sent, local - sent))
            waited += answered.get(venue, sent) != sent
            answered[venue] = sent
    return Answers(
        entry=entry,
        response=response,
        round_trip=round_trip,
        unanswered=len(submitted) + len(canceling) + len(amending),
        waited=waited,
    )


def fit_latency(answers: Answers) -> LatencyFit:
    """Return the distribution of what was measured, each way.

    Raises:
        DataError: if nothing was answered, too little was, or a command was answered before it was sent or a
            report arrived before it was.
    """
    if not answers.entry:
        raise DataError(
            f"no command of the run was answered ({answers.unanswered} were sent), so no latency was "
            "measured; a run is needed in which orders reach the venue and answers come back"
        )
    refuse_negative(answers)
    if len(answers.entry) < LEAST:
        raise DataError(
            f"{len(answers.entry)} commands of the run were answered; {LEAST} is the least that a "
            "distribution can be told from, and some hundreds tell its tail; a longer run is needed"
        )
    return LatencyFit(
        entry=_measured(answers.entry),
        response=_measured(answers.response),
        round_trip=_measured(answers.round_trip),
        unanswered=answers.unanswered,
        waited=answers.waited,
    )


def refuse_negative(answers: Answers) -> None:
    """Refuse latencies below zero, which say that the two clocks differ.

    Raises:
        DataError: if there are any; it says by how much they differ at least.
    """
    found, differ = [], []
    for way, samples, where in (
        ("entry", answers.entry, "behind"),
        ("response", answers.response, "ahead of"),
    ):
        below = [ns for _, ns in samples if ns < 0]
        if below:
            found.append(
                f"{way}: {len(below):,} of {len(samples):,} latencies are below zero, the least {_ms(min(below))}"
            )
            differ.append(f"{_ms(-min(below))} {where} ours")
    if not found:
        return
    trips = sorted(ns for _, ns in answers.round_trip)
    raise DataError(
        f"{'; '.join(found)}. The venue's clock was at least {', and at another time '.join(differ)}: set the "
        "clock of this machine by NTP, keep it set, and record another run. The round trip, which one clock "
        f"measures, took {_ms(trips[len(trips) // 2])} in half of all cases; how much of it was which way is "
        "not known from this run"
    )


def quantiles_of(values: Sequence[int]) -> list[int]:
    """Return as few quantiles as describe ascending `values`, at equal steps of probability.

    A distribution that is linear between quantiles spreads the last step evenly up to the largest value, and one
    value in ten thousand can be a thousand times the median. So there are as many as it takes for the mean and P99
    of what is drawn to be right to a hundredth, up to 201, and no more than there are values, which are their own
    quantiles. See `is_honest`.
    """
    quantiles = list(values)
    for count in _COUNTS:
        if count >= len(values):
            return list(values)
        steps = np.quantile(values, np.linspace(0, 1, count))
        quantiles = [int(quantile) for quantile in np.floor(steps)]
        if is_honest(quantiles, values):
            break
    return quantiles


def is_honest(quantiles: Sequence[int], values: Sequence[int]) -> bool:
    """Whether mean and P99 of what is drawn from `quantiles` are those of `values`, to a hundredth."""
    mean, p99 = float(np.mean(values)), float(np.quantile(values, 0.99))
    return (
        abs(mean_drawn(quantiles) - mean) <= _TAIL * mean
        and abs(float(np.quantile(quantiles, 0.99)) - p99) <= _TAIL * p99
    )


def mean_drawn(quantiles: Sequence[int]) -> float:
    """Return the mean of what is drawn from a distribution that is linear between `quantiles`, ns."""
    ends = (quantiles[0] + quantiles[-1]) / 2
    return (math.fsum(quantiles) - ends) / (len(quantiles) - 1)


def series_of(samples: Samples) -> Samples:
    """Return `samples` as a series wants them: in order of time, of one moment only the longest."""
    longest: dict[int, int] = {}
    for sent, took in samples:
        longest[sent] = max(took, longest.get(sent, took))
    return sorted(longest.items())


def widest_gap(series: Samples, start_ns: int, end_ns: int) -> int:
    """Return the longest time without a measurement from `start_ns` to `end_ns`, ns."""
    times = [start_ns, *(sent for sent, _ in series), end_ns]
    return max(after - before for before, after in pairwise(times))


def yaml_of(quantiles: Sequence[int]) -> str:
    """Return what to write for one way: a duration if it never changes."""
    if quantiles[0] == quantiles[-1]:
        return format_duration(quantiles[0])
    # A microsecond more or less is half a percent of the least at most.
    exactly = 1 if quantiles[0] < 100_000 else 1_000
    written = ", ".join(format_duration(round(ns / exactly) * exactly) for ns in quantiles)
    return f"{{quantiles: [{written}]}}"


def _measured(samples: Samples) -> Measured:
    values = sorted(ns for _, ns in samples)
    moments = len({sent for sent, _ in samples})
    quantiles = quantiles_of(values)
    median, p95, p99 = np.floor(np.quantile(values, (0.5, 0.95, 0.99))).astype(np.int64).tolist()
    return Measured(
        count=len(values),
        moments=moments,
        # Dvoretzky, Kiefer and Wolfowitz, with the constant of P. Massart, Annals of Probability 18(3), 1990.
        within=math.sqrt(math.log(2 / (1 - _CONFIDENCE)) / (2 * moments)),
        least=values[0],
        median=median,
        mean=math.fsum(values) / len(values),
        p95=p95,
        p99=p99,
        largest=values[-1],
        quantiles=quantiles,
        honest=is_honest(quantiles, values),
    )


def _ms(ns: int) -> str:
    return f"{ns / 1e6:,.6g} ms"
