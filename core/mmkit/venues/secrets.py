"""Takes secrets out of words that are to be shown: libraries put addresses with signatures into their errors."""

from __future__ import annotations

import re
from collections.abc import Iterable

_QUERY = re.compile(r"(\w+://[^\s?'\")]+)\?[^\s'\")]*")
_NAMED = re.compile(
    r"(?i)\b(signature|listen_?key|api-?key|secret|x-mbx-apikey|passphrase|password)(['\"]?\s*[=:]\s*['\"]?)[^\s&'\",}]+"
)
_LEAST_LETTERS = 4
"""Shorter ones would be found in any word."""


def without_secrets(words: str, secrets: Iterable[str] = ()) -> str:
    """Return words without the queries of addresses, the values of named secrets, and the given ones."""
    for secret in secrets:
        if len(secret) >= _LEAST_LETTERS:
            words = words.replace(secret, "***")
    words = _QUERY.sub(r"\1?***", words)
    return _NAMED.sub(r"\1\2***", words)
