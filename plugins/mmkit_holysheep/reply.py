"""What a gateway answers, read without trust: HTTP 200 says little.

Wire format: OpenAI API reference, "Chat", "The chat completion object", and "Models"; gateways leave out much of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from mmkit.answer_reading import plain
from mmkit_holysheep.prices import Usage

_EXCERPT = 200
_MOST_TOKENS = 10_000_000  # more than any model takes


@dataclass(frozen=True)
class Failure:
    """Why there is no answer.

    Attributes:
        name: Short and stable, to count it under.
        words: For people; nothing in them is secret.
        again: Whether asking the same again may help.
        others: Whether another model behind the same gateway may do better.
        form: Whether the way of asking may be what was refused.
        unbilled: Whether the gateway has certainly not charged it.
        retry_after_s: How long the gateway says to wait; `None` if it does not.
        about: The parameter of the request that it refused, as it says; empty if it does not.
    """

    name: str
    words: str
    again: bool = False
    others: bool = True
    form: bool = False
    unbilled: bool = False
    retry_after_s: float | None = None
    about: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.words}"


@dataclass(frozen=True)
class Reply:
    """What came of one request.

    Attributes:
        text: What the model wrote, as it came.
        model: Which model says that it answered; empty if nothing does.
        usage: `None` if the gateway does not say, or says what cannot be.
        failure: Why the text is no answer; `None` if it may be one.
    """

    text: str = ""
    model: str = ""
    usage: Usage | None = None
    failure: Failure | None = None


def read_reply(body: bytes) -> Reply:
    """Return what the body of an HTTP 200 holds; whatever it is, that is a reply."""
    whole = _decoded(body)
    if isinstance(whole, Failure):
        return Reply(failure=whole)
    if not isinstance(whole, dict):
        words = f"an object was expected; found {excerpt(body)!r}"
        return Reply(failure=Failure("not_json", words))
    model = whole.get("model")
    answered = plain(model, 120) if isinstance(model, str) else ""
    usage = _usage(whole.get("usage"))
    if whole.get("error"):
        return Reply(model=answered, usage=usage, failure=_error(whole["error"]))
    choices = whole.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        words = f"choices with a message were expected; found {excerpt(body)!r}"
        return Reply(model=answered, usage=usage, failure=Failure("no_choices", words))
    content = message.get("content")
    text = content if isinstance(content, str) else ""
    return Reply(text, answered, usage, _unfinished(choice, message, content))


def _unfinished(choice: dict[str, Any], message: dict[str, Any], content: Any) -> Failure | None:
    match choice.get("finish_reason"):
        case "stop" | None:
            pass
        case "length":
            return Failure(
                "cut_off", "the answer was longer than max_tokens allows; write a larger one"
            )
        case "content_filter":
            return Failure("filtered", "the gateway's filter has cut the answer")
        case other:
            return Failure(
                "odd_finish", f"finish_reason stop was expected; found {plain(str(other), 40)!r}"
            )
    if message.get("refusal"):
        return Failure(
            "declined", f"the model declines: {plain(str(message['refusal']), _EXCERPT)}"
        )
    if content is not None and not isinstance(content, str):
        return Failure("no_text", "text was expected as content; found something else")
    if content is None or not plain(content):
        return Failure("blank", "the answer is empty", again=True)
    return None


def read_models(body: bytes) -> tuple[str, ...] | Failure:
    """Return the names of the models in the body of ``GET /models``, sorted, or why there are none."""
    whole = _decoded(body)
    if isinstance(whole, Failure):
        return whole
    if isinstance(whole, dict) and whole.get("error"):
        return _error(whole["error"])
    listed = whole.get("data") if isinstance(whole, dict) else None
    if not isinstance(listed, list):
        return Failure(
            "no_list", f"a list of models under 'data' was expected; found {excerpt(body)!r}"
        )
    names = [of.get("id") for of in listed if isinstance(of, dict)]
    return tuple(sorted({plain(name, 120) for name in names if isinstance(name, str)}))


def refused(
    status: int, body: bytes, retry_after_s: float | None, location: str | None = None
) -> Failure:
    """Return what an HTTP status other than 200 comes to.

    Args:
        status: Of the response.
        body: Of it.
        retry_after_s: From its header.
        location: Where it redirects to.
    """
    if 300 <= status < 400:
        words = (
            f"the gateway sends elsewhere (HTTP {status}), to {plain(location or 'nowhere', 120)}; it was not "
            "followed, as the key would go there; write the right base_url"
        )
        return Failure(f"http_{status}", words, others=False, unbilled=True)
    said, about = excerpt(body), ""
    decoded = _decoded(body)
    if isinstance(decoded, dict) and decoded.get("error"):
        error = decoded["error"]
        said = _said(error)
        about = str(error.get("param") or "") if isinstance(error, dict) else ""
    words = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    return Failure(
        f"http_{status}",
        words,
        again=status in (408, 409, 425, 429) or status >= 500,
        # A key that is wrong or has no money left is so for every model.
        others=status not in (401, 402),
        form=status in (400, 422),
        unbilled=400 <= status < 500 and status != 408,
        retry_after_s=retry_after_s,
        about=plain(about, 60),
    )


def excerpt(body: bytes) -> str:
    """Return the beginning of a body as it may be shown."""
    return plain(body[: 8 * _EXCERPT].decode("utf-8", "replace"), _EXCERPT)


def _decoded(body: bytes) -> Any:
    """Return what the JSON holds, or the `Failure` that it is none."""
    start = body[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        return Failure("blank", "the response is empty", again=True)
    if start.startswith(b"<"):
        return Failure(
            "html",
            f"JSON was expected; found a web page: {excerpt(body)!r}; base_url usually ends with /v1",
            others=False,
        )
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return Failure(
            "not_json",
            f"JSON was expected; found {excerpt(body)!r} ({plain(str(error), 100)})",
        )


def _error(error: Any) -> Failure:
    code = error.get("code") if isinstance(error, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    about = str(error.get("param") or "") if isinstance(error, dict) else ""
    return Failure(
        "error_body",
        f"HTTP 200 with an error: {_said(error)}",
        form=code in (400, "400") or kind == "invalid_request_error",
        about=plain(about, 60),
    )


def _said(error: Any) -> str:
    said = error.get("message") if isinstance(error, dict) else error
    return plain(said if isinstance(said, str) else str(error)[: 8 * _EXCERPT], _EXCERPT)


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    if cached is None:
        # DeepSeek's own word for it.
        cached = usage.get("prompt_cache_hit_tokens")
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    held = _count(cached or 0)
    if prompt is None or completion is None or held is None or held > prompt:
        return None
    return Usage(prompt=prompt, cached=held, completion=completion)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None
