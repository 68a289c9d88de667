"""Every test of captures runs twice: read many messages at a time, and one at a time."""

from __future__ import annotations

import pytest

import mmkit_capture.source


@pytest.fixture(autouse=True, params=["fast", "by message"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    worth_it = 0 if request.param == "fast" else 2**63
    monkeypatch.setattr(mmkit_capture.source, "WORTH_IT", worth_it)
