"""What may be written beside ``plugin: binance`` of a venue."""

from __future__ import annotations

from pydantic import Field, SecretStr

from mmkit.interfaces import AccountConfig
from mmkit_binance.endpoints import Endpoint


class BinanceAccountConfig(AccountConfig):
    """What may be written beside ``plugin: binance`` of a venue."""

    endpoint: Endpoint = Field(description="live, testnet, demo, or the local sandbox.")
    secret: SecretStr | None = Field(
        None, description="What Binance gave with the key, or the PEM of an Ed25519 private key."
    )
    url: str | None = Field(None, description="Root of the sandbox, in place of the service's.")
