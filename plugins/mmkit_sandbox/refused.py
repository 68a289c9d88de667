"""What Binance says when it does not do what it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Refused(Exception):  # noqa: N818  # not an error of ours: it becomes the answer
    """A request that Binance would refuse, with its code and words.

    Attributes:
        code: Binance's number.
        message: Binance's words.
        status: Of HTTP.
        data: What the answer holds besides, such as the halves of a cancelReplace.
    """

    def __init__(
        self, code: int, message: str, status: int = 400, data: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.data = code, message, status, data

    @property
    def body(self) -> dict[str, Any]:
        """The answer as it goes out."""
        body: dict[str, Any] = {"code": self.code, "msg": self.message}
        return body if self.data is None else body | {"data": dict(self.data)}
