"""What was spent today, in a file that processes share and a crash leaves whole."""

from __future__ import annotations

import asyncio
import datetime
import fcntl
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec

from mmkit.errors import RunError

FOLDER = "advisor_budget"
_PATIENCE_S = 5.0  # for another process that holds the lock, which takes milliseconds
_LOOK_S = 0.005


@dataclass(frozen=True)
class Spent:
    """Tokens, and USD as far as prices are known."""

    tokens: int = 0
    usd: Decimal = Decimal(0)

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.tokens - other.tokens, self.usd - other.usd)


class PurseError(RunError):
    """What was spent cannot be read or written; no request may be made."""


class _Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds."""

    day: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    tokens: Annotated[int, msgspec.Meta(ge=0)]
    usd: Decimal


class Purse:
    """The file of one gateway under ``user_data/advisor_budget``.

    It is replaced as a whole under a lock, and on disk before a request that it allows is made.

    Args:
        userdir: The user's folder.
        gateway: Its name.

    Raises:
        PurseError: if what is there cannot be read.
    """

    def __init__(self, userdir: Path, gateway: str) -> None:
        self._folder = userdir / FOLDER
        self.path = self._folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', gateway)}.json"
        self._read()

    def spent(self, day: str) -> Spent:
        """Return what was spent on a day.

        Raises:
            PurseError: if the file cannot be read.
        """
        page = self._read()
        # A clock that was set back starts no new day.
        return Spent() if page is None or page.day < day else Spent(page.tokens, page.usd)

    async def add(
        self, day: str, change: Spent, check: Callable[[Spent], None] | None = None
    ) -> None:
        """Add to what was spent.

        Args:
            day: UTC, on which the request was made. A change for a day that is over counts only if it adds.
            change: More, or less if more was set aside before.
            check: Is given what was spent, and raises if nothing may be added.

        Raises:
            PurseError: if the file cannot be read or written, or another process does not let go of it.
        """
        async with self._locked():
            page = self._read()
            spent = self.spent(day)
            if check is not None:
                check(spent)
            if page is not None and page.day > day:
                if change.tokens <= 0 and change.usd <= 0:
                    return
                day = page.day
            total = spent + change
            # A page that was removed by hand meanwhile has nothing to give back.
            self._write(_Page(day, max(0, total.tokens), max(Decimal(0), total.usd)))

    def _read(self) -> _Page | None:
        try:
            page = msgspec.json.decode(self.path.read_bytes(), type=_Page)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PurseError(
                f"{self.path}: what was spent today was expected; found: {error}; look into it, or remove it to begin "
                "at nothing"
            ) from error
        if not page.usd.is_finite() or page.usd < 0:
            raise PurseError(
                f"{self.path}: usd of at least 0 was expected; found {page.usd}; look into it, or remove it to begin "
                "at nothing"
            )
        return page

    def _write(self, page: _Page) -> None:
        new = self.path.with_suffix(".new")
        try:
            with new.open("wb") as file:
                file.write(msgspec.json.encode(page) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise PurseError(
                f"{self.path}: what was spent cannot be written: {error}; no model is asked until it can"
            ) from error

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        lock = self.path.with_suffix(".lock")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise PurseError(f"{lock}: cannot be opened: {error}") from error
        try:
            left = _PATIENCE_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if left <= 0:
                        raise PurseError(
                            f"{lock}: held by another process for {_PATIENCE_S:g} s; a few milliseconds were "
                            "expected; see what it does"
                        ) from None
                    left -= _LOOK_S
                    await asyncio.sleep(_LOOK_S)
            yield
        finally:
            os.close(file)


def day_of(now_ns: int) -> str:
    """Return the UTC day of a time, such as ``2026-11-26``."""
    return datetime.datetime.fromtimestamp(now_ns // 10**9, tz=datetime.UTC).date().isoformat()
