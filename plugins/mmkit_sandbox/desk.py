"""Where private requests are let in, carried out and answered; REST and WebSocket API alike. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from mmkit_sandbox import signing
from mmkit_sandbox.account import Account
from mmkit_sandbox.accountpayload import order as order_record
from mmkit_sandbox.accountpayload import quantity_text
from mmkit_sandbox.accountpayload import trade as trade_record
from mmkit_sandbox.accounts import Accounts, Said
from mmkit_sandbox.endpoints import Call, Endpoint
from mmkit_sandbox.ledger import text
from mmkit_sandbox.limits import Limits
from mmkit_sandbox.listenkeys import ListenKeys
from mmkit_sandbox.listing import COINM, FUTURES, SPOT, USDM
from mmkit_sandbox.parameters import Parameters
from mmkit_sandbox.refused import Refused
from mmkit_sandbox.routes import ENDPOINTS
from mmkit_sandbox.trouble import PAGE, Meddled, Reply, Trouble

_UNKNOWN = Refused(
    -1007,
    "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    408,
)


class Carried(NamedTuple):
    """What became of a request.

    Attributes:
        status: Of HTTP.
        body: The answer.
        retry_after_s: When to ask again, if it is told.
        page: A web page is the answer instead.
        cut: There is no answer.
    """

    status: int
    body: Any
    retry_after_s: int | None = None
    page: bool = False
    cut: bool = False


class Desk:
    """The private side of the exchange.

    Args:
        accounts: The customers.
        trouble: What goes wrong; `None` for nothing.
        limits: Of requests and orders; Binance's unless given.
    """

    def __init__(
        self, accounts: Accounts, trouble: Trouble | None = None, limits: Limits | None = None
    ) -> None:
        self.accounts, self.trouble = accounts, trouble
        self.limits, self.listen_keys = limits or Limits(), ListenKeys()
        self._said: list[Said] = []

    def rest(
        self, method: str, path: str, key: str | None, query: str, body: str, now_ns: int
    ) -> tuple[Reply | None, dict[str, str]]:
        """Answer a REST request; `None` for no answer at all.

        Args:
            method: Of HTTP.
            path: One of `ENDPOINTS`.
            key: The header ``X-MBX-APIKEY``.
            query: As sent.
            body: As sent.
            now_ns: The exchange's time.

        Returns:
            The answer and its headers.
        """
        endpoint, market = ENDPOINTS[method, path], market_of(path)
        account: Account | None = None
        try:
            account = signing.account_of(self.accounts, key, market)
            params = dict(parse_qsl(query, keep_blank_values=True))
            params |= dict(parse_qsl(body, keep_blank_values=True))
            if endpoint.signed:
                signing.check_rest(account, query, body, market)
                signing.check_time(params, now_ns // 1_000_000)
            carried = self.carry_out(endpoint, account, market, params, now_ns, f"{method} {path}")
        except Refused as refused:
            self.limits.count(market, max(1, endpoint.weight), now_ns)
            carried = Carried(refused.status, refused.body)
        headers = self.limits.headers(market, account.key if account else None, now_ns)
        if carried.cut:
            return None, headers
        if carried.page:
            return Reply(503, PAGE, "text/html"), headers
        retry_after_s = carried.retry_after_s
        if retry_after_s is None and carried.status == 429:
            retry_after_s = self.limits.retry_after_s(market, now_ns)
        answer = msgspec.json.encode(carried.body)
        reply = Reply(carried.status, answer, retry_after_s=retry_after_s)
        if self.trouble is not None:
            reply = self.trouble.answer(reply, now_ns, path)
        return reply, headers

    def carry_out(
        self,
        endpoint: Endpoint,
        account: Account,
        market: str,
        params: Mapping[str, str],
        now_ns: int,
        name: str,
    ) -> Carried:
        """Do what an account that has been let in asks for; what it is refused is an answer, too."""
        places = endpoint.orders > 0 and not name.startswith("PUT")
        met = Meddled()
        if self.trouble is not None and endpoint.signed:
            met = self.trouble.request(now_ns, name, market, acts=endpoint.acts, places=places)
        if met.page:
            return Carried(503, None, page=True)
        if met.lost:
            return Carried(0, None, cut=True)
        try:
            if met.refusal is not None:
                raise met.refusal
            self._gather()
            self.limits.let_in(now_ns)
            if endpoint.orders:
                self.limits.order(market, account.key, now_ns)
            if not endpoint.free:
                self.limits.weigh(market, endpoint.weight, now_ns)
            self.accounts.hide_next_ns = met.hide_ns
            call = Call(
                self.accounts,
                account,
                market,
                Parameters(params),
                self.limits,
                self.listen_keys,
                now_ns,
            )
            carried = Carried(200, endpoint.answer(call))
        except Refused as refused:
            if endpoint.free:
                self.limits.count(market, endpoint.weight, now_ns)
            after_s = met.retry_after_s
            if met.refusal is None and refused.status in (418, 429):
                after_s = (
                    self.limits.orders_after_s(market, account.key, now_ns)
                    if refused.code == -1015
                    else self.limits.retry_after_s(market, now_ns)
                )
            carried = Carried(refused.status, refused.body, after_s)
        finally:
            self.accounts.hide_next_ns = 0
        if met.unanswered:
            return Carried(0, None, cut=True)
        if met.unknown:
            return Carried(_UNKNOWN.status, _UNKNOWN.body)
        return carried

    def take(self) -> list[Said]:
        """Return what user streams say since the last call, in order."""
        self._gather()
        said, self._said = self._said, []
        return said

    def _gather(self) -> None:
        """Take what has been said; on spot an order that has traded does not count any more."""
        said = self.accounts.take()
        for key, market, event in said:
            if market == SPOT and event.get("x") == "TRADE" and event["l"] == event["z"]:
                self.limits.traded(SPOT, key, self.accounts.now_ns)
        self._said += said

    def ledger(self, key: str) -> dict[str, Any] | None:
        """Return all that is known of an account, to the last digit; `None` if there is none."""
        account = self.accounts.by_key.get(key)
        if account is None:
            return None
        listings = {(one.market, one.symbol): one for one in self.accounts.listings()}
        return {
            "time": self.accounts.now_ns // 1_000_000,
            "spot": {
                asset: {"free": text(balance.free), "locked": text(balance.locked)}
                for asset, balance in account.spot.balances.items()
            },
            **{
                market: {
                    "wallet": {a: text(amount) for a, amount in account.wallets[market].items()},
                    "positions": {
                        symbol: {
                            "quantity": quantity_text(listings[market, symbol], position.quantity),
                            "cost": text(position.cost),
                            "realised": text(position.realised),
                        }
                        for symbol, position in account.positions.items()
                        if (market, symbol) in listings
                        and position.updated_ns  # it has been traded
                    },
                }
                for market in FUTURES
            },
            "orders": [
                {"market": order.listing.market} | order_record(order)
                for order in account.all_orders()
            ],
            "trades": [
                {"market": one.order.listing.market, "clientOrderId": one.order.client_id}
                | trade_record(one)
                for one in account.trades
            ],
            "entries": [
                {
                    "time": one.ts_ns // 1_000_000,
                    "market": one.market,
                    "kind": one.kind.value,
                    "asset": one.asset,
                    "amount": text(one.amount),
                    "symbol": one.symbol,
                    "orderId": one.order_id,
                    "tradeId": one.trade_id,
                }
                for one in account.entries
            ],
        }


def market_of(path: str) -> str:
    """Return the market that a private address is of."""
    return {"/fapi": USDM, "/dapi": COINM}.get(path[:5], SPOT)
