"""The errors mmkit raises on purpose.

    MmkitError                   1   anything below; catch this to catch them all
    ├── UsageError               2   the command line asks for something that cannot be
    ├── ConfigError              3   the configuration; carries every mistake found, not just the first
    ├── PluginError              3   a plugin is missing, broken, unavailable or registered twice
    ├── StrategyError            1   the user's strategy raised, or returned what cannot be quoted
    │   └── UnknownMarket        1   it asked for a market that the run does not have
    ├── DataError                4   recorded data that cannot be used as it is
    │   ├── OffGrid              4   a price or quantity that is no multiple of the tick or lot
    │   └── CaptureError         4   a capture file: which file, which line, what was found
    ├── VenueError               5   the other side of the network
    │   └── FeedError            5   market data cannot be had, or cannot be trusted
    └── RunError                 1   a run that had to stop, or a run folder that cannot be used

The number is the process's exit status. A message says what, where, expected, found and what to do
next, in that order; names in quotes; never the value of a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class MmkitError(Exception):
    """An error that mmkit explains; shown to the user without a traceback."""

    exit_code = 1


class UsageError(MmkitError):
    """The command line asks for something that cannot be."""

    exit_code = 2


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in the configuration.

    Attributes:
        where: ``file:line`` or ``--set``; empty when nothing was written at all.
        path: The value's path, such as ``strategy.half_spread``.
        message: What was expected and what was found; never a secret's value.
        hint: What to do next, such as the nearest valid name; may be empty.
    """

    where: str
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        path = f"{self.path}: " if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{path}{self.message}{hint}"


class ConfigError(MmkitError):
    """The configuration cannot be used; `mistakes` lists everything wrong with it."""

    exit_code = 3

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class PluginError(MmkitError):
    """A plugin is missing, broken, unavailable or registered twice."""

    exit_code = 3


class StrategyError(MmkitError):
    """The user's strategy raised, or returned something that cannot be quoted."""


class UnknownMarket(StrategyError):  # noqa: N818 - a state of the run, in its own words
    """The user's strategy asked for a market that the run does not have."""

    def __init__(self, name: str, there: Sequence[str]) -> None:
        self.name = name
        found = (
            f"beside the main one there is {', '.join(there)}"
            if there
            else "there is only the main one"
        )
        super().__init__(
            f"a market of this run was expected; found {name!r}; {found}; name it under 'markets', with "
            "instrument and data"
        )


class UnknownSignal(StrategyError):  # noqa: N818 - a state of the run, in its own words
    """The user's strategy needs a signal that the run does not have."""

    def __init__(self, name: str, there: Sequence[str]) -> None:
        self.name = name
        found = f"there is {', '.join(there)}" if there else "there is none"
        super().__init__(
            f"a signal of this run was expected; found {name!r}; {found}; name it under 'signals', such as "
            f"signals: [{{plugin: lightgbm, model: user_data/models/example, as: {name}}}]"
        )


class UnknownAdvisor(StrategyError):  # noqa: N818 - a state of the run, in its own words
    """The user's strategy needs an advisor that the run does not have."""

    def __init__(self, name: str, there: Sequence[str]) -> None:
        self.name = name
        near = get_close_matches(name, there, 1)
        found = f"there is {', '.join(there)}" if there else "there is none"
        found += f" (did you mean {near[0]!r}?)" if near else ""
        super().__init__(
            f"an advisor of this run was expected; found {name!r}; {found}; name it under 'advisors', such as "
            f"advisors: [{{plugin: holysheep, as: {name}, model: deepseek-v3.2, every: 60s}}]"
        )


class OtherQuestion(StrategyError):  # noqa: N818 - a state of the run, in its own words
    """The user's strategy listens to an advisor that is asked something else."""

    def __init__(self, name: str, expected: str, found: str) -> None:
        self.name = name
        super().__init__(
            f"an advisor that is asked {expected} was expected; '{name}' is asked {found}; name another one of "
            "'advisors', or change its 'question'"
        )


class DataError(MmkitError):
    """Recorded data that cannot be used as it is."""

    exit_code = 4


class OffGrid(DataError):  # noqa: N818 - a state of the data, in the field's own words
    """A price or quantity that is no whole number of ticks or lots."""


class CaptureError(DataError):
    """A capture file cannot be read on: names the file, the line and what was found."""


class VenueError(MmkitError):
    """The other side of the network refused, vanished or answered something else.

    Attributes:
        hopeless: Trying again will not help without the user doing something.
    """

    exit_code = 5
    hopeless = False


class FeedError(VenueError):
    """Market data cannot be had, or cannot be trusted."""

    hopeless = True


class RunError(MmkitError):
    """A run that had to stop, or a run folder that cannot be used."""
