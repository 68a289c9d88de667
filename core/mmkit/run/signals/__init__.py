"""Signals in a run: computed over a tape beforehand, as market data comes, or told again from a journal."""
