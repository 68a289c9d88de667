"""What went wrong with one signal: counted, and named once in the log."""

from __future__ import annotations

import logging

_log = logging.getLogger("mmkit.signals")


class Trouble:
    """Of one signal.

    Args:
        name: What strategies call it.

    Attributes:
        failures: How often features or model failed.
        lates: How often it would have been known only after it had expired.
        first: What failed first, in words; empty if nothing has.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.failures = self.lates = 0
        self.first = ""

    def failed(self, why: str) -> None:
        """Count a failure."""
        self.failures += 1
        if not self.first:
            self.first = why
            _log.warning(
                "signal=%s failed: %s; the run goes on without it, and failures are counted",
                self._name,
                why,
            )

    def late(self, why: str, count: int = 1) -> None:
        """Count what would have been known too late."""
        if not self.lates:
            _log.warning(
                "signal=%s is late: %s; the run goes on without it, and these are counted; "
                "make 'expires' longer, or ask a quicker model, or less often",
                self._name,
                why,
            )
        self.lates += count
