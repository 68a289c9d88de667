"""Signs requests.

Source: Binance Spot API docs of 2026-07-21, "rest-api.md" and "web-socket-api.md", "Request security". Over REST the payload
is query and body as they are sent, percent-encoded before signing; over the WebSocket API all parameters but the
signature, sorted by name, not encoded. HMAC-SHA256 is told in hexadecimal, Ed25519 in base64.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from mmkit.errors import ConfigError, Mistake, PluginError

_PEM = "PRIVATE KEY"


class Signer:
    """Signs with a secret, or with an Ed25519 key if the secret is the PEM of one.

    Args:
        key: The API key.
        secret: As Binance gave it, or the PEM.

    Raises:
        ConfigError: if it is a PEM that cannot be used.
        PluginError: if the package for such keys is missing.
    """

    __slots__ = ("_key", "_sign")

    def __init__(self, key: str, secret: str) -> None:
        self._key = key
        self._sign = _ed25519(secret) if _PEM in secret else _hmac(secret)

    @property
    def headers(self) -> dict[str, str]:
        """What a REST request carries."""
        return {"X-MBX-APIKEY": self._key}

    def query(self, params: Mapping[str, str]) -> str:
        """Return parameters as they are sent over REST, with their signature."""
        payload = urlencode(params)
        return f"{payload}&signature={quote(self._sign(payload), safe='')}"

    def signed(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return parameters of the WebSocket API, with key and signature. Booleans are to be given as text."""
        params["apiKey"] = self._key
        payload = "&".join([f"{name}={params[name]}" for name in sorted(params)])
        params["signature"] = self._sign(payload)
        return params


def _hmac(secret: str) -> Callable[[str], str]:
    key = secret.encode()

    def sign(payload: str) -> str:
        return hmac.digest(key, payload.encode(), "sha256").hex()

    return sign


def _ed25519(pem: str) -> Callable[[str], str]:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise PluginError(
            "an Ed25519 key needs 'cryptography', which is not installed: pip install \"mmkit[ccxt]\", which brings it"
        ) from None
    # A PEM in the environment often has its line breaks as two letters.
    text = pem.replace("\\n", "\n").encode()
    mistake = ""
    try:
        key = load_pem_private_key(text, None)
    except (ValueError, TypeError) as error:
        mistake = type(error).__name__  # its words may quote the key
    else:
        if isinstance(key, Ed25519PrivateKey):
            private = key

            def sign(payload: str) -> str:
                return base64.b64encode(private.sign(payload.encode())).decode()

            return sign
        mistake = type(key).__name__
    words = f"the PEM of an Ed25519 private key without a password was expected; found {mistake}"
    hint = "make one with 'openssl genpkey -algorithm ed25519', or use an HMAC key"
    raise ConfigError([Mistake("", "venue.secret", words, hint)])
