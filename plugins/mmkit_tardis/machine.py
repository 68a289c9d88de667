"""A tardis-machine: where it is, what it is asked, and its replays over HTTP.

HTTP GET ``/replay-normalized?options=`` answers with one JSON message a line; the WebSocket, one port further,
``/ws-stream-normalized?options=`` sends them one by one (tardis-machine, ``src/tardismachine.ts``).
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from mmkit.errors import FeedError, Mistake
from mmkit_tardis.names import hint
from mmkit_tardis.normalized import excerpt

TYPES = ("book_change", "book_ticker", "derivative_ticker", "liquidation", "quote", "trade")
_SNAPSHOT = re.compile(r"book_snapshot_\d+(_grouped[\d.]+)?_\d+(ms|s|m)")
_QUOTES = re.compile(r"quote(_\d+(ms|s|m))?")
_ADVICE = (
    "start it with 'npx tardis-machine --port 8000' (its HTTP is there, its WebSocket one port further), or change "
    "'data.url'"
)
_START_S = 60.0
"""Before the first line tardis-machine may have to fetch its first slices."""


def type_mistakes(types: tuple[str, ...]) -> list[Mistake]:
    """Return what is wrong with the data types that a tardis-machine is to be asked for."""
    mistakes = [
        Mistake(
            "",
            "data.types",
            f"a data type of tardis-machine's that becomes rows was expected; found '{name}'",
            f"{hint(name, TYPES)}, book_snapshot_<depth>_<interval> such as book_snapshot_25_100ms",
        )
        for name in types
        if name not in TYPES and not _SNAPSHOT.fullmatch(name) and not _QUOTES.fullmatch(name)
    ]
    if not any(
        name in ("book_change", "book_ticker") or name.startswith(("book_snapshot", "quote"))
        for name in types
    ):
        mistakes.append(
            Mistake(
                "",
                "data.types",
                f"a book or best prices were expected among the data types; found {', '.join(types)}",
                "add book_change",
            )
        )
    groups = (
        ("the book", [n for n in types if n == "book_change" or _SNAPSHOT.fullmatch(n)]),
        ("the best prices", [n for n in types if n == "book_ticker" or _QUOTES.fullmatch(n)]),
    )
    mistakes += [
        Mistake(
            "",
            "data.types",
            f"{' and '.join(map(repr, several))} all tell {what}, so it would be told twice",
            "keep one of them",
        )
        for what, several in groups
        if len(several) > 1
    ]
    return mistakes


@dataclass(frozen=True)
class Machine:
    """A tardis-machine and what it is asked for.

    Attributes:
        url: Of its HTTP, such as ``http://127.0.0.1:8000``.
        ws_url: Of its WebSocket; empty for one port further.
        exchange: Tardis's id of the exchange.
        symbol: Tardis's name of the instrument.
        types: Data types.
    """

    url: str
    ws_url: str
    exchange: str
    symbol: str
    types: tuple[str, ...]

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, which no proxy stands before."""
        return urlsplit(self.url).hostname in {"127.0.0.1", "localhost", "::1"}

    @property
    def advice(self) -> str:
        """What to do when it cannot be reached."""
        return _ADVICE

    def replay_url(self, start: str, end: str) -> str:
        """Return where a replay is asked for."""
        options = self._options(**{"from": start, "to": end})
        return f"{self.url.rstrip('/')}/replay-normalized?options={options}"

    def stream_url(self, silence_ns: int) -> str:
        """Return where the live stream is asked for."""
        options = self._options(
            withErrorMessages=True, timeoutIntervalMS=max(1, silence_ns // 1_000_000)
        )
        return f"{self._ws().rstrip('/')}/ws-stream-normalized?options={options}"

    def _options(self, **more: Any) -> str:
        options = {
            "exchange": self.exchange,
            "symbols": [self.symbol],
            "dataTypes": list(self.types),
            "withDisconnectMessages": True,
            **more,
        }
        return quote(msgspec.json.encode(options).decode(), safe="")

    def _ws(self) -> str:
        if self.ws_url:
            return self.ws_url
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = (parts.port or (443 if parts.scheme == "https" else 80)) + 1
        scheme = "wss" if parts.scheme == "https" else "ws"
        return urlunsplit((scheme, f"{host}:{port}", parts.path, "", ""))

    async def replay(self, start: str, end: str) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a replay.

        Raises:
            FeedError: if it cannot be reached, refuses, or breaks off before the end.
        """
        import aiohttp

        url, lines = self.replay_url(start, end), 0
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=_START_S)
        rest = b""
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=not self.loopback) as session,
                session.get(url) as answer,
            ):
                if answer.status != 200:
                    raise self._refused(answer.status, await answer.content.read(4096))
                async for chunk in answer.content.iter_any():
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        if line.strip():
                            lines += 1
                            yield line
        except aiohttp.ClientConnectorError as error:
            raise FeedError(
                f"{self.url}: a tardis-machine was expected; nothing listens there ({error.strerror or error}); "
                f"{self.advice}"
            ) from error
        except TimeoutError as error:
            raise FeedError(
                f"{self.url}: the replay from {start} to {end} was expected to go on; nothing came for "
                f"{_START_S:g} s after {lines} lines; look at what tardis-machine prints"
            ) from error
        except aiohttp.ClientError as error:
            raise FeedError(
                f"{self.url}: the replay from {start} to {end} broke off after {lines} lines "
                f"({type(error).__name__}); look at what tardis-machine prints"
            ) from error
        if rest.strip():
            yield rest

    def _refused(self, status: int, body: bytes) -> FeedError:
        said = excerpt(body)
        if status in (401, 403) or b"api key" in body.lower():
            what = (
                "without a key Tardis gives the first day of each month only; start tardis-machine with TM_API_KEY, "
                "or change 'data.start'"
            )
        elif status == 404:
            what = self.advice
        else:
            what = "check 'data.start', 'data.end', 'data.types' and what tardis-machine prints"
        return FeedError(
            f"{self.url}: a replay of {self.exchange} {self.symbol} was expected; found HTTP {status} with {said}; "
            f"{what}"
        )


def url_mistakes(name: str, url: str, schemes: tuple[str, ...]) -> list[Mistake]:
    """Return what is wrong with an address."""
    parts = urlsplit(url)
    if parts.scheme in schemes and parts.hostname:
        return []
    words = f"an address such as {schemes[0]}://127.0.0.1:8000 was expected; found '{url}'"
    return [Mistake("", name, words)]
