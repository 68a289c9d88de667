"""Who may ask: keys, signatures and clocks; with the vectors that Binance prints in its documentation."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from account_fixtures import World, refused
from pydantic import SecretStr, ValidationError

from mmkit.errors import PluginError
from mmkit_sandbox import signing
from mmkit_sandbox.account import Account
from mmkit_sandbox.accountconfig import DEMO_KEY, AccountConfig
from mmkit_sandbox.refused import Refused

# The sample key of "SIGNED request examples", Binance Spot API and WebSocket API; no secret.
KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
ORDER = (
    "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
    "&timestamp=1499827319559"
)
SIGNED = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
SOCKET: dict[str, object] = {
    "symbol": "BTCUSDT",
    "side": "SELL",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01000000",
    "price": "52000.00",
    "recvWindow": 100,
    "timestamp": 1645423376532,
    "apiKey": KEY,
}
FULL_WIDTH = "%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96"
"""Six full-width digits, percent-encoded."""
INVALID = (-1022, "Signature for this request is not valid.")


def account(**config: Any) -> Account:
    return Account(AccountConfig(**({"key": KEY, "secret": SecretStr(SECRET)} | config)), 0)


@pytest.mark.parametrize("cut", [0, 14, 60, len(ORDER)])
def test_binances_rest_vector_wherever_query_ends_and_body_begins(cut: int) -> None:
    signing.check_rest(account(), ORDER[:cut], f"{ORDER[cut:]}&signature={SIGNED}")
    signing.check_rest(account(), f"{ORDER}&signature={SIGNED.upper()}", "")
    with refused(*INVALID):
        signing.check_rest(account(), ORDER[:cut] + "x", f"{ORDER[cut:]}&signature={SIGNED}")


def test_binances_websocket_vector_whatever_the_order_of_parameters() -> None:
    signature = "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
    signing.check_socket(account(), SOCKET | {"signature": signature})
    signing.check_socket(account(), {"signature": signature} | dict(reversed(SOCKET.items())))
    with refused(*INVALID):
        signing.check_socket(account(), SOCKET | {"signature": signature, "price": "52000.01"})


def test_what_is_not_ascii_is_signed_as_it_is_encoded() -> None:
    """The third vector: the payload is signed percent-encoded, and refused if it was sent otherwise."""
    query = ORDER.replace("LTCBTC", FULL_WIDTH)
    expected = "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"
    signing.check_rest(account(), f"{query}&signature={expected}", "")
    plain = ORDER.replace("LTCBTC", "１２３４５６")
    signature = signing.hmac_signature(SECRET, plain)
    with refused(*INVALID):
        signing.check_rest(account(), f"{plain}&signature={signature}", "")
    with refused(*INVALID):
        signing.check_rest(account(), f"{query}&signature={signature}", "")


def test_an_ed25519_key_signs_rest_and_websocket() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    mine = account(secret=SecretStr(""), public_key=pem.decode())
    signature = base64.b64encode(private.sign(ORDER.encode())).decode()
    quoted = signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    signing.check_rest(mine, f"{ORDER}&signature={quoted}", "")
    with refused(*INVALID):
        signing.check_rest(mine, f"{ORDER}1&signature={quoted}", "")
    with refused(*INVALID):
        signing.check_rest(mine, f"{ORDER}&signature={SIGNED}", "")
    payload = signing.socket_payload(SOCKET)
    signed = base64.b64encode(private.sign(payload.encode())).decode()
    signing.check_socket(mine, SOCKET | {"signature": signed})


def test_a_public_key_that_is_none_is_named() -> None:
    with pytest.raises(
        PluginError, match=r"public_key: the PEM of an Ed25519 public key was expected"
    ):
        signing.public_key("-----BEGIN NOTHING-----")


@pytest.mark.parametrize(
    ("late_ms", "window", "code"),
    [
        (0, None, None),
        (5000, None, None),
        (5001, None, -1021),
        (-999, None, None),
        (-1000, None, -1021),
        (60_000, "60000", None),
        (60_001, "60000", -1021),
        (0, "60001", -1131),
        (3, "2.5", -1021),
        (2, "2.5", None),
        (0, "soon", -1102),
    ],
)
def test_a_request_is_taken_for_so_long_and_not_from_the_future(
    late_ms: int, window: str | None, code: int | None
) -> None:
    """timestamp < serverTime + 1000 and serverTime - timestamp <= recvWindow."""
    now_ms = 1_700_000_000_000
    for unit in (1, 1000):  # ms and microseconds
        params = {"timestamp": str((now_ms - late_ms) * unit)}
        if window is not None:
            params["recvWindow"] = window
        if code is None:
            signing.check_time(params, now_ms)
        else:
            with pytest.raises(Refused) as no:
                signing.check_time(params, now_ms)
            assert no.value.code == code


@pytest.mark.parametrize(
    ("key", "market", "code", "words"),
    [
        (None, "spot", -2014, "API-key format invalid."),
        ("no key", "usdm", -2014, "API-key format invalid."),
        (KEY, "spot", -2008, "Invalid Api-Key ID."),
        (KEY, "usdm", -2015, "Invalid API-key, IP, or permissions for action."),
    ],
)
def test_a_key_that_nobody_has_is_refused(
    key: str | None, market: str, code: int, words: str
) -> None:
    world = World()
    with refused(code, words):
        signing.account_of(world.accounts, key, market)


def test_what_is_missing_is_named() -> None:
    world = World()
    answered = world.desk.rest("GET", "/api/v3/account", DEMO_KEY, "timestamp=1", "", world.now)[0]
    assert answered is not None
    assert b"Mandatory parameter 'signature' was not sent" in answered.body


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"secret": SecretStr("a"), "public_key": "b"},
        {"key": "no-key", "secret": SecretStr("a")},
    ],
)
def test_an_account_that_cannot_sign_is_a_mistake(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AccountConfig(**({"key": KEY} | wrong))
