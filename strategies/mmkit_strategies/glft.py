"""Quote at the distances of Gueant, Lehalle and Fernandez-Tapia (2013)."""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mmkit.errors import StrategyError
from mmkit.interfaces import NO_QUOTES, Context, MarketView, Quotes, Strategy
from mmkit.units import Distance, Duration, Exact
from mmkit_strategies.placement import UNQUOTED, two_sided
from mmkit_strategies.signal_skew import SignalSkew, SignalSkewConfig

_SECOND = 1_000_000_000  # in ns
_MOST_STEPS = 500  # the matrix has 2 Q + 1 rows; 1001 take a second or two to solve
_DRIFT = 0.01  # sigma in ticks may change by this share before the exact distances are solved anew

Floats = npt.NDArray[np.float64]


def asymptotic_half_spread_and_skew(
    A: float,  # noqa: N803 - the paper's letter
    k: float,
    gamma: float,
    sigma: float,
    *,
    xi: float | None = None,
    delta: float = 1.0,
) -> tuple[float, float]:
    """Return half spread and skew of the closed form, far from the end: price, and price per unit held.

    The bid lies ``half_spread + skew q`` below mid, the ask ``half_spread - skew q`` above it, with::

        c1 = ln(1 + xi delta / k) / (xi delta)
        c2 = sqrt(gamma / (2 A delta k) (1 + xi delta / k)^(k / (xi delta) + 1))
        half_spread = c1 + delta / 2 sigma c2        skew = sigma c2

    O. Gueant, C.-A. Lehalle, J. Fernandez-Tapia, "Dealing with the inventory risk: a solution to the
    market making problem", Mathematics and Financial Economics 7(4), 2013 (arXiv 1105.3115), section 4;
    with `xi` and `delta` as in O. Gueant, "Optimal market making", Applied Mathematical Finance 24(2),
    2017 (arXiv 1605.01862), section 4. The paper of 2013 is ``xi = gamma``, ``delta = 1``.

    Args:
        A: Fills per time of a quote at mid: intensity ``A exp(-k distance)``.
        k: 1 / price.
        gamma: Aversion to the risk of the price, 1 / (price x unit of quantity).
        sigma: Price / sqrt(time).
        xi: Aversion to the risk of not being filled, in the unit of `gamma`, which is its default.
        delta: Quantity of an order.
    """
    c1, c2 = _constants(A, k, gamma, xi=xi, delta=delta)
    return c1 + delta / 2 * sigma * c2, sigma * c2


def _constants(
    A: float,  # noqa: N803 - the paper's letter
    k: float,
    gamma: float,
    *,
    xi: float | None,
    delta: float = 1.0,
) -> tuple[float, float]:
    """Return c1 and c2 of the closed form."""
    risk = (gamma if xi is None else xi) * delta
    # As an exponential: (1 + x)^(1 / x) loses its digits for small x.
    c2 = math.sqrt(gamma / (2 * A * delta * k) * math.exp((k / risk + 1) * math.log1p(risk / k)))
    return math.log1p(risk / k) / risk, c2


