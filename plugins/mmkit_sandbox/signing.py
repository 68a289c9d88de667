"""Whether a request is signed by the key that it names, and in time. No I/O, no clock.

Sources: Binance Spot API, "Request security", and WebSocket API, "Request security"; "Error codes" (-1021,
-1022, -1102, -1131, -2008, -2014, -2015).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mmkit.errors import PluginError
from mmkit_sandbox.account import Account
from mmkit_sandbox.accounts import Accounts
from mmkit_sandbox.listing import SPOT
from mmkit_sandbox.refused import Refused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_KEY = re.compile(r"[A-Za-z0-9]{1,64}")
_SIGNATURE = re.compile(r"(?:^|&)signature=([^&]*)")
_UNENCODED = re.compile(r"[^\x21-\x7e]|[\"<>\[\]{}|\\^`]")
"""What may not stand in a payload as it is; Binance Spot refuses such a signature since 2026-01-15."""
_AHEAD_MS = 1000
_DEFAULT_WINDOW_MS, _MAX_WINDOW_MS = 5000, 60_000
_MICRO = 10**15  # a timestamp as large as this is in microseconds


def account_of(accounts: Accounts, key: str | None, market: str) -> Account:
    """Return whose key it is.

    Raises:
        Refused: -2014 if it is no key, -2008 (spot) or -2015 (USD-M) if it is nobody's.
    """
    if key is None or _KEY.fullmatch(key) is None:
        raise Refused(-2014, "API-key format invalid.", 401)
    account = accounts.by_key.get(key)
    if account is None:
        if market == SPOT:
            raise Refused(-2008, "Invalid Api-Key ID.", 401)
        raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return account


def check_rest(account: Account, query: str, body: str, market: str = SPOT) -> None:
    """Refuse a request that is not signed by the account's key.

    The payload is query and body as they were sent, one after the other, without the signature.

    Args:
        account: Whose key the request names.
        query: Of the address, percent-encoded, as sent.
        body: Of the request, as sent.
        market: Spot refuses what is not percent-encoded; ccxt sends USD-M's batches as plain JSON.
    """
    found = _SIGNATURE.search(query) or _SIGNATURE.search(body)
    if found is None or not found[1]:
        raise _missing("signature")
    payload = _SIGNATURE.sub("", query) + _SIGNATURE.sub("", body)
    if market == SPOT and _UNENCODED.search(payload):
        raise _wrong()
    _check(account, payload.removeprefix("&"), unquote(found[1]))


def check_socket(account: Account, params: Mapping[str, object]) -> None:
    """Refuse a WebSocket API request that is not signed by the account's key.

    The payload is all parameters but the signature, sorted, ``k=v`` joined by ``&``, not encoded.
    """
    signature = params.get("signature")
    if not isinstance(signature, str) or not signature:
        raise _missing("signature")
    _check(account, socket_payload(params), signature)


def socket_payload(params: Mapping[str, object]) -> str:
    """Return what a WebSocket API request's signature is of."""
    return "&".join(
        f"{name}={word(value)}" for name, value in sorted(params.items()) if name != "signature"
    )


def word(value: object) -> str:
    """Return a JSON parameter as it stands in a payload."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def check_time(params: Mapping[str, str], now_ms: int) -> None:
    """Refuse a request from too long ago or from the future.

    Args:
        params: With ``timestamp``, in ms or microseconds, and maybe ``recvWindow`` in ms.
        now_ms: The exchange's time.

    Raises:
        Refused: -1102, -1131 or -1021.
    """
    text = params.get("timestamp", "")
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise _missing("timestamp")
    window_text = params.get("recvWindow") or str(_DEFAULT_WINDOW_MS)
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", window_text):
        raise _missing("recvWindow")
    window = float(window_text)
    if window > _MAX_WINDOW_MS:
        raise Refused(-1131, f"recvWindow must be less than {_MAX_WINDOW_MS}")
    timestamp = int(text) / 1000 if int(text) >= _MICRO else int(text)
    if timestamp >= now_ms + _AHEAD_MS:
        raise Refused(
            -1021,
            f"Timestamp for this request was {_AHEAD_MS}ms ahead of the server's time.",
        )
    if now_ms - timestamp > window:
        raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")


def hmac_signature(secret: str, payload: str) -> str:
    """Return the HMAC-SHA256 of a payload, in hexadecimal."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def _check(account: Account, payload: str, signature: str) -> None:
    config = account.config
    if config.public_key:
        verify = _verifier(config.public_key)
        if not verify(payload, signature):
            raise _wrong()
        return
    expected = hmac_signature(config.secret.get_secret_value(), payload)
    if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
        raise _wrong()


@lru_cache(maxsize=16)
def _verifier(pem: str) -> Callable[[str, str], bool]:
    from cryptography.exceptions import InvalidSignature

    key = public_key(pem)

    def verify(payload: str, signature: str) -> bool:
        try:
            key.verify(base64.b64decode(signature, validate=True), payload.encode())
        except (InvalidSignature, binascii.Error):
            return False
        return True

    return verify


def public_key(pem: str) -> Ed25519PublicKey:
    """Return an Ed25519 public key.

    Raises:
        PluginError: if the package that knows such keys is missing, or it is none.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise PluginError(
            "the sandbox needs the package 'cryptography' for accounts with 'public_key'; install "
            "'mmkit[ccxt]', which brings it, or give the account a 'secret'"
        ) from error
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise PluginError(
            "services.sandbox.accounts.public_key: the PEM of an Ed25519 public key was expected "
            f"('-----BEGIN PUBLIC KEY-----' ...); found something else: {error}"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise PluginError(
            "services.sandbox.accounts.public_key: an Ed25519 public key was expected; found a "
            f"{type(key).__name__}; make one with 'openssl genpkey -algorithm ed25519'"
        )
    return key


def _missing(name: str) -> Refused:
    return Refused(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def _wrong() -> Refused:
    return Refused(-1022, "Signature for this request is not valid.")
