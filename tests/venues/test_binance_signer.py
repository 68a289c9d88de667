"""Signatures are those that Binance's documents print, and those of another library."""

from __future__ import annotations

import base64
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.errors import ConfigError
from mmkit_binance.account.signer import Signer

# The sample keys of Binance's own documents.
KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"


def test_rest_is_signed_as_binances_documents_print_it() -> None:
    params = {
        "symbol": "LTCBTC",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "1",
        "price": "0.1",
        "recvWindow": "5000",
        "timestamp": "1499827319559",
    }
    signature = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    assert (
        Signer(KEY, SECRET).query(params).endswith(f"timestamp=1499827319559&signature={signature}")
    )


def test_a_symbol_outside_of_ascii_is_encoded_before_it_is_signed() -> None:
    params = {
        "symbol": "１２３４５６",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "1",
        "price": "0.1",
        "recvWindow": "5000",
        "timestamp": "1499827319559",
    }
    query = Signer(KEY, SECRET).query(params)
    assert "symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&" in query
    assert query.endswith("e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3")


def test_the_websocket_api_is_signed_as_binances_documents_print_it() -> None:
    params = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01000000",
        "price": "52000.00",
        "recvWindow": 100,
        "timestamp": 1645423376532,
    }
    signed = Signer(KEY, SECRET).signed(dict(params))
    assert signed == params | {
        "apiKey": KEY,
        "signature": "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
    }


@given(
    st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), st.text())
)
def test_what_is_sent_over_rest_is_what_was_meant(params: dict[str, str]) -> None:
    params.pop("signature", None)
    payload, _, _ = Signer(KEY, SECRET).query(params).rpartition("&signature=")
    assert dict(parse_qsl(payload, keep_blank_values=True)) == params


def test_an_ed25519_signature_is_verified_by_its_public_key() -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    for text in (pem, pem.replace("\n", "\\n")):
        query = Signer(KEY, text).query({"symbol": "BTCUSDT", "timestamp": "1"})
        payload, _, _ = query.rpartition("&signature=")
        signature = dict(parse_qsl(query))["signature"]
        private.public_key().verify(base64.b64decode(signature), payload.encode())
        signed = Signer(KEY, text).signed({"timestamp": 1, "b": "x"})
        payload = f"apiKey={KEY}&b=x&timestamp=1"
        private.public_key().verify(base64.b64decode(signed["signature"]), payload.encode())


@pytest.mark.parametrize("inner", ["", "MARKEDSECRET"])
def test_a_pem_that_is_none_is_a_mistake_that_does_not_show_it(inner: str) -> None:
    pytest.importorskip("cryptography")
    pem = f"-----BEGIN PRIVATE KEY-----\n{inner}\n-----END PRIVATE KEY-----\n"
    with pytest.raises(ConfigError) as error:
        Signer(KEY, pem)
    (mistake,) = error.value.mistakes
    assert mistake.path == "venue.secret"
    assert "MARKEDSECRET" not in str(error.value)
    assert error.value.__context__ is None