def exact_distances(
    A: float,  # noqa: N803 - the paper's letter
    k: float,
    gamma: float,
    sigma: float,
    most: int,
    remaining: float,
) -> tuple[Floats, Floats]:
    """Return the optimal distances of bid and ask from mid for each inventory ``-most, ..., most``.

    Theorem 1 of the paper: with ``alpha = k gamma sigma^2 / 2`` and
    ``eta = A (1 + gamma / k)^-(1 + k / gamma)``, ``v' = M v`` with ``v(T) = 1``, where M is tridiagonal
    with ``alpha q^2`` on the diagonal and ``-eta`` beside it. Then ::

        bid(q) = ln(v[q] / v[q + 1]) / k + ln(1 + gamma / k) / gamma
        ask(q) = ln(v[q] / v[q - 1]) / k + ln(1 + gamma / k) / gamma

    The bid of ``most`` and the ask of ``-most`` are infinite: not quoted.

    Args:
        A: Fills per time of a quote at mid.
        k: 1 / price.
        gamma: Risk aversion, 1 / (price x order).
        sigma: Price / sqrt(time).
        most: Q, the largest inventory, in orders; at least 1.
        remaining: T - t.

    Raises:
        ValueError: if some inventory is so unlikely that its value is below the smallest number there is.
    """
    alpha = k * gamma * sigma * sigma / 2
    eta = A * math.exp(-(1 + k / gamma) * math.log1p(gamma / k))
    inventory = np.arange(-most, most + 1, dtype=np.float64)
    v = _exponential_of(-alpha * inventory**2, eta, remaining).sum(axis=1)
    if not v.min() > 0:
        raise ValueError(
            f"the exact solution for inventories up to {most} orders is out of the range of numbers; "
            "lower max_position, gamma, sigma or horizon, or use 'solution: asymptotic'"
        )
    # Long and short are mirror images; only rounding tells them apart.
    log_v = np.log((v + v[::-1]) / 2)
    fixed = math.log1p(gamma / k) / gamma
    bid = np.full(2 * most + 1, np.inf)
    ask = np.full(2 * most + 1, np.inf)
    bid[:-1] = (log_v[:-1] - log_v[1:]) / k + fixed
    ask[1:] = (log_v[1:] - log_v[:-1]) / k + fixed
    return bid, ask


def _exponential_of(diagonal: Floats, beside: float, time: float) -> Floats:
    """Return exp(time x tridiagonal matrix), up to a factor, for ``beside >= 0``.

    Shifted until no entry is negative, so that series and squaring only add what is positive: every
    entry keeps its digits however small it is, which an eigendecomposition does not promise.
    """
    size = len(diagonal)
    shifted = np.diag(diagonal - diagonal.min())
    shifted += beside * (np.eye(size, k=1) + np.eye(size, k=-1))
    scale = time * float(shifted.sum(axis=1).max())
    squarings = max(0, math.ceil(math.log2(scale)) + 1) if scale > 0 else 0
    step = shifted * (time / 2.0**squarings)  # row sums of at most a half
    term = result = np.eye(size)
    for n in range(1, 16):  # 0.5^16 / 16! is 7e-19
        term = term @ step / n
        result = result + term
    for _ in range(squarings):
        result = result @ result
        result /= result.max()
    return result


class GlftConfig(SignalSkewConfig):
    """Keys of `glft`. Prices count in ticks, time in seconds, inventory in `size`s."""

    A: float = Field(
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        description="Fills a second of a quote at mid, one side.",
    )
    k: float = Field(
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="How fast fills fall off with the distance from mid, per tick.",
    )
    gamma: float = Field(
        gt=0, le=1e6, allow_inf_nan=False, description="Risk aversion, per tick and `size` held."
    )
    xi: float | None = Field(
        None,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="Aversion to not being filled, like gamma, which is its default. Asymptotic only.",
    )
    sigma: Distance = Field(
        description="How far mid moves in one second (standard deviation), such as 3ticks or 0.5bps."
    )
    solution: Literal["asymptotic", "exact"] = Field(
        "asymptotic",
        description="asymptotic: the closed form far from the end. exact: solved for every inventory.",
    )
    horizon: Duration = Field(
        600 * _SECOND,
        gt=0,
        description="T - t of the exact solution, always one horizon away.",
    )
    size: Exact = Field(gt=0, description="Quantity of each quote, a decimal in quotes.")
    max_position: Exact = Field(
        gt=0, description="Stop adding at this position, a decimal in quotes."
    )

    @model_validator(mode="after")
    def _exact_has_whole_steps(self) -> Self:
        if self.solution != "exact":
            return self
        steps, rest = divmod(self.max_position, self.size)
        if rest or steps > _MOST_STEPS:
            raise ValueError(
                f"'solution: exact' needs a max_position of 1 to {_MOST_STEPS} times size; "
                f"found {self.max_position} and {self.size}"
            )
        if self.xi is not None:
            raise ValueError("xi belongs to 'solution: asymptotic'; the exact one has gamma alone")
        return self


