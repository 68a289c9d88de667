"""The listen keys of contracts: which private stream is whose, and until when."""

from __future__ import annotations

import hashlib

from mmkit_sandbox.listing import USDM

_VALID_NS = 60 * 60 * 1_000_000_000  # Binance USD-M and COIN-M Futures API, "User Data Streams"


class ListenKeys:
    """A key is valid for an hour after it was asked for or extended last; an account has one of each market at a time."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], tuple[str, int]] = {}
        self._made = 0

    def make(self, account: str, now_ns: int, market: str = USDM) -> str:
        """Return the account's listen key, extended if it had one."""
        found = self._keys.get((account, market))
        if found is None or found[1] <= now_ns:
            self._made += 1
            name = hashlib.sha256(f"{account} {self._made}".encode()).hexdigest()
        else:
            name = found[0]
        self._keys[account, market] = (name, now_ns + _VALID_NS)
        return name

    def extend(self, account: str, now_ns: int, market: str = USDM) -> str | None:
        """Return the listen key, extended; `None` if there is none."""
        found = self._keys.get((account, market))
        if found is None or found[1] <= now_ns:
            return None
        return self.make(account, now_ns, market)

    def drop(self, account: str, market: str = USDM) -> None:
        """Let the account's key end."""
        self._keys.pop((account, market), None)

    def owner(self, name: str, now_ns: int, market: str = USDM) -> str | None:
        """Return whose listen key it is, `None` if it is none of the market or has ended."""
        for (account, of), (key, until) in self._keys.items():
            if key == name and of == market and until > now_ns:
                return account
        return None

    def expire(self, now_ns: int) -> list[tuple[str, str]]:
        """Forget the keys that have ended; return them with whose they were."""
        ended = [(whose, key) for whose, (key, until) in self._keys.items() if until <= now_ns]
        for whose, _ in ended:
            del self._keys[whose]
        return [(account, key) for (account, _), key in ended]
