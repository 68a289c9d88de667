"""The parameters of a private request, read as Binance reads them, with its complaints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from mmkit.events import Side
from mmkit_sandbox.accountorder import Lasting, OrderKind, Placing
from mmkit_sandbox.listing import SPOT
from mmkit_sandbox.refused import Refused

_DECIMAL = r"([0-9]{1,20})(\.[0-9]{1,20})?"
_SPOT_NAME = r"[a-zA-Z0-9-_]{1,36}"
_USDM_NAME = r"[\.A-Z\:/a-z0-9_-]{1,36}"


class Parameters:
    """Reads one request's parameters.

    Every method raises `Refused` as Binance would: -1102 for what is missing, -1100 for what is malformed.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    def text(self, name: str) -> str:
        """Return a parameter that must be there."""
        found = self.values.get(name)
        if not found:
            raise Refused(
                -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
            )
        return found

    def decimal(self, name: str) -> Decimal:
        """Return a decimal that must be there."""
        found = self.text(name)
        if re.fullmatch(_DECIMAL, found) is None:
            raise Refused(
                -1100,
                f"Illegal characters found in parameter '{name}'; legal range is '^{_DECIMAL}$'.",
            )
        return Decimal(found)

    def whole(self, name: str) -> int | None:
        """Return a whole number, `None` if it was not sent."""
        found = self.values.get(name)
        if not found:
            return None
        if re.fullmatch(r"[0-9]{1,20}", found) is None:
            raise Refused(
                -1100,
                f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.",
            )
        return int(found)

    def flag(self, name: str) -> bool:
        """Return whether a parameter is ``true``; it is not if it was not sent."""
        found = self.values.get(name, "false").lower()
        if found not in {"true", "false"}:
            raise Refused(-1100, f"Illegal characters found in parameter '{name}'.")
        return found == "true"

    def name(self, parameter: str, market: str) -> str:
        """Return a client's name for an order, empty if it was not sent."""
        found = self.values.get(parameter, "")
        legal = _SPOT_NAME if market == SPOT else _USDM_NAME
        if found and re.fullmatch(legal, found) is None:
            if market == SPOT:
                raise Refused(
                    -1100,
                    f"Illegal characters found in parameter '{parameter}'; legal range is '^{legal}$'.",
                )
            raise Refused(-4015, "Client order id is not valid.")
        return found

    def limit(self, default: int = 500, most: int = 1000) -> int:
        """Return how many rows are wanted."""
        found = self.whole("limit")
        if found is None:
            return default
        if found == 0:
            raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(found, most)

    def side(self) -> Side:
        """Return the side of an order."""
        found = self.text("side").upper()
        if found not in {"BUY", "SELL"}:
            raise Refused(-1117, "Invalid side.")
        return Side.BUY if found == "BUY" else Side.SELL

    def placing(self, market: str) -> Placing:
        """Return the order that is asked for."""
        side, kind = self.side(), self._kind(market)
        position_side = self.values.get("positionSide", "BOTH").upper()
        if self.values.get("quoteOrderQty"):
            raise Refused(-1013, "Quote order qty market orders are not support for this symbol.")
        quantity = self.decimal("quantity")
        price: Decimal | None = None
        lasting = Lasting.GTC
        if kind is OrderKind.LIMIT:
            lasting = self._lasting(market)
        elif self.values.get("timeInForce"):
            raise Refused(-1106, "Parameter 'timeInForce' sent when not required.")
        if kind is OrderKind.MARKET:
            if self.values.get("price"):
                raise Refused(-1106, "Parameter 'price' sent when not required.")
        else:
            price = self.decimal("price")
        return Placing(
            side,
            kind,
            quantity,
            price,
            lasting,
            self.name("newClientOrderId", market),
            market != SPOT and self.flag("reduceOnly"),
            position_side if market != SPOT else "BOTH",
        )

    def _kind(self, market: str) -> OrderKind:
        found = self.text("type").upper()
        if market != SPOT and found in _ALGO:
            raise Refused(
                -4120,
                "Order type not supported for this endpoint. Please use the Algo Order API endpoints "
                "instead.",
            )
        if found not in set(OrderKind) or (market != SPOT and found == OrderKind.LIMIT_MAKER):
            raise Refused(-1116, "Invalid orderType.")
        return OrderKind(found)

    def _lasting(self, market: str) -> Lasting:
        found = self.text("timeInForce").upper()
        if found not in set(Lasting) or (market == SPOT and found == Lasting.GTX):
            raise Refused(-1115, "Invalid timeInForce.")
        return Lasting(found)


_ALGO = {"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"}
