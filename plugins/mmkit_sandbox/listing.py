"""What the sandbox lists, and how it writes prices and quantities."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from mmkit.errors import UsageError
from mmkit_sandbox.contract import Contract

SPOT, USDM, COINM = "spot", "usdm", "coinm"
FUTURES = (USDM, COINM)

# What a liquid pair roughly costs, in quote currency; only a place to start from.
_PRICES = {
    "BTC": Decimal(60_000),
    "ETH": Decimal(2_500),
    "BNB": Decimal(600),
    "SOL": Decimal(150),
    "XRP": Decimal("0.5"),
}
_OTHER_PRICE = Decimal(100)
WEIGHT_PER_MINUTE = {SPOT: 6000, USDM: 2400, COINM: 2400}
MAX_NUM_ORDERS = 200
"""Open orders of one account and symbol."""
SPOT_MIN_NOTIONAL, SPOT_MAX_NOTIONAL = Decimal(5), Decimal(9_000_000)
SPOT_BAND = (Decimal("0.2"), Decimal(5))
"""PERCENT_PRICE_BY_SIDE of BTCUSDT: the least and the greatest price, as shares of the average one."""
USDM_MIN_NOTIONAL = Decimal(100)
USDM_BAND = (Decimal("0.95"), Decimal("1.05"))
"""PERCENT_PRICE of BTCUSDT, around the mark price."""
ORDER_LIMITS = {
    SPOT: (("SECOND", 10, 100), ("DAY", 1, 200_000)),
    USDM: (("SECOND", 10, 300), ("MINUTE", 1, 1200)),
    COINM: (("SECOND", 10, 300), ("MINUTE", 1, 1200)),
}
"""Of one account: interval, how many of it, and how many orders."""
_VALUE_PLACES = 8
_VALUE_UNITS = 100_000_000


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
        market: ``spot``, ``usdm`` or ``coinm``.
        base: Base currency.
        quote: Quote currency.
        tick: Price step in quote currency; futures' prices have as many places as it is written with.
        lot: Quantity step in base currency, on COIN-M in contracts; likewise.
        price: Where a simulated market starts, in quote currency.
        symbol: Binance's name; base and quote run together unless given, on COIN-M with ``_PERP``.

    Attributes:
        pair: Base and quote run together.
        contract_size: Quote currency per contract, COIN-M only: 100 USD of BTC, 10 USD of others.
        contract: How much a quantity is worth.
        settle: The currency that profit is counted in.
        halted: Whether no orders are taken, as of a symbol that is being delisted.
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
        self.pair = base + quote
        self.symbol = symbol or self.pair + ("_PERP" if market == COINM else "")
        self.contract_size = (100 if base == "BTC" else 10) if market == COINM else None
        self.contract = Contract(
            None if self.contract_size is None else Decimal(self.contract_size)
        )
        self.settle = base if market == COINM else quote
        self.halted = False
        self.tick, self.lot, self.price = tick, lot, price
        self.price_places = 8 if market == SPOT else _places(tick)
        self.quantity_places = 8 if market == SPOT else _places(lot)
        self.max_price, self.max_quantity = tick * 10**12, lot * 10**9
        self.price_text = GridText(tick, self.price_places)
        self.quantity_text = GridText(lot, self.quantity_places)
        self._ratio = (lot * (self.contract_size or tick)).as_integer_ratio()
        self._tick = tick.as_integer_ratio()

    @property
    def lot_value(self) -> float:
        """What one lot is worth where the market starts, in quote currency."""
        return float(self.lot * (self.contract_size or self.price))

    def value(self, price: int, quantity: int) -> int:
        """Return what was paid for lots at a price in ticks, in 1e-8 of the settlement currency, rounded."""
        above, below = self._ratio
        if self.contract_size is None:
            above *= price
        else:
            # Contracts are worth a fixed amount of quote currency, and so ever less base the higher the price.
            above, below = above * self._tick[1], below * price * self._tick[0]
        return (2 * quantity * above * _VALUE_UNITS + below) // (2 * below)

    def value_text(self, value: int) -> str:
        """Return what `value` tells as Binance writes it."""
        whole, fraction = divmod(value, _VALUE_UNITS)
        return f"{whole}.{fraction:0{_VALUE_PLACES}d}"

    @classmethod
    def of(
        cls,
        symbol: str,
        *,
        tick: Decimal | None = None,
        lot: Decimal | None = None,
        price: Decimal | None = None,
    ) -> Listing:
        """List ccxt's unified `symbol`: ``BTC/USDT`` on spot, ``BTC/USDT:USDT`` on USD-M, ``BTC/USD:BTC`` on COIN-M.

        Tick, lot and price are those of BTCUSDT, scaled to what the base currency roughly costs,
        unless they are given.

        Raises:
            UsageError: if the sandbox cannot list such a symbol.
        """
        pair, _, settle = symbol.upper().partition(":")
        base, _, quote = pair.partition("/")
        markets = {"": SPOT, quote: USDM, base: COINM}
        if not base or not quote or base == quote or settle not in markets:
            raise UsageError(
                f"the sandbox cannot list {symbol!r}; expected 'BASE/QUOTE' for spot, 'BASE/QUOTE:QUOTE' for "
                "USD-M or 'BASE/QUOTE:BASE' for COIN-M, such as 'BTC/USDT', 'BTC/USDT:USDT' or 'BTC/USD:BTC'"
            )
        market = markets[settle]
        price = price or _PRICES.get(base, _OTHER_PRICE)
        magnitude = math.floor(math.log10(price))
        # BTCUSDT at 60,000: tick 0.10 and lot 0.001 on USD-M, 0.01 and 0.00001 on spot. COIN-M: whole contracts.
        if market in FUTURES:
            # As Binance writes them: 0.10 and, on COIN-M, 0.1.
            ten = Decimal(10) if market == USDM else Decimal("1E+1")
            tick = tick or ten.scaleb(magnitude - 6)
            lot = lot or (Decimal(1).scaleb(1 - magnitude) if market == USDM else Decimal(1))
        else:
            tick = tick or Decimal(1).scaleb(magnitude - 6)
            lot = lot or Decimal(1).scaleb(-1 - magnitude)
        return cls(market, base, quote, tick=tick, lot=lot, price=price)

    @property
    def _status(self) -> str:
        if not self.halted:
            return "TRADING"
        return "BREAK" if self.market == SPOT else "SETTLING"

    def info(self) -> dict[str, Any]:
        """Return the symbol's entry in exchangeInfo.

        Fields: Binance Spot API, "Exchange information"; USD-M and COIN-M Futures API, the same.
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
            "contractStatus" if self.market == COINM else "status": self._status,
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
                        "minNotional": f"{SPOT_MIN_NOTIONAL:.8f}",
                        "applyMinToMarket": True,
                        "maxNotional": f"{SPOT_MAX_NOTIONAL:.8f}",
                        "applyMaxToMarket": False,
                        "avgPriceMins": 5,
                    },
                    {
                        "filterType": "PERCENT_PRICE_BY_SIDE",
                        "bidMultiplierUp": str(SPOT_BAND[1]),
                        "bidMultiplierDown": str(SPOT_BAND[0]),
                        "askMultiplierUp": str(SPOT_BAND[1]),
                        "askMultiplierDown": str(SPOT_BAND[0]),
                        "avgPriceMins": 5,
                    },
                    {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MAX_NUM_ORDERS},
                ],
                "permissions": [],
                "permissionSets": [["SPOT"]],
                "defaultSelfTradePreventionMode": "NONE",
                "allowedSelfTradePreventionModes": ["NONE"],
            }
        filters = [
            price,
            size,
            size | {"filterType": "MARKET_LOT_SIZE"},
            {"filterType": "MAX_NUM_ORDERS", "limit": MAX_NUM_ORDERS},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": f"{USDM_BAND[1]:.4f}",
                "multiplierDown": f"{USDM_BAND[0]:.4f}",
                "multiplierDecimal": "4",
            },
        ]
        if self.market == COINM:
            common |= {"contractSize": self.contract_size, "equalQtyPrecision": 4}
        else:
            filters.append({"filterType": "MIN_NOTIONAL", "notional": str(USDM_MIN_NOTIONAL)})
        return common | {
            "pair": self.pair,
            "contractType": "PERPETUAL",
            "deliveryDate": 4_133_404_800_000,
            "onboardDate": 1_569_398_400_000,
            "maintMarginPercent": "2.5000",
            "requiredMarginPercent": "5.0000",
            "marginAsset": self.settle,
            "pricePrecision": self.price_places,
            "quantityPrecision": self.quantity_places,
            "underlyingType": "COIN",
            "underlyingSubType": [],
            "triggerProtect": "0.0500",
            "liquidationFee": "0.012500",
            "marketTakeBound": "0.05",
            "filters": filters,
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
                "limit": WEIGHT_PER_MINUTE[market],
            },
            *(
                {
                    "rateLimitType": "ORDERS",
                    "interval": interval,
                    "intervalNum": count,
                    "limit": limit,
                }
                for interval, count, limit in ORDER_LIMITS[market]
            ),
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
