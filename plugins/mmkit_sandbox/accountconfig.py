"""Who has an account at the sandbox, and with what."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field, SecretStr, field_validator, model_validator

from mmkit.interfaces import PluginConfig
from mmkit.units import Exact

DEMO_KEY = "sandboxDemoKey00000000000000000000000000000000000000000000000000"
DEMO_SECRET = "sandboxDemoSecret00000000000000000000000000000000000000000000000"  # noqa: S105 # known to all


class AccountConfig(PluginConfig):
    """One account: its key, and what it begins with.

    The key signs with `secret` (HMAC-SHA256) or, if `public_key` is given, with Ed25519.
    """

    key: str = Field(
        pattern=r"^[A-Za-z0-9]{1,64}$", description="API key: up to 64 letters and digits."
    )
    secret: SecretStr = Field(SecretStr(""), description="Signs by HMAC-SHA256.")
    public_key: str = Field("", description="PEM of an Ed25519 public key; signs instead.")
    balances: dict[str, Exact] = Field(
        default_factory=dict, description="On spot, at the start: {USDT: '10000', BTC: '1'}."
    )
    futures: dict[str, Exact] | None = Field(
        None, description="On USD-M, at the start: {USDT: '10000'}; as on spot if left out."
    )
    coin_futures: dict[str, Exact] | None = Field(
        None, description="On COIN-M, at the start: {BTC: '1'}; as on spot if left out."
    )
    can_trade: bool = Field(True, description="Whether the key may trade.")
    can_withdraw: bool = Field(False, description="Whether the key says that it may withdraw.")
    hedge_mode: bool = Field(False, description="Contracts: long and short are kept apart.")
    leverage: int = Field(20, ge=1, le=125, description="Contracts: at the start, of every symbol.")
    multi_assets: bool = Field(False, description="USD-M says that all assets are margin.")

    spot_fees: tuple[Exact, Exact] = Field(
        (Decimal("0.001"), Decimal("0.001")), description="Maker and taker, shares of the value."
    )
    usdm_fees: tuple[Exact, Exact] = Field(
        (Decimal("0.0002"), Decimal("0.0005")), description="Maker and taker on USD-M."
    )

    coinm_fees: tuple[Exact, Exact] = Field(
        (Decimal("0.0001"), Decimal("0.0005")), description="Maker and taker on COIN-M."
    )

    @field_validator("balances", "futures", "coin_futures")
    @classmethod
    def _no_debts(cls, value: dict[str, Exact] | None) -> dict[str, Exact] | None:
        for asset, amount in (value or {}).items():
            if amount < 0:
                raise ValueError(
                    f"{asset}: an account cannot begin with less than 0, found {amount}"
                )
        return value

    @model_validator(mode="after")
    def _signs(self) -> AccountConfig:
        if bool(self.secret.get_secret_value()) == bool(self.public_key):
            raise ValueError(
                f"account {self.key!r}: give it either 'secret' (HMAC-SHA256) or 'public_key' (Ed25519)"
            )
        return self


def demo() -> AccountConfig:
    """Return the account that everybody may use, with what every listed currency needs."""
    coins = {"BTC": Decimal(2), "ETH": Decimal(50), "BNB": Decimal(100)}
    return AccountConfig(
        key=DEMO_KEY,
        secret=SecretStr(DEMO_SECRET),
        balances={"USDT": Decimal(100_000)} | coins,
        coin_futures=coins,
        futures={"USDT": Decimal(100_000)},
    )
