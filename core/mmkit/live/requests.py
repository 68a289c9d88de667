"""What the order handler wants asked of the account. Whoever sends it hands the answer back."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from mmkit.accounts import Amendment, Placement


class Place(msgspec.Struct, frozen=True):
    """Put an order on the book: sent once, ever."""

    placement: Placement


class Amend(msgspec.Struct, frozen=True):
    """Change an order: sent once, and no other of this order until it is known what became of it."""

    amendment: Amendment


class Cancel(msgspec.Struct, frozen=True):
    """Take an order off the book: asked again until it is gone."""

    client_id: str


class AskOrder(msgspec.Struct, frozen=True):
    """What is the venue's record of this order?"""

    client_id: str


class AskFills(msgspec.Struct, frozen=True):
    """Which trades have there been since a time, by the venue's clock?"""

    since_ns: int


class AskFundings(msgspec.Struct, frozen=True):
    """Which funding payments have there been since a time, by the venue's clock?"""

    since_ns: int


class AskOpen(msgspec.Struct, frozen=True):
    """Which orders are on the book?"""


Request: TypeAlias = Place | Amend | Cancel | AskOrder | AskFills | AskFundings | AskOpen
