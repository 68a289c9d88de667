"""Reads the clock where a book's message comes in, where an order is handed to the account, and where its bytes leave.

Nothing is replaced: functions of mmkit and of the libraries are wrapped, each with one reading of the clock or two.
A wrapper costs some 0.3 us, which is in the figures.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from mmkit.accounts import OrderRecord, Placement
from mmkit.commands import AnyCommand, SubmitOrder
from mmkit.live.store import Store
from mmkit.live.venue import LiveVenue
from mmkit.run.session import Session

_DEPTH = b'"depthUpdate"'
_OURS = re.compile(rb'newClientOrderId(?:=|":")([A-Za-z0-9]+-\d+)')
_read = time.perf_counter_ns


class Passage(NamedTuple):
    """One order, ns by a clock that begins anywhere.

    Attributes:
        arrived: The library that reads the socket was handed the bytes of the book's message.
        decided: The order was handed to the venue: parsed, booked, decided and checked.
        committed: How long commits to the journal of orders took until the account was called.
        placed: `AccountClient.place` was entered.
        created: ccxt's `create_order` was entered; 0 elsewhere.
        handed: It has handed the signed request to what sends it with aiohttp; 0 elsewhere.
        left: The call that sends its bytes has returned.
    """

    arrived: int
    decided: int
    committed: int
    placed: int
    created: int
    handed: int
    left: int


class Probe:
    """Collects what happens to every order that a message of the book has led to."""

    def __init__(self) -> None:
        self._arrived = self._at_hand = 0
        self._decided: dict[int, tuple[int, int]] = {}
        self._commits: list[tuple[int, int]] = []
        self._placed: dict[str, int] = {}
        self._own: dict[str, list[int]] = {}
        self._sending: dict[Any, str] = {}
        self._left: dict[str, int] = {}

    def passages(self) -> Iterator[Passage]:
        """Yield the orders that went all the way."""
        commits = self._commits
        for client_id, left in self._left.items():
            stamps = self._decided.get(int(client_id.rpartition("-")[2]))
            if stamps is None or client_id not in self._placed:
                continue  # nothing but time, or the venue, had led to it
            placed = self._placed[client_id]
            spent = sum(end - begin for begin, end in commits if stamps[0] < begin < placed)
            own = self._own.get(client_id, [0, 0])
            yield Passage(*stamps, spent, placed, own[0], own[-1], left)

    @contextmanager
    def listening(self, client: type[Any]) -> Iterator[None]:
        """Listen while a run goes on, whose account is one of `client`."""
        from websockets.asyncio.connection import Connection

        transport: Any = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
        with ExitStack() as stack:
            for owner, name, wrap in (
                (Connection, "data_received", self._wrap_received),
                (Session, "receive", self._wrap_receive),
                (LiveVenue, "send", self._wrap_send),
                (Store, "write", self._wrap_write),
                (client, "place", self._wrap_place),
                (Connection, "send", self._wrap_socket),
                (transport, "write", self._wrap_bytes),
                (transport, "writelines", self._wrap_pieces),
                *self._of_ccxt(),
            ):
                stack.enter_context(patch.object(owner, name, wrap(getattr(owner, name))))
            yield

    def _wrap_received(self, call: Callable[..., None]) -> Callable[..., None]:
        def data_received(connection: Any, data: bytes) -> None:
            now = _read()
            if _DEPTH in data:
                self._arrived = now
            call(connection, data)

        return data_received

    def _wrap_receive(self, call: Callable[..., None]) -> Callable[..., None]:
        def receive(session: Session, rows: Sequence[Any], market: str) -> None:
            self._at_hand, self._arrived = self._arrived, 0
            call(session, rows, market)
            self._at_hand = 0

        return receive

    def _wrap_send(self, call: Callable[..., None]) -> Callable[..., None]:
        def send(venue: LiveVenue, command: AnyCommand) -> None:
            if self._at_hand and isinstance(command, SubmitOrder):
                self._decided[command.order_id] = (self._at_hand, _read())
            call(venue, command)

        return send

    def _wrap_write(self, call: Callable[..., None]) -> Callable[..., None]:
        def write(store: Store, orders: Any, fills: Any) -> None:
            begin = _read()
            call(store, orders, fills)
            self._commits.append((begin, _read()))

        return write

    def _wrap_place(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def place(account: Any, placement: Placement) -> OrderRecord:
            self._placed[placement.client_id] = _read()
            return await call(account, placement)  # type: ignore[no-any-return]

        return place

    def _of_ccxt(self) -> list[tuple[Any, str, Any]]:
        import ccxt.async_support as ccxt
        from ccxt.async_support.base.exchange import Exchange

        return [
            (ccxt.binance, "create_order", self._wrap_create),
            (Exchange, "fetch", self._wrap_fetch),
        ]

    def _wrap_create(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def create_order(exchange: Any, *words: Any, **more: Any) -> Any:
            self._own[words[5]["clientOrderId"]] = [_read()]
            return await call(exchange, *words, **more)

        return create_order

    def _wrap_fetch(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def fetch(exchange: Any, url: str, method: str, headers: Any, body: Any) -> Any:
            if method == "POST" and (found := _OURS.search((body or url).encode())):
                self._own[found[1].decode()].append(_read())
            return await call(exchange, url, method, headers, body)

        return fetch

    def _wrap_socket(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def send(connection: Any, message: Any, **how: Any) -> None:
            # What leaves is masked.
            raw = message.encode() if isinstance(message, str) else bytes(message)
            if found := _OURS.search(raw):
                self._sending[connection.transport] = found[1].decode()
            await call(connection, message, **how)

        return send

    def _wrap_bytes(self, call: Callable[..., None]) -> Callable[..., None]:
        def write(transport: Any, data: Any) -> None:
            call(transport, data)
            self._note(transport, data, _read())

        return write

    def _wrap_pieces(self, call: Callable[..., None]) -> Callable[..., None]:
        def writelines(transport: Any, pieces: Any) -> None:
            pieces = list(pieces)
            call(transport, pieces)
            self._note(transport, b"".join(pieces), _read())

        return writelines

    def _note(self, transport: Any, data: Any, now: int) -> None:
        client_id = self._sending.pop(transport, None)
        if client_id is None and (found := _OURS.search(data)):
            client_id = found[1].decode()
        if client_id is not None:
            self._left.setdefault(client_id, now)
