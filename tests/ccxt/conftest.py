"""No test of this folder may leave this machine."""

from collections.abc import Iterator

import pytest
from ccxt_venue import only_this_machine

from mmkit_ccxt import source


@pytest.fixture(autouse=True)
def _no_other_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """And first contact gives up after five tries all the same, but not after 4.5 s."""
    monkeypatch.setattr(source, "FIRST_DELAYS_S", (0.01, 0.01, 0.02, 0.02))
    with only_this_machine() as strangers:
        yield
    assert strangers == []