class Glft(Strategy):
    """Quote at the distances that are optimal for a limit on the inventory and no end in sight.

    The formulas and their sources are at `asymptotic_half_spread_and_skew` and `exact_distances`. An
    inventory between two whole `size`s, after a partial fill, takes the distance between theirs. With
    `sigma` in bps or % the exact distances are solved anew whenever sigma in ticks has moved by 1 %.
    The optimal quote of a large inventory may lie beyond mid; it stops where it would take.
    """

    Config = GlftConfig
    decision = "mmkit_strategies.around_mid_compiled:glft"

    def __init__(self, config: GlftConfig, context: Context) -> None:
        super().__init__(config, context)
        self._signal = SignalSkew(config, context)
        self.decision_signal = self._signal.name
        self._settings = config
        self._instrument = context.instrument
        self._size = context.instrument.lots(config.size)
        self._max_position = context.instrument.lots(config.max_position)
        self._exact = config.solution == "exact"
        self._most = self._max_position // self._size
        self._solved_for = -1.0
        self._bid_distances: list[float] = []
        self._ask_distances: list[float] = []
        if self._exact:
            # Sigma in bps is another one at another price, where all must be solved anew.
            self.decision = ""  # type: ignore[misc]
        if self._exact and config.sigma.unit in {"ticks", "quote"}:
            # The same at every price: what cannot be solved is found before the run.
            self._solve(config.sigma.ticks(0, context.instrument))
            self.decision = "mmkit_strategies.around_mid_compiled:glft_exact"  # type: ignore[misc]

    def parameters(self) -> tuple[float, ...]:
        """Limits, volatility and constants, or the distances, for the compiled decision."""
        config = self._settings
        if self._exact:
            distances = np.array([*self._bid_distances, *self._ask_distances])
            finite = np.minimum(distances, UNQUOTED).tolist()
            return (
                *(self._size, self._max_position, self._most),
                *self._signal.parameters(),
                *finite,
            )
        return (
            self._size,
            self._max_position,
            *config.sigma.formula(self._instrument),
            *_constants(config.A, config.k, config.gamma, xi=config.xi),
            *self._signal.parameters(),
        )

    def quote(self, view: MarketView) -> Quotes:
        """Quote both sides, but not the one that would add beyond the limit."""
        bid, ask = view.best_bid, view.best_ask
        if bid is None or ask is None or bid >= ask:
            return NO_QUOTES
        mid, position = (bid + ask) / 2, view.position
        below, above = self.distances(
            position / self._size, self._settings.sigma.ticks(mid, self._instrument)
        )
        shift = self._signal.ticks(view, mid)
        return two_sided(
            bid,
            ask,
            mid - below + shift,
            mid + above + shift,
            size=self._size,
            position=position,
            max_position=self._max_position,
        )

    def distances(self, inventory: float, sigma: float) -> tuple[float, float]:
        """Return how far below and above mid to quote, in ticks.

        Args:
            inventory: In `size`s.
            sigma: Ticks / sqrt(s).
        """
        config = self._settings
        if not self._exact:
            half_spread, skew = asymptotic_half_spread_and_skew(
                config.A, config.k, config.gamma, sigma, xi=config.xi
            )
            return half_spread + skew * inventory, half_spread - skew * inventory
        if not abs(sigma - self._solved_for) <= _DRIFT * self._solved_for:
            self._solve(sigma)
        place = min(max(inventory + self._most, 0.0), 2.0 * self._most)
        return _between(self._bid_distances, place), _between(self._ask_distances, place)

    def _solve(self, sigma: float) -> None:
        config = self._settings
        try:
            bids, asks = exact_distances(
                config.A, config.k, config.gamma, sigma, self._most, config.horizon / _SECOND
            )
        except ValueError as error:
            raise StrategyError(f"glft: {error}") from error
        self._bid_distances, self._ask_distances = bids.tolist(), asks.tolist()
        self._solved_for = sigma


def _between(values: list[float], place: float) -> float:
    """Return the value at `place`, linear between two whole ones; the finite one beside infinity."""
    low = math.floor(place)
    share = place - low
    if share == 0:
        return values[low]
    first, second = values[low], values[low + 1]
    if math.isinf(first) or math.isinf(second):
        return min(first, second)
    return first + share * (second - first)
