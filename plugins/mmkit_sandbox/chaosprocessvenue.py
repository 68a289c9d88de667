"""The sandbox that a trader's process trades at: real sockets, one account, and a count of every order that arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from urllib.parse import urlsplit

from pydantic import SecretStr

from mmkit.clock import SystemClock
from mmkit_sandbox.account import Account
from mmkit_sandbox.accountconfig import AccountConfig
from mmkit_sandbox.accounts import Accounts
from mmkit_sandbox.desk import Carried, Desk
from mmkit_sandbox.endpoints import Endpoint
from mmkit_sandbox.faults import Fault
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.pace import Pace
from mmkit_sandbox.server import SandboxServer
from mmkit_sandbox.simulation import SimulatedExchange
from mmkit_sandbox.trouble import Trouble

KEY, SECRET = "processChaosKey", "processChaosSecret"
LIVELINESS = 0.5
"""How many times as many orders come as usual: several sandboxes share a core with their traders."""
_PLACES = frozenset({"POST /api/v3/order", "POST /fapi/v1/order", "order.place"})
"""What places an order, over REST and over the WebSocket APIs."""


class _CountingDesk(Desk):
    """A desk that tells of each order before it does anything about it: lost, refused or carried out."""

    def __init__(
        self, accounts: Accounts, trouble: Trouble, arrived: Callable[[str], None]
    ) -> None:
        super().__init__(accounts, trouble)
        self._arrived = arrived

    def carry_out(
        self,
        endpoint: Endpoint,
        account: Account,
        market: str,
        params: Mapping[str, str],
        now_ns: int,
        name: str,
    ) -> Carried:
        if name in _PLACES:
            self._arrived(params.get("newClientOrderId", ""))
        return super().carry_out(endpoint, account, market, params, now_ns, name)


class ProcessVenue:
    """One sandbox on a free port.

    Args:
        listing: What is traded.
        seed: Decides the order flow, and what faults leave to chance.
        told: Is told what has gone wrong: its kind, and words.
    """

    def __init__(
        self,
        listing: Listing,
        seed: int,
        told: Callable[[str, str], None],
    ) -> None:
        self.listing, self._told = listing, told
        pace = Pace(SystemClock())
        start_ns = pace.now_ns()
        exchange = SimulatedExchange([listing], seed, start_ns, liveliness=LIVELINESS)
        config = AccountConfig(
            key=KEY,
            secret=SecretStr(SECRET),
            balances={"USDT": Decimal(1_000_000), "BTC": Decimal(20)},
            futures={"USDT": Decimal(1_000_000)},
        )
        accounts = Accounts(exchange, [config], start_ns)
        self.account = accounts.by_key[KEY]
        self.trouble = Trouble(iter(()), start_ns, seed)
        self._server = SandboxServer(
            exchange,
            pace,
            "127.0.0.1",
            0,
            trouble=self.trouble,
            desk=_CountingDesk(accounts, self.trouble, self._arrived),
        )
        self.sent: Counter[str] = Counter()
        """How often an order has arrived, by client order id."""
        self.arriving: Callable[[], None] = lambda: None
        """Called when an order has arrived, before anything is done about it."""
        self._counted = 0

    def _arrived(self, client_id: str) -> None:
        self.sent[client_id] += 1
        self.arriving()

    async def start(self) -> int:
        """Listen; return the port."""
        port = urlsplit(await self._server.start()).port
        assert port is not None  # it is in every address of the server
        return port

    async def stop(self) -> None:
        """Close every connection."""
        await self._server.stop()

    def begin(self, fault: Fault) -> None:
        """Let a fault begin."""
        self.trouble.begin(fault)

    def count(self) -> None:
        """Tell what has gone wrong since the last call."""
        trouble = self.trouble
        new = min(trouble.count - self._counted, len(trouble.happened))
        self._counted = trouble.count
        for one in list(trouble.happened)[len(trouble.happened) - new :]:
            self._told(one.fault.kind.value, f"{one.fault}, to {one.what}")

    def calm(self) -> int:
        """From now on nothing goes wrong; return when that is so: orders may be hidden, and the venue down, for longer."""
        self.count()
        self.trouble.end()
        hidden = (one.hidden_until_ns for one in self.account.all_orders())
        return max((self.trouble.down_until, *hidden))
