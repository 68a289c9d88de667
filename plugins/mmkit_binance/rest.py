"""Binance's public REST requests, and the patience they take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from mmkit.errors import FeedError
from mmkit_binance.allowance import Weight, allowance
from mmkit_binance.endpoints import Addresses
from mmkit_binance.messages import excerpt

if TYPE_CHECKING:
    import aiohttp

_log = logging.getLogger("mmkit.binance")
T = TypeVar("T")

TIMEOUT_S = 10.0
FIRST_DELAYS_S = (0.3, 0.6, 1.2, 2.4)
"""Between the tries of a first contact: five in 4.5 s."""
FIRST_CONTACT_S = 5.0
"""After so long a first contact that fails is not tried again, as when nobody answers at all."""
_UNTOLD_S = (
    60.0  # if the venue refuses and does not say for how long: weight is counted by the minute
)
_LONGEST_BAN_S = 60.0  # a first contact waits for a longer one no more


class RequestError(FeedError):
    """A request was not answered as it should have been.

    Attributes:
        hopeless: Asking again will not help.
        retry_after_s: How long the venue says to wait; 0 if it does not.
    """

    def __init__(self, words: str, *, hopeless: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(words)
        self.hopeless, self.retry_after_s = hopeless, retry_after_s


class Rest:
    """A REST client; an asynchronous context manager.

    Waits before it asks for as long as the venue has said, to whatever client of this process, and when the
    minute's weight is used up.

    Args:
        addresses: The venue's.
        micro: Whether the venue is to tell its times in microseconds.
    """

    def __init__(self, addresses: Addresses, micro: bool = False) -> None:
        self.root, self._advice = addresses.rest, addresses.advice
        self._allowance = allowance(addresses.rest)
        self._headers = {"X-MBX-TIME-UNIT": "MICROSECOND"} if micro else {}
        self._environment = not addresses.loopback
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Rest:
        import aiohttp

        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            trust_env=self._environment,
            headers=self._headers,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(
        self,
        path: str,
        *,
        weight: int | Weight = 1,
        **parameters: str | int,
    ) -> bytes:
        """Return the body of an answer that is JSON.

        Args:
            path: Such as ``depth``.
            weight: What the request weighs against the venue's limit.
            parameters: Of the query.

        Raises:
            RequestError: if there is none; it names the address and says what was found.
        """
        import aiohttp

        assert self._session is not None  # used inside `async with`
        url = f"{self.root}/{path}"
        left = self._allowance.banned_s()
        if left > _LONGEST_BAN_S:
            raise RequestError(
                f"{url}: not asked, as the venue has said to ask nothing for another {left:.0f} s",
                hopeless=True,
                retry_after_s=left,
            )
        await self._allowance.wait(weight if isinstance(weight, Weight) else Weight(weight))
        try:
            async with self._session.get(url, params=parameters) as answer:
                body = await answer.read()
                status, headers = answer.status, answer.headers
        except (aiohttp.ClientError, OSError) as error:
            words = f"{url}: an answer was expected; found {_plainly(error)}; {self._advice}"
            raise RequestError(words) from error
        self._allowance.used(headers.get("X-MBX-USED-WEIGHT-1M"))
        if status in (418, 429):
            wait = _seconds(headers.get("Retry-After"))
            self._allowance.ban(wait)
            raise RequestError(
                f"{url}: the venue refuses requests from this address (HTTP {status}), too many were "
                f"sent; wait {wait:.0f} s before the next",
                retry_after_s=wait,
                hopeless=wait > _LONGEST_BAN_S,
            )
        if status in (403, 451):
            raise RequestError(
                f"{url}: the venue does not serve this address (HTTP {status}): {excerpt(body)}; "
                f"{self._advice}",
                hopeless=True,
            )
        if status != 200:
            raise RequestError(
                f"{url}: HTTP 200 was expected; found {status} with {excerpt(body)}; {self._advice}",
                hopeless=400 <= status < 500,
            )
        if body.lstrip()[:1] not in (b"{", b"["):
            raise RequestError(f"{url}: JSON was expected; found {excerpt(body)}; {self._advice}")
        return body


async def patiently(what: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Return what `ask` returns, trying again for about five seconds if it fails.

    Raises:
        FeedError: the last one, if it did not help.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number, delay in enumerate((*FIRST_DELAYS_S, None), 1):
        try:
            return await ask()
        except RequestError as error:
            if error.hopeless or delay is None or loop.time() - begun > FIRST_CONTACT_S:
                raise
            wait = max(delay, error.retry_after_s)
            _log.warning(
                "request failed, trying again what=%s try=%d wait_s=%.1f reason=%s",
                what,
                number,
                wait,
                error,
            )
            await asyncio.sleep(wait)
    raise AssertionError  # the last try returns or raises


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text if text is not None else _UNTOLD_S))
    except ValueError:
        return _UNTOLD_S


def _plainly(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"none within {TIMEOUT_S:.0f} s"
    number = getattr(error, "os_error", error)
    if isinstance(number, ConnectionRefusedError):
        return "that nothing listens there (connection refused)"
    return str(error) or type(error).__name__
