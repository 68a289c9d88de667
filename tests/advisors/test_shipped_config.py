"""The lines about advisors in the configuration that ships work when their marks are taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmkit.config import load_config

pytest.importorskip("openai")

SHIPPED = Path(__file__).resolve().parents[2] / "user_data" / "config.yml"


def test_the_advisors_of_the_configuration_that_ships_are_a_valid_section(tmp_path: Path) -> None:
    text = SHIPPED.read_text()
    assert "\n#advisors:\n#  - {" in text
    userdir = tmp_path / "user_data"
    userdir.mkdir()
    path = userdir / "config.yml"
    path.write_text(text.replace("\n#advisors:\n#  - {", "\nadvisors:\n  - {"))
    (advisor,) = load_config([path], userdir=userdir).advisors
    assert (advisor.name, advisor.section.question) == ("market_structure", "market_structure")
