"""USD-M's listen keys: which private stream is whose, and until when."""

from __future__ import annotations

import hashlib

_VALID_NS = 60 * 60 * 1_000_000_000  # Binance USD-M Futures API, "User Data Streams"


class ListenKeys:
    """A key is valid for an hour after it was asked for or extended last; an account has one at a time."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[str, int]] = {}
        self._made = 0

    def make(self, account: str, now_ns: int) -> str:
        """Return the account's listen key, extended if it had one."""
        found = self._keys.get(account)
        if found is None or found[1] <= now_ns:
            self._made += 1
            name = hashlib.sha256(f"{account} {self._made}".encode()).hexdigest()
        else:
            name = found[0]
        self._keys[account] = (name, now_ns + _VALID_NS)
        return name

    def extend(self, account: str, now_ns: int) -> str | None:
        """Return the listen key, extended; `None` if there is none."""
        found = self._keys.get(account)
        if found is None or found[1] <= now_ns:
            return None
        return self.make(account, now_ns)

    def drop(self, account: str) -> None:
        """Let the account's key end."""
        self._keys.pop(account, None)

    def owner(self, name: str, now_ns: int) -> str | None:
        """Return whose listen key it is, `None` if it is none or has ended."""
        for account, (key, until) in self._keys.items():
            if key == name and until > now_ns:
                return account
        return None

    def expire(self, now_ns: int) -> list[tuple[str, str]]:
        """Forget the keys that have ended; return them with whose they were."""
        ended = [(account, key) for account, (key, until) in self._keys.items() if until <= now_ns]
        for account, _ in ended:
            del self._keys[account]
        return ended
