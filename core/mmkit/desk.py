"""Several markets of one run, and the strategy that decides for all of them together."""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.engine import Engine
from mmkit.interfaces import ByMarket
from mmkit.quoter import wanted_by_market


class Desk:
    """Asks the strategy only while quotes may be on the book of every market.

    A lost feed, stale data or a halt in one market pulls the quotes of all: what was quoted there rests on what can
    be done here.

    Args:
        engines: One a market, the main one first; the strategy is the same object in all.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = tuple(engines)
        self._names = tuple(engine.market for engine in engines)
        main = self._engines[0]
        for engine in self._engines:
            engine.desk = self
        main.view.markets = ByMarket({engine.market: engine.view for engine in self._engines[1:]})

    def decide(self, now_ns: int) -> None:
        """Ask the strategy, unless some market must be quiet, and see to what it wants."""
        for engine in self._engines:
            engine.now = max(engine.now, now_ns)
        # Every one is asked, so that each knows why it is quiet.
        ready = [engine.ready() for engine in self._engines]
        if not all(ready):
            self.pull(now_ns)
            return
        wanted = wanted_by_market(self._engines[0].answer(), self._names)
        for name, engine in zip(self._names, self._engines, strict=True):
            engine.go(wanted[name])

    @property
    def quiet(self) -> bool:
        """Whether nothing may be on any book."""
        return any(engine.quiet for engine in self._engines)

    def pull(self, now_ns: int) -> None:
        """Cancel everything that can be canceled now, everywhere."""
        for engine in self._engines:
            engine.now = max(engine.now, now_ns)
            engine.pull()
