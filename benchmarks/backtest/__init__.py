"""The backtest beside its peers: ``make bench-backtest``. docs/benchmarks.md says what each figure means."""
