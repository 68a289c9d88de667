"""Who is told what was decided and what happened in a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum

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


class Recorder(ABC):
    """Notes what was decided and what happened, in that order."""

    detail: Detail = Detail.ALL
    """What it is told of."""

    @abstractmethod
    def note(self, entry: AnyCommand | AnyEvent) -> None:
        """Note one command or event."""

    def begin_anew(self) -> None:
        """Forget everything: the run starts over."""


class Nothing(Recorder):
    """Notes nothing."""

    detail = Detail.NONE

    def note(self, entry: AnyCommand | AnyEvent) -> None:
        """Forget `entry`."""


def wanted(entry: AnyCommand | AnyEvent, detail: Detail) -> bool:
    """Whether a recorder of `detail` is told of `entry`."""
    if detail is Detail.FILLS:
        return isinstance(entry, OrderFilled | FundingPaid | FeedLost | FeedRestored)
    return detail is Detail.ALL
