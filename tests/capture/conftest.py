"""Every test of captures runs thrice: read many messages at a time, the same by way of the disk, one at a time."""

from __future__ import annotations

import pytest

import mmkit.tape.columns
import mmkit_capture.source


@pytest.fixture(autouse=True, params=["fast", "by way of the disk", "by message"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    worth_it = 2**63 if request.param == "by message" else 0
    monkeypatch.setattr(mmkit_capture.source, "WORTH_IT", worth_it)
    if request.param == "by way of the disk":
        monkeypatch.setattr(mmkit.tape.columns, "_KEPT", 0)
        monkeypatch.setattr(mmkit.tape.columns, "_CHUNK", 1000)
    return str(request.param)
