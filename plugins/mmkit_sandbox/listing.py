"""What the sandbox lists, and how it writes prices and quantities."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from mmkit.errors import UsageError

SPOT, USDM = "spot", "usdm"

# What a liquid pair roughly costs, in quote currency; only a place to start from.
_PRICES = {
    "BTC": Decimal(60_000),
    "ETH": Decimal(2_500),
    "BNB": Decimal(600),
    "SOL": Decimal(150),
    "XRP": Decimal("0.5"),
}
_OTHER_PRICE = Decimal(100)
_WEIGHT_PER_MINUTE = {SPOT: 6000, USDM: 2400}


class GridText:
    """Writes whole steps of a grid as Binance does: a plain decimal with a fixed number of places."""

    def __init__(self, step: Decimal, places: int) -> None:
        self._step = int(step.scaleb(places))
        self._scale, self._places = 10**places, places

    def __call__(self, count: int) -> str:
        """Return `count` steps as text."""
        whole, fraction = divmod(count * self._step, self._scale)
        return f"{whole}.{fraction:0{self._places}d}" if self._places else str(whole)


class Listing:
    """One symbol of one market, with its grid.

    Args:
        market: ``spot`` or ``usdm``.
        base: Base currency.
        quote: Quote currency.
        tick: Price step in quote currency; USD-M prices have as many places as it is written with.
        lot: Quantity step in base currency, likewise.
        price: Where a simulated market starts, in quote currency.
        symbol: Binance's name; base and quote run together unless given.
    """

    def __init__(
        self,
        market: str,
        base: str,
        quote: str,
        *,
        tick: Decimal,
        lot: Decimal,
        price: Decimal,
        symbol: str = "",
    ) -> None:
        self.market, self.base, self.quote = market, base, quote
        self.symbol = symbol or base + quote
        self.tick, self.lot, self.price = tick, lot, price
        self.price_places = 8 if market == SPOT else _places(tick)
        self.quantity_places = 8 if market == SPOT else _places(lot)
        self.price_text = GridText(tick, self.price_places)
        self.quantity_text = GridText(lot, self.quantity_places)

    @classmethod
    def of(
        cls,
        symbol: str,
        *,
        tick: Decimal | None = None,
        lot: Decimal | None = None,
        price: Decimal | None = None,
    ) -> Listing:
        """List ccxt's unified `symbol`: ``BTC/USDT`` on spot, ``BTC/USDT:USDT`` on USD-M.

        Tick, lot and price are those of BTCUSDT, scaled to what the base currency roughly costs,
        unless they are given.

        Raises:
            UsageError: if the sandbox cannot list such a symbol.
        """
        pair, _, settle = symbol.upper().partition(":")
        base, _, quote = pair.partition("/")
        if not base or not quote or (settle and settle != quote):
            raise UsageError(
                f"the sandbox cannot list {symbol!r}; expected 'BASE/QUOTE' for spot or "
                "'BASE/QUOTE:QUOTE' for USD-M, such as 'BTC/USDT' or 'BTC/USDT:USDT'"
            )
        market = USDM if settle else SPOT
        price = price or _PRICES.get(base, _OTHER_PRICE)
        magnitude = math.floor(math.log10(price))
        # BTCUSDT at 60,000: tick 0.10 and lot 0.001 on USD-M, 0.01 and 0.00001 on spot.
        if market == USDM:
            tick = tick or Decimal(10).scaleb(magnitude - 6)
            lot = lot or Decimal(1).scaleb(1 - magnitude)
        else:
            tick = tick or Decimal(1).scaleb(magnitude - 6)
            lot = lot or Decimal(1).scaleb(-1 - magnitude)
        return cls(market, base, quote, tick=tick, lot=lot, price=price)

    def info(self) -> dict[str, Any]:
        """Return the symbol's entry in exchangeInfo.

        Fields: Binance Spot API, "Exchange information"; USD-M Futures API, the same.
        """
        tick, lot = self.price_text(1), self.quantity_text(1)
        price = {
            "filterType": "PRICE_FILTER",
            "minPrice": tick,
            "maxPrice": self.price_text(10**12),
            "tickSize": tick,
        }
        size = {
            "filterType": "LOT_SIZE",
            "minQty": lot,
            "maxQty": self.quantity_text(10**9),
            "stepSize": lot,
        }
        common = {
            "symbol": self.symbol,
            "status": "TRADING",
            "baseAsset": self.base,
            "quoteAsset": self.quote,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
        }
        if self.market == SPOT:
            return common | {
                "quoteAssetPrecision": 8,
                "baseCommissionPrecision": 8,
                "quoteCommissionPrecision": 8,
                "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
                "icebergAllowed": False,
                "ocoAllowed": False,
                "otoAllowed": False,
                "quoteOrderQtyMarketAllowed": False,
                "allowTrailingStop": False,
                "cancelReplaceAllowed": True,
                "isSpotTradingAllowed": True,
                "isMarginTradingAllowed": False,
                "filters": [
                    price,
                    size,
                    {
                        "filterType": "NOTIONAL",
                        "minNotional": "5.00000000",
                        "applyMinToMarket": True,
                        "maxNotional": "9000000.00000000",
                        "applyMaxToMarket": False,
                        "avgPriceMins": 5,
                    },
                    {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
                ],
                "permissions": [],
                "permissionSets": [["SPOT"]],
                "defaultSelfTradePreventionMode": "NONE",
                "allowedSelfTradePreventionModes": ["NONE"],
            }
        return common | {
            "pair": self.symbol,
            "contractType": "PERPETUAL",
            "deliveryDate": 4_133_404_800_000,
            "onboardDate": 1_569_398_400_000,
            "maintMarginPercent": "2.5000",
            "requiredMarginPercent": "5.0000",
            "marginAsset": self.quote,
            "pricePrecision": self.price_places,
            "quantityPrecision": self.quantity_places,
            "underlyingType": "COIN",
            "underlyingSubType": [],
            "triggerProtect": "0.0500",
            "liquidationFee": "0.012500",
            "marketTakeBound": "0.05",
            "filters": [
                price,
                size,
                size | {"filterType": "MARKET_LOT_SIZE"},
                {"filterType": "MAX_NUM_ORDERS", "limit": 200},
                {"filterType": "MIN_NOTIONAL", "notional": "100"},
                {
                    "filterType": "PERCENT_PRICE",
                    "multiplierUp": "1.0500",
                    "multiplierDown": "0.9500",
                    "multiplierDecimal": "4",
                },
            ],
            "orderTypes": ["LIMIT", "MARKET"],
            "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
        }


def exchange_info(market: str, listings: list[Listing], now_ms: int) -> dict[str, Any]:
    """Return the body of exchangeInfo for the listings of one market."""
    info: dict[str, Any] = {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": _WEIGHT_PER_MINUTE[market],
            }
        ],
        "exchangeFilters": [],
        "symbols": [listing.info() for listing in listings],
    }
    if market == USDM:
        assets = dict.fromkeys(listing.quote for listing in listings)
        info |= {
            "futuresType": "U_MARGINED",
            "assets": [
                {"asset": asset, "marginAvailable": True, "autoAssetExchange": "0"}
                for asset in assets
            ],
        }
    return info


def _places(step: Decimal) -> int:
    exponent = step.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
