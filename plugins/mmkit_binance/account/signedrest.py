"""Binance's private REST requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmkit.accounts import FateUnknown
from mmkit.venues.budget import used_of
from mmkit_binance.account.answer import Answer
from mmkit_binance.account.places import Places
from mmkit_binance.account.signer import Signer

if TYPE_CHECKING:
    import aiohttp


class SignedRest:
    """Sends a request once. Addresses of signed requests are told to nobody.

    Args:
        places: Where to.
        signer: Signs.
        within_s: How long an answer may take.
    """

    def __init__(self, places: Places, signer: Signer, within_s: float) -> None:
        self._places, self._signer, self._within_s = places, signer, within_s
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self, method: str, path: str, params: Mapping[str, str], *, signed: bool
    ) -> Answer:
        """Return the answer, whatever it says.

        Args:
            method: Of HTTP.
            path: Such as ``/api/v3/order``.
            params: Of the query.
            signed: Whether they are to be signed; the key is sent in any case.

        Raises:
            FateUnknown: if none came.
        """
        import aiohttp
        from yarl import URL

        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._within_s),
                trust_env=not self._places.loopback,
            )
        query = (
            self._signer.query(params)
            if signed
            else "&".join(f"{k}={v}" for k, v in params.items())
        )
        url = URL(f"{self._places.host}{path}{'?' + query if query else ''}", encoded=True)
        failure = ""
        try:
            async with self._session.request(
                method, url, headers=self._signer.headers, allow_redirects=False
            ) as answer:
                body = await answer.read()
                weight, orders = used_of(dict(answer.headers))
                after = answer.headers.get("Retry-After", "")
                return Answer(
                    answer.status,
                    body,
                    weight,
                    orders,
                    float(after) if after.isdecimal() else 0.0,
                )
        except TimeoutError:
            failure = f"no answer within {self._within_s:.0f} s"
        except (aiohttp.ClientError, OSError) as error:
            failure = type(error).__name__  # its words may hold the address
        raise FateUnknown(
            f"{method} {self._places.host}{path}: an answer was expected; found {failure}; {self._places.advice}"
        )

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()
