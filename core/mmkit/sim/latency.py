"""How long commands and reports are on their way."""

from __future__ import annotations

from mmkit.settings import LatencySettings


class Latency:
    """The same for every command and every report."""

    def __init__(self, settings: LatencySettings) -> None:
        self._entry, self._response = settings.entry, settings.response

    def entry(self, ts_local: int) -> int:
        """Return how long a command sent at `ts_local` takes to the venue, ns."""
        return self._entry

    def response(self, ts_exchange: int) -> int:
        """Return how long a report sent at `ts_exchange` takes back to us, ns."""
        return self._response
