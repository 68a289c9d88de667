"""How long an order takes from the bytes of a book message to its own bytes: `make bench-latency`."""
