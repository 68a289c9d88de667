"""One request at a time to a gateway, on the ``openai`` package, and what it takes not to trust the other side."""

from __future__ import annotations

import asyncio
import email.utils
import functools
import logging
import math
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mmkit_holysheep.prompt import Message
from mmkit_holysheep.reply import Failure, Reply, read_models, read_reply, refused
from mmkit_holysheep.settings import Reach
from mmkit_holysheep.shape import schema

if TYPE_CHECKING:
    import httpx2

Form: TypeAlias = Literal["json_schema", "json_object", "text"]

LARGEST = 1 << 20
"""Bytes of a response; the rest is not read. The longest list of models in use is a fifth of it."""
_CONNECT_S = 5.0
_LONGEST_WAIT_S = 86_400.0

# What a gateway has to know. The others tell of this machine, its user's organisation or its environment
# (x-stainless-*, OpenAI-Organization, OPENAI_CUSTOM_HEADERS).
_SENT = {
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
}


class _TooLarge(Exception):  # noqa: N818 - says what
    """A response goes on for too long."""


class _Packed(Exception):  # noqa: N818 - says what
    """A response is compressed, though that was not asked for: its size cannot be told before it is unpacked."""


class Gateway:
    """Sends requests, and returns whatever comes of them as a `Reply`.

    Its client is made at once, as importing and making it takes a second. Connections open with the first request,
    and belong to the event loop of that.

    Args:
        reach: Where it is and what lets in.
        timeout_s: Of one request.
    """

    def __init__(self, reach: Reach, timeout_s: float) -> None:
        import httpx2
        import openai

        for name in ("httpcore2.http11", "httpcore2.proxy"):
            logging.getLogger(name).addFilter(_tells_no_headers)
        self.reach, self._timeout_s = reach, timeout_s
        self._openai = openai
        timeout = httpx2.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
        self._http = httpx2.AsyncClient(
            follow_redirects=False,
            timeout=timeout,
            verify=_trusted(),
            # Proxies of the environment are for the world outside.
            trust_env=not reach.loopback,
            event_hooks={"request": [self._bare], "response": [_bounded]},
        )
        self._client = openai.AsyncOpenAI(
            api_key=reach.key,
            admin_api_key="",
            organization="",
            project="",
            # Given, it is not taken from OPENAI_BASE_URL.
            base_url=reach.url,
            timeout=timeout,
            max_retries=0,
            http_client=self._http,
        )
        # The response as it came: what openai's own methods make of one that is none differs from case to case.
        self._raw = httpx2.Response

    async def chat(
        self,
        model: str,
        messages: Sequence[Message],
        question: str,
        form: Form,
        **parameters: float,
    ) -> Reply:
        """Ask a model.

        Args:
            model: Which.
            messages: In order.
            question: Whose answer's schema is sent.
            form: How the answer is asked for.
            parameters: ``temperature`` and ``max_tokens``, or how else the model calls them.
        """
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": of.role, "content": of.content} for of in messages],
            "stream": False,
            **parameters,
        }
        if form == "json_object":
            body["response_format"] = {"type": "json_object"}
        elif form == "json_schema":
            described = {"name": question, "strict": True, "schema": schema(question)}
            body["response_format"] = {"type": "json_schema", "json_schema": described}
        got = await self._bytes(
            self._client.post("/chat/completions", cast_to=self._raw, body=body)
        )
        return Reply(failure=got) if isinstance(got, Failure) else read_reply(got)

    async def models(self) -> tuple[str, ...] | Failure:
        """Return the names of the models that the gateway lists, sorted."""
        got = await self._bytes(self._client.get("/models", cast_to=self._raw))
        return got if isinstance(got, Failure) else read_models(got)

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def _bytes(self, request: Awaitable[httpx2.Response]) -> bytes | Failure:
        """Await a request, and return the body of HTTP 200 without the key, or why there is none."""
        openai = self._openai
        try:
            # httpx counts from one byte to the next, so that a gateway that drips would be waited for for ever.
            async with asyncio.timeout(self._timeout_s):
                raw = await request
            return self._masked(raw.content)
        except (TimeoutError, openai.APITimeoutError):
            return Failure("timeout", f"no answer within {self._timeout_s:g} s", again=True)
        except openai.APIStatusError as error:
            answer = error.response
            return refused(
                answer.status_code,
                self._masked(answer.content),
                _wait_s(answer.headers),
                answer.headers.get("location"),
            )
        except openai.APIConnectionError as error:
            return self._unconnected(error.__cause__ or error)
        except (_TooLarge, _Packed) as error:
            return self._unconnected(error)
        except Exception as error:  # noqa: BLE001 - foreign code at the rim; an advisor does not raise
            name = type(error).__name__
            return Failure(
                "client", f"the client raised {name}: {self.reach.masked(str(error))[:200]}"
            )

    def _unconnected(self, cause: BaseException) -> Failure:
        import httpx2

        said = self.reach.masked(str(cause))[:200] or type(cause).__name__
        words = f"{self.reach.url}: {said}"
        match cause:
            case _TooLarge():
                return Failure("too_large", f"the response has more than {LARGEST} bytes")
            case _Packed():
                return Failure("packed", "the response is compressed, which was not asked for")
            case httpx2.ConnectError():
                # Nothing was sent.
                why, again = _unreached(cause)
                words = f"{self.reach.url}: {why} ({said})"
                return Failure("connection", words, again=again, others=False, unbilled=True)
            case _:
                return Failure("connection", words, again=True, others=False)

    def _masked(self, body: bytes) -> bytes:
        """Without the key, should the gateway repeat it."""
        return body.replace(self.reach.key.encode(), b"***") if self.reach.keyed else body

    async def _bare(self, request: httpx2.Request) -> None:
        """Send nothing but what a gateway has to know."""
        for name in list(request.headers):
            if name.lower() not in _SENT:
                del request.headers[name]
        request.headers["accept-encoding"] = "identity"
        request.headers["user-agent"] = "mmkit"
        if not self.reach.keyed:
            request.headers.pop("authorization", None)


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Whom to believe over TLS; reading it takes 50 ms, and advisors of one run share it."""
    import httpx2

    return httpx2.create_ssl_context()


def _unreached(error: BaseException) -> tuple[str, bool]:
    """Return why no connection came to be, from the errors that led to one another, and whether it may next time."""
    behind = [error]
    while behind:
        one = behind.pop()
        if isinstance(one, socket.gaierror):
            why = "there is no machine of that name, or no network; look for a typing error"
            return why, False
        if isinstance(one, ConnectionRefusedError):
            return "nobody listens there; look at the port, and whether the gateway runs", True
        # A name may have several addresses, each of which was tried.
        behind.extend(one.exceptions if isinstance(one, BaseExceptionGroup) else ())
        behind.extend(of for of in (one.__cause__, one.__context__) if of is not None)
    return "no connection came to be", True


def _tells_no_headers(record: logging.LogRecord) -> bool:
    """Leave out debug lines with headers: a gateway may repeat the key in one."""
    return "headers" not in str(record.msg)


async def _bounded(response: httpx2.Response) -> None:
    """Read no more of a response than it may have."""
    import httpx2

    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise _Packed
    whole = response.stream
    assert isinstance(whole, httpx2.AsyncByteStream)  # the client is asynchronous
    response.stream = _bounded_stream(whole)


def _bounded_stream(whole: httpx2.AsyncByteStream) -> httpx2.AsyncByteStream:
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            read = 0
            async for part in whole:
                read += len(part)
                if read > LARGEST:
                    raise _TooLarge
                yield part

        async def aclose(self) -> None:
            await whole.aclose()

    return Bounded()


def _wait_s(headers: httpx2.Headers) -> float | None:
    """Return what ``Retry-After`` says (RFC 9110, section 10.2.3): seconds, or a date; `None` if neither."""
    header = headers.get("retry-after", "")
    try:
        seconds = float(header)
    except ValueError:
        # By the gateway's own clock, which ours need not agree with.
        dates = [email.utils.parsedate_tz(of) for of in (header, headers.get("date", ""))]
        until, now = (email.utils.mktime_tz(date) if date else math.nan for date in dates)
        seconds = until - now
    return None if math.isnan(seconds) else min(max(0.0, seconds), _LONGEST_WAIT_S)
