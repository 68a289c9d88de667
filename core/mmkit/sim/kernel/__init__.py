"""The compiled engine: engine, quoter, limits and simulated exchange of a backtest in one loop.

It does what `mmkit.engine`, `mmkit.quoter`, `mmkit.risk` and `mmkit.sim` do, row by row and rule by rule, for
the common case. Those modules are the reference; the tests hold the two to the same commands, events and
money on random markets.
"""
