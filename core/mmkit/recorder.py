"""Who is told what was decided and what happened in a run."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from mmkit.commands import AnyCommand
from mmkit.events import AnyEvent, FeedLost, FeedRestored, FundingPaid, OrderFilled


class Detail(StrEnum):
    """What a recorder wants to be told of."""

    ALL = "all"
    """Every command and every event."""
    FILLS = "fills"
    """What moves money: fills and funding; and when the feed was lost and restored."""
    NONE = "none"
    """Nothing."""


class Recorder(Protocol):
    """Notes what was decided and what happened, in that order.

    Attributes:
        detail: What it is told of.
    """

    detail: Detail

    def note(self, entry: AnyCommand | AnyEvent) -> None:
        """Note one command or event."""


def wanted(entry: AnyCommand | AnyEvent, detail: Detail) -> bool:
    """Whether a recorder of `detail` is told of `entry`."""
    if detail is Detail.FILLS:
        return isinstance(entry, OrderFilled | FundingPaid | FeedLost | FeedRestored)
    return detail is Detail.ALL
