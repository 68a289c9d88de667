"""ccxt's class of a venue, with what it keeps to itself made heard: numbers of errors, headers, and streams that end.

Written against ccxt 4.5.90. Its exceptions of Binance do not always hold the numeric code (a text that it knows takes the
code's place), and which class is raised depends on the address that was asked; so for Binance the answer itself is
kept. When the venue ends a user stream, ccxt tells nobody who waits for it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

_ENDS = ("eventStreamTerminated", "listenKeyExpired")
"""Binance's events after which a user stream is silent for ever."""

heard: ContextVar[dict[str, str] | None] = ContextVar("heard", default=None)
"""Where the headers of the answers to a request go; set by whoever asks."""


class Said(Exception):  # noqa: N818 - what the venue said
    """Binance's answer that is an error, as it came.

    Attributes:
        status: Of HTTP; 400 for one of the WebSocket API.
        code: Binance's number; `None` if there is none.
        words: Its ``msg``, or how the body begins.
        retry_after_s: The header; 0 if it is not there.
    """

    def __init__(self, status: int, code: int | None, words: str, retry_after_s: float) -> None:
        super().__init__(f"{code if code is not None else f'HTTP {status}'}: {words}")
        self.status, self.code, self.words = status, code, words
        self.retry_after_s = retry_after_s


def guarded(kind: type[Any]) -> type[Any]:
    """Return a class that is as ccxt's of a venue and tells its headers in `heard`."""

    class Guarded(kind):  # type: ignore[misc]
        """Tells what was answered."""

        def on_rest_response(
            self,
            code: int,
            reason: str,
            url: str,
            method: str,
            response_headers: Any,
            response_body: Any,
            request_headers: Any,
            request_body: Any,
        ) -> Any:
            """Note the headers, and hand on the body."""
            headers = heard.get()
            if headers is not None:
                headers.update(response_headers)
            return super().on_rest_response(
                code,
                reason,
                url,
                method,
                response_headers,
                response_body,
                request_headers,
                request_body,
            )

    return Guarded


def guarded_binance(kind: type[Any]) -> type[Any]:
    """Return such a class that raises `Said` for Binance's errors, and ends a stream that Binance has ended."""

    class GuardedBinance(guarded(kind)):  # type: ignore[misc]
        """Raises what Binance says."""

        def handle_errors(
            self,
            code: int,
            reason: str,
            url: str,
            method: str,
            headers: Any,
            body: Any,
            response: Any,
            requestHeaders: Any,  # noqa: N803
            requestBody: Any,  # noqa: N803
        ) -> Any:
            """Raise `Said` if the answer is an error."""
            told = response if isinstance(response, dict) else {}
            number = _number(told.get("code"))
            # The WebSocket API's errors come with Binance's number in place of HTTP's.
            status = code if code > 0 else 400
            if status < 400 and (number is None or number >= 0):
                return None
            words = str(told.get("msg") or reason or str(body)[:200])
            raise Said(status, number, words, _seconds(headers))

        def handle_message(self, client: Any, message: Any) -> None:
            """End the connection whose stream has ended; whoever waits for it is told."""
            event = message.get("event", message) if isinstance(message, dict) else {}
            ends = event.get("e") if isinstance(event, dict) else None
            if ends in _ENDS:
                import ccxt

                client.on_error(ccxt.NetworkError(f"Binance has ended the user stream ({ends})"))
                return
            super().handle_message(client, message)

    return GuardedBinance


def _number(told: Any) -> int | None:
    try:
        return int(told)
    except (TypeError, ValueError):
        return None


def _seconds(headers: Any) -> float:
    for key, value in (headers or {}).items():
        if str(key).lower() == "retry-after":
            try:
                return max(0.0, float(value))
            except ValueError:
                return 0.0  # a date; the budget's own wait holds
    return 0.0
