"""An exchange with an account, in virtual time and without sockets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from mmkit.events import Side
from mmkit_sandbox.account import Account
from mmkit_sandbox.accountconfig import DEMO_KEY, demo
from mmkit_sandbox.accountorder import AccountOrder, Lasting, OrderKind, Placing
from mmkit_sandbox.accounts import Accounts
from mmkit_sandbox.desk import Desk
from mmkit_sandbox.funding import USUAL, FundingTerms
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.refused import Refused
from mmkit_sandbox.signing import hmac_signature
from mmkit_sandbox.simulation import SimulatedExchange
from mmkit_sandbox.trouble import Reply, Trouble

S = 1_000_000_000
START = 1_700_000_000 * S
BUY, SELL = Side.BUY, Side.SELL


class World:
    """Spot and USD-M BTCUSDT and COIN-M BTCUSD_PERP, one account, and a clock that goes when it is told to."""

    def __init__(
        self,
        seed: int = 1,
        trouble: Trouble | None = None,
        funding: FundingTerms = USUAL,
        **config: Any,
    ) -> None:
        listings = [Listing.of(one) for one in ("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC")]
        self.spot, self.usdm, self.coinm = listings
        exchange = SimulatedExchange(listings, seed, START, funding=funding)
        account = demo().model_copy(update=config)
        self.accounts = Accounts(exchange, [account], START)
        self.account: Account = self.accounts.by_key[DEMO_KEY]
        self.desk = Desk(self.accounts, trouble)
        self.now = START
        self.wait(1)

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * S)
        self.accounts.advance(self.now)

    def listing(self, market: str) -> Listing:
        return {"spot": self.spot, "usdm": self.usdm, "coinm": self.coinm}[market]

    def best(self, listing: Listing, side: Side) -> Decimal:
        ticks = self.accounts.exchange.market(listing).book.best(side)
        assert ticks is not None
        return listing.tick * ticks

    def away(self, listing: Listing, side: Side, ticks: int = 20_000) -> Decimal:
        """Return a price that far behind the best one of its own side."""
        return self.best(listing, side) - side.sign * ticks * listing.tick

    def place(
        self,
        listing: Listing,
        side: Side,
        quantity: str,
        price: Decimal | None,
        lasting: Lasting = Lasting.GTC,
        **more: Any,
    ) -> AccountOrder:
        kind = OrderKind.MARKET if price is None else more.pop("kind", OrderKind.LIMIT)
        asked = Placing(side, kind, Decimal(quantity), price, lasting, **more)
        return self.accounts.place(self.account, listing, asked)

    def events(self, market: str | None = None) -> list[dict[str, Any]]:
        return [one.event for one in self.desk.take() if market in {None, one.market}]

    def ask(self, method: str, path: str, **params: Any) -> tuple[int, Any]:
        """Send a signed REST request; return status and body."""
        reply = self.reply(method, path, **params)
        assert reply is not None
        import msgspec

        return reply.status, msgspec.json.decode(reply.body)

    def reply(self, method: str, path: str, **params: Any) -> Reply | None:
        words = "&".join(
            f"{name}={value}"
            for name, value in (params | {"timestamp": self.now // 1_000_000}).items()
        )
        secret = self.account.config.secret.get_secret_value()
        query = f"{words}&signature={hmac_signature(secret, words)}"
        return self.desk.rest(method, path, DEMO_KEY, query, "", self.now)[0]


def refused(code: int, words: str) -> Any:
    """Return a context in which Binance is to refuse with a code and words."""

    class _Expected:
        def __enter__(self) -> None:
            self.raises = pytest.raises(Refused)
            self.found = self.raises.__enter__()

        def __exit__(self, *what: Any) -> bool:
            ended = bool(self.raises.__exit__(*what))
            assert (self.found.value.code, self.found.value.message) == (code, words)
            return ended

    return _Expected()
