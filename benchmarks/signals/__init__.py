"""What signals cost: ``make bench-signals``."""
