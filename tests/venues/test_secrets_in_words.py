"""Words of libraries are shown without what they must not hold."""

import pytest

from mmkit.venues.secrets import without_secrets

SIGNED = "https://api.binance.com/api/v3/order?symbol=X&timestamp=1&signature=abcdef0123"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (f"binance GET {SIGNED}", "binance GET https://api.binance.com/api/v3/order?***"),
        (
            f"Cannot connect to '{SIGNED}' [x]",
            "Cannot connect to 'https://api.binance.com/api/v3/order?***' [x]",
        ),
        ("wss://x.y/private/ws?listenKey=abc code 1006", "wss://x.y/private/ws?*** code 1006"),
        ('{"apiKey": "abc", "n": 1}', '{"apiKey": "***", "n": 1}'),
        ("X-MBX-APIKEY: abc", "X-MBX-APIKEY: ***"),
        ("symbol=X&signature=abc&a=1", "symbol=X&signature=***&a=1"),
        ("my key is MARKED1", "my key is ***"),
        (
            "connect to https://api.binance.com/api/v3/time",
            "connect to https://api.binance.com/api/v3/time",
        ),
    ],
)
def test_words_are_shown_without_secrets(words: str, shown: str) -> None:
    assert without_secrets(words, ["MARKED1"]) == shown
