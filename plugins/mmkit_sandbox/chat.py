"""The wire format of chat completions, as far as the sandbox speaks it: requests read, answers written.

Source: the request and response bodies of openai 3.57.0, ``openai/types/chat`` and ``openai/types/model.py``.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

BYTES_PER_TOKEN = 4
"""What a token is estimated at, UTF-8: about right for English, of Korean a model counts fewer."""
_PER_MESSAGE = 4  # tokens that a chat template puts around each message, roughly

Form = Literal["json_schema", "json_object", "text"]


class ChatRefused(Exception):  # noqa: N818  # not an error of ours: it becomes the answer
    """A request that is answered with an error.

    Args:
        status: Of the answer.
        words: Why, and what to do.
        kind: ``error.type`` of the body.
        code: ``error.code``, `None` for none.
        param: ``error.param``: what in the request was wrong, `None` for nothing in particular.
    """

    def __init__(
        self,
        status: int,
        words: str,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(words)
        self.status, self.kind, self.code, self.param = status, kind, code, param


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class ChatMessage(msgspec.Struct):
    """One message; of a list of parts only text is taken."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None

    @property
    def text(self) -> str:
        """What it says."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class _Schema(msgspec.Struct):
    name: str = ""
    schema: dict[str, Any] = {}


class _Format(msgspec.Struct):
    type: Form
    json_schema: _Schema | None = None


class ChatRequest(msgspec.Struct):
    """What is read of a request; fields that are not listed are passed over, as gateways do."""

    model: str
    messages: list[ChatMessage]
    response_format: _Format | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool | None = None
    n: int | None = None
    tools: list[Any] | None = None

    @property
    def form(self) -> Form:
        """How the answer is asked for."""
        return "text" if self.response_format is None else self.response_format.type

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer shall have, `None` where none is asked for."""
        wanted = self.response_format
        if wanted is None or wanted.type != "json_schema" or wanted.json_schema is None:
            return None
        return wanted.json_schema.schema

    @property
    def text(self) -> str:
        """All messages, one after the other."""
        return "\n".join(message.text for message in self.messages)

    @property
    def most_tokens(self) -> int | None:
        """The most tokens that the answer may have, `None` for no limit."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


_decode = msgspec.json.Decoder(ChatRequest).decode


def read_request(body: bytes) -> ChatRequest:
    """Return the request that a body is.

    Raises:
        ChatRefused: if it is none, or asks for what the sandbox does not have.
    """
    try:
        request = _decode(body)
    except msgspec.DecodeError as error:
        raise ChatRefused(400, f"The body is no chat completion request: {error}.") from None
    if not request.messages:
        raise ChatRefused(400, "'messages' is empty; at least one was expected.", param="messages")
    if request.stream:
        raise ChatRefused(
            400,
            "The sandbox does not stream: it answers in one piece; leave 'stream' out.",
            param="stream",
        )
    if request.n not in (None, 1):
        raise ChatRefused(
            400, f"The sandbox gives one answer, {request.n} were asked for.", param="n"
        )
    if request.tools:
        raise ChatRefused(
            400, "The sandbox has no tools to call; leave 'tools' out.", param="tools"
        )
    if request.form == "json_schema" and not request.schema:
        raise ChatRefused(
            400,
            "'response_format.json_schema.schema' was expected.",
            param="response_format.json_schema.schema",
        )
    # OpenAI refuses the JSON mode without the word, because models then go on and on.
    if request.form == "json_object" and "json" not in request.text.lower():
        raise ChatRefused(
            400,
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
            "'json_object'.",
            param="messages",
        )
    return request


def estimated_tokens(text: str) -> int:
    """Return how many tokens a text is taken for: a quarter of its bytes, rounded up."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def usage(request: ChatRequest, content: str) -> dict[str, int]:
    """Return the usage of a request and its answer, estimated."""
    prompt = sum(estimated_tokens(one.text) + _PER_MESSAGE for one in request.messages)
    completion = estimated_tokens(content)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def completion(
    request: ChatRequest, content: str, *, model: str, number: int, created_s: int
) -> dict[str, Any]:
    """Return the body of an answer; one that is longer than the request allows is cut.

    Args:
        request: What it answers.
        content: What it says.
        model: Which model says it.
        number: Of the request, for the answer's id.
        created_s: When, seconds since the epoch.
    """
    most, finish = request.most_tokens, "stop"
    if most is not None and estimated_tokens(content) > most:
        content = content.encode()[: most * BYTES_PER_TOKEN].decode(errors="ignore")
        finish = "length"
    return {
        "id": f"chatcmpl-sandbox-{number}",
        "object": "chat.completion",
        "created": created_s,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": None},
                "logprobs": None,
                "finish_reason": finish,
            }
        ],
        "usage": usage(request, content),
    }


def models(names: tuple[str, ...], created_s: int) -> dict[str, Any]:
    """Return the body of the answer to ``GET /v1/models``."""
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": created_s, "owned_by": "mmkit-sandbox"}
            for name in names
        ],
    }


def error_body(refused: ChatRefused) -> dict[str, Any]:
    """Return the body that says why a request was refused."""
    return {
        "error": {
            "message": str(refused),
            "type": refused.kind,
            "param": refused.param,
            "code": refused.code,
        }
    }
