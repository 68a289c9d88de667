"""The journal of what was sent to a real venue: durable before anything leaves.

SQLite in WAL mode with ``synchronous=FULL``: a commit returns once it is on the disk, so that neither a crash of the
process nor a loss of power takes back what the venue has been told. One process writes; a lock on a file beside the
journal keeps a second one out, by name. Nobody else opens the file while a run goes on: SQLite before 3.51.3 can damage
a WAL file when a second connection makes a checkpoint.

Only what is decided is waited for. What the venue has told of an order, and will tell again, is written at once and
synced with the next intent: after a loss of power it is as if the process had died a moment earlier.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mmkit.accounts import FundingRecord
from mmkit.errors import RunError
from mmkit.live.anchor import Anchor
from mmkit.live.days import Day
from mmkit.live.known import KnownFill, KnownOrder, Stage
from mmkit.live.ledger import Sums

VERSION = 2
LEAST_ROOM = 64 * 1024 * 1024
"""Bytes: below it nothing new is begun, so that what is under way can still be written to its end."""
_APPLICATION = 0x6D6D6B31  # "mmk1"
_TOLD = frozenset({"stage", "venue_id", "executed", "filled", "end", "why", "cancel_wanted"})
"""Of an order, what the venue tells, and would tell again; everything else is what has been decided."""
_decided = attrgetter(*(name for name in KnownOrder.__struct_fields__ if name not in _TOLD))

_OF_ORDERS = """
CREATE TABLE orders (client_id TEXT PRIMARY KEY, over INTEGER NOT NULL, entry BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX orders_not_over ON orders (over) WHERE over = 0;
CREATE TABLE anchors (number INTEGER PRIMARY KEY, entry BLOB NOT NULL);
CREATE TABLE runs (tag TEXT PRIMARY KEY, start_ns INTEGER NOT NULL) WITHOUT ROWID;
"""
# Two of our orders may trade with each other: then one trade has two fills.
_OF_MONEY = """
CREATE TABLE fills (client_id TEXT NOT NULL, trade_id TEXT NOT NULL, ts_ns INTEGER NOT NULL, entry BLOB NOT NULL,
  PRIMARY KEY (client_id, trade_id)) WITHOUT ROWID;
CREATE INDEX fills_by_time ON fills (ts_ns);
CREATE TABLE fundings (funding_id TEXT PRIMARY KEY, ts_ns INTEGER NOT NULL, entry BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE sums (number INTEGER PRIMARY KEY CHECK (number = 1), until_ns INTEGER NOT NULL, entry BLOB NOT NULL);
CREATE TABLE days (day INTEGER PRIMARY KEY, entry BLOB NOT NULL);
"""
_FROM_1 = f"""
BEGIN IMMEDIATE;
ALTER TABLE fills RENAME TO fills_1;
{_OF_MONEY}
INSERT INTO fills SELECT client_id_of(entry), trade_id, ts_ns, entry FROM fills_1;
DROP TABLE fills_1;
PRAGMA user_version={VERSION};
COMMIT;
"""  # noqa: S608 - ours
"""Version 1 had fills by trade alone, and nothing of funding and days."""


class Found(NamedTuple):
    """What a journal holds when a run begins.

    Attributes:
        orders: Those that were not over.
        trades: The fills of those that are known, by client order id and trade id.
        last_fill_ns: Of the latest, by the venue's clock; 0 for none.
        first_run_ns: When the first run began; 0 for never.
    """

    orders: list[KnownOrder]
    trades: list[tuple[str, str]]
    last_fill_ns: int
    first_run_ns: int


class Money(NamedTuple):
    """What has moved money.

    Attributes:
        sums: What the fills up to a time come to; `None` for none.
        fills: Those after it, in order of time.
        fundings: Every payment.
    """

    sums: Sums | None
    fills: list[KnownFill]
    fundings: list[FundingRecord]


class Store:
    """The journal of one account's orders in one market, over all runs.

    Args:
        path: Of the file; made if it is not there, readable by its owner alone.

    Raises:
        RunError: if another run has it, if it is of another version or no journal, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._synced: dict[str, Any] = {}
        """What has been decided on each order that is not over, as it was last synced."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(
                path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise RunError(
                f"{path}: the journal of orders cannot be kept there: {error}"
            ) from error
        try:
            self._take_lock()
            self._connection = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            who = os.pread(self._lock, 100, 0).decode(errors="replace").strip() or "another process"
            raise RunError(
                f"{self.path}: the journal of orders is in use by {who}; two runs on one account and market would "
                "send each other's orders; stop that one first ('mmkit stop')"
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"process {os.getpid()}\n".encode(), 0)

    def _open(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            try:
                version = self._version_of(connection)
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                if version == 0:
                    connection.executescript(
                        f"BEGIN; {_OF_ORDERS} {_OF_MONEY} PRAGMA application_id={_APPLICATION}; "
                        f"PRAGMA user_version={VERSION}; COMMIT;"
                    )
                elif version < VERSION:
                    connection.create_function("client_id_of", 1, _client_id_of)
                    connection.executescript(_FROM_1)
                (self._until_ns,) = connection.execute(
                    "SELECT coalesce(max(until_ns), -1) FROM sums"
                ).fetchone()
            except BaseException:
                connection.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise RunError(
                f"{self.path}: the journal of orders cannot be opened: {error}; it is left as it is"
            ) from error
        return connection

    def _version_of(self, connection: sqlite3.Connection) -> int:
        """Return the version, 0 for a new file; reads only, as it may be somebody else's."""
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application == version == 0:
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:
                return 0
        if application != _APPLICATION:
            raise RunError(
                f"{self.path}: a journal of orders was expected; this is another file; name another place"
            )
        if version not in (1, VERSION):
            raise RunError(
                f"{self.path}: a journal of version {VERSION} was expected, or 1, of which one is made; found version "
                f"{version}; use the mmkit that wrote it, or move it away once nothing is open at the venue"
            )
        return int(version)

    def found(self) -> Found:
        """Return what is in it."""
        execute = self._connection.execute
        orders = [
            msgspec.json.decode(entry, type=KnownOrder)
            for (entry,) in execute("SELECT entry FROM orders WHERE over = 0 ORDER BY client_id")
        ]
        # What is told of orders that are over is of no run that begins now.
        trades = execute(
            "SELECT client_id, trade_id FROM fills WHERE client_id IN (SELECT client_id FROM orders WHERE over = 0)"
        ).fetchall()
        (last,) = execute("SELECT coalesce(max(ts_ns), 0) FROM fills").fetchone()
        (first,) = execute("SELECT coalesce(min(start_ns), 0) FROM runs").fetchone()
        return Found(orders, trades, last, first)

    def money(self) -> Money:
        """Return what has moved money; fills that have been added up are in the sums alone."""
        execute, decode = self._connection.execute, msgspec.json.decode
        kept = execute("SELECT entry FROM sums").fetchone()
        fundings = execute("SELECT entry FROM fundings ORDER BY ts_ns, funding_id")
        return Money(
            decode(kept[0], type=Sums) if kept else None,
            self._fills("WHERE ts_ns > ?", self._until_ns),
            [decode(entry, type=FundingRecord) for (entry,) in fundings],
        )

    def orders(self) -> list[KnownOrder]:
        """Return every order as it was last written, by name."""
        return [
            msgspec.json.decode(entry, type=KnownOrder)
            for (entry,) in self._connection.execute("SELECT entry FROM orders ORDER BY client_id")
        ]

    def fills(self) -> list[KnownFill]:
        """Return every fill, in order of time."""
        return self._fills("")

    def fills_of(self, tag: str) -> list[KnownFill]:
        """Return every fill of one run, in order of time."""
        # Its client order ids are `TAG-N`, and "." is what comes after "-".
        return self._fills("WHERE client_id > ? AND client_id < ?", f"{tag}-", f"{tag}.")

    def _fills(self, where: str, *values: object) -> list[KnownFill]:
        query = (
            f"SELECT entry FROM fills {where} ORDER BY ts_ns, length(trade_id), trade_id, client_id"  # noqa: S608 - ours
        )
        found = self._connection.execute(query, values)
        return [msgspec.json.decode(entry, type=KnownFill) for (entry,) in found]

    def begin(self, tag: str, start_ns: int) -> None:
        """Note a run before its first order.

        Raises:
            RunError: if a run of this name is in it: its orders would be taken for this one's.
        """
        try:
            self._connection.execute("INSERT INTO runs VALUES (?, ?)", (tag, start_ns))
        except sqlite3.IntegrityError as error:
            raise RunError(f"{self.path}: it holds a run '{tag}' already") from error
        except sqlite3.Error as error:
            raise self._cannot_write(error) from error

    def write(self, orders: Iterable[KnownOrder], fills: Iterable[KnownFill]) -> None:
        """Write orders and fills, all or none; an order that is new, or on which something else has been decided, is
        on the disk when this returns, and everything that was written before.

        What the venue has told, and would tell again, outlives the process; a loss of power perhaps not.

        Raises:
            RunError: if they are not written; then nothing that depends on them may be sent.
        """
        encode = msgspec.json.encode
        orders = list(orders)
        order_rows = [(one.client_id, one.stage is Stage.DONE, encode(one)) for one in orders]
        fill_rows = [(one.client_id, one.trade_id, one.ts_ns, encode(one)) for one in fills]
        if not order_rows and not fill_rows:
            return
        late = any(ts_ns <= self._until_ns for _, _, ts_ns, _ in fill_rows)
        try:
            if any(self._decides(one) for one in orders):
                self._commit(order_rows, fill_rows, late=late)
            else:
                with self._later_synced():
                    self._commit(order_rows, fill_rows, late=late)
        except sqlite3.Error as error:
            raise self._cannot_write(error) from error
        if late:
            self._until_ns = -1
        for one in orders:
            if one.stage is Stage.DONE:
                self._synced.pop(one.client_id, None)
            else:
                self._synced[one.client_id] = _decided(one)

    def _decides(self, order: KnownOrder) -> bool:
        return order.stage is Stage.INTENDED or (
            order.stage is not Stage.DONE and self._synced.get(order.client_id) != _decided(order)
        )

    def _commit(self, order_rows: list[Any], fill_rows: list[Any], *, late: bool) -> None:
        with self._transaction() as connection:
            if late:
                # They are no longer what all of these fills come to: the next run adds up anew.
                connection.execute("DELETE FROM sums")
            if order_rows:
                connection.executemany(
                    "INSERT INTO orders VALUES (?, ?, ?) ON CONFLICT (client_id) "
                    "DO UPDATE SET over = excluded.over, entry = excluded.entry",
                    order_rows,
                )
            if fill_rows:
                connection.executemany(
                    "INSERT INTO fills VALUES (?, ?, ?, ?) ON CONFLICT (client_id, trade_id) DO NOTHING",
                    fill_rows,
                )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done in it, or nothing of it."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _later_synced(self) -> Iterator[None]:
        """Let a commit return once the operating system has it; the next other one syncs it, too.

        Source: https://www.sqlite.org/pragma.html#pragma_synchronous, of WAL mode.
        """
        self._connection.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous=FULL")

    def write_fundings(self, fundings: Iterable[FundingRecord]) -> None:
        """Put payments of funding on the disk, each once.

        Raises:
            RunError: if they are not there then.
        """
        rows = [(one.funding_id, one.ts_ns, msgspec.json.encode(one)) for one in fundings]
        self._put("INSERT INTO fundings VALUES (?, ?, ?) ON CONFLICT (funding_id) DO NOTHING", rows)

    def keep_sums(self, sums: Sums) -> None:
        """Put on the disk what all fills up to a time come to, in place of the last one.

        Raises:
            RunError: if it is not there then.
        """
        self._put(
            "INSERT OR REPLACE INTO sums VALUES (1, ?, ?)",
            [(sums.until_ns, msgspec.json.encode(sums))],
        )
        self._until_ns = sums.until_ns

    def day(self, number: int) -> Day | None:
        """Return what was kept of a day, by its number since 1970; `None` for nothing."""
        found = self._connection.execute(
            "SELECT entry FROM days WHERE day = ?", (number,)
        ).fetchone()
        return msgspec.json.decode(found[0], type=Day) if found else None

    def keep_day(self, day: Day) -> None:
        """Put a day on the disk, in place of what was kept of it.

        Raises:
            RunError: if it is not there then.
        """
        self._put(
            "INSERT OR REPLACE INTO days VALUES (?, ?)", [(day.day, msgspec.json.encode(day))]
        )

    def anchor(self) -> Anchor | None:
        """Return the last one that was kept."""
        found = self._connection.execute(
            "SELECT entry FROM anchors ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return msgspec.json.decode(found[0], type=Anchor) if found else None

    def keep(self, anchor: Anchor) -> None:
        """Put an anchor on the disk.

        Raises:
            RunError: if it is not there then.
        """
        self._put("INSERT INTO anchors (entry) VALUES (?)", [(msgspec.json.encode(anchor),)])

    def room(self) -> int:
        """Return how many bytes there is room for on the disk."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def _put(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            with self._transaction() as connection:
                connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: sqlite3.Error) -> RunError:
        return RunError(
            f"{self.path}: the journal of orders cannot be written: {error}; nothing is sent that is not in it; "
            "make room on the disk"
        )

    def close(self) -> None:
        """Let go of the file and of its lock."""
        self._connection.close()
        os.close(self._lock)


def _client_id_of(entry: bytes) -> str:
    return msgspec.json.decode(entry, type=KnownFill).client_id


def totals(fills: Iterable[KnownFill]) -> tuple[int, dict[str, Decimal]]:
    """Return what fills come to: the position in lots, and the fees by asset."""
    position, fees = 0, dict[str, Decimal]()
    for one in fills:
        position += one.side.sign * one.quantity
        if one.fee_asset:
            fees[one.fee_asset] = fees.get(one.fee_asset, Decimal(0)) + one.fee
    return position, fees
