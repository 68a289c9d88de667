"""`mmkit data` as a person runs it."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from processes import SHARED, mmkit, write_config

from mmkit.quality import CODES

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = SHARED / "binance_spot_nexousdt" / "nexousdt_20240723.dat.gz"
NEXO = 'instrument: {venue: binance, market: spot, symbol: NEXO/USDT, tick: "0.001", lot: "0.01"}'
CONFIG = f"""
{NEXO}
data: {{plugin: capture, paths: ["{CAPTURE}"]}}
strategy: {{plugin: join_best, every: 1s, size: "1", max_position: "5"}}
"""
WHAT = "binance:spot:NEXO/USDT,tick=0.001,lot=0.01"


def cut(folder: Path) -> Path:
    """Return a copy of the capture that ends in the middle of its packed data."""
    path = folder / "cut.gz"
    raw = CAPTURE.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    return path


# --- check ----------------------------------------------------------------------------------------


def test_clean_data_ends_with_0_and_data_with_an_error_with_4(tmp_path: Path) -> None:
    clean = mmkit("data", "check", CAPTURE, "--instrument", WHAT, cwd=tmp_path)
    assert (clean.status, clean.stderr) == (0, "")
    assert "clean: no errors" in clean.stdout
    assert f"note   clock_offset: {CODES['clock_offset'].meaning}" in clean.stdout

    broken = mmkit("data", "check", cut(tmp_path), "--instrument", WHAT, cwd=tmp_path)
    assert broken.status == 4
    assert f"error  unreadable: {CODES['unreadable'].meaning}" in broken.stdout
    assert re.search(rf"^ +{tmp_path}/cut\.gz:\d+: the gzip data is damaged", broken.stdout, re.M)


def test_without_paths_it_is_the_data_of_the_configuration_in_every_market(tmp_path: Path) -> None:
    again = "markets:\n  other:\n    instrument: {venue: binance, market: spot, symbol: NKN/USDT, tick: '0.00001', lot: '0.1'}\n"
    paths = ", ".join(f'"{SHARED}/binance_30s/BINANCE.{n}.xz"' for n in ("http.0.0", "ws.1.0"))
    config = f"{CONFIG}{again}    data: {{plugin: capture, paths: [{paths}]}}\n"
    userdir = write_config(tmp_path / "user_data", config)
    found = mmkit("data", "check", "-c", userdir / "config.yml", "--json", cwd=tmp_path)
    assert found.status == 0
    assert found.json["ok"] is True
    assert [(m["market"], m["symbol"], m["errors"]) for m in found.json["markets"]] == [
        ("main", "NEXO/USDT", 0),
        ("other", "NKN/USDT", 0),
    ]


def test_with_paths_the_configuration_says_what_is_in_them(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data", CONFIG.replace(str(CAPTURE), "gone.gz"))
    found = mmkit("data", "check", CAPTURE, "-c", userdir / "config.yml", "--json", cwd=tmp_path)
    assert found.json["markets"][0]["rows"] > 1000


def test_every_finding_of_json_has_a_kind_a_count_and_places(tmp_path: Path) -> None:
    found = mmkit("data", "check", cut(tmp_path), "--instrument", WHAT, "--json", cwd=tmp_path)
    assert found.status == 4
    [market] = found.json["markets"]
    assert found.json["ok"] is False
    assert market["errors"] == 1
    for finding in market["findings"]:
        assert finding["grade"] == CODES[finding["code"]].grade
        assert finding["count"] >= len(finding["places"]) >= 1
        assert all(place["where"] for place in finding["places"])


def test_the_picture_is_an_svg_with_a_lane_for_each_finding(tmp_path: Path) -> None:
    path = tmp_path / "out.svg"
    found = mmkit(
        "data", "check", CAPTURE, "--instrument", WHAT, "--picture", path, "--json", cwd=tmp_path
    )
    told = [
        "".join(text.itertext()) for text in ElementTree.parse(path).iter() if "text" in text.tag
    ]
    timed = [
        f"{finding['code']} ({finding['count']:,})"
        for finding in found.json["markets"][0]["findings"]
        if finding["places"][0]["at_ns"] is not None
    ]
    assert timed
    assert set(timed) <= set(told)
    assert {"book known", "updates", "trades", "NEXO/USDT at binance"} <= set(told)


def test_a_picture_of_another_format_is_refused(tmp_path: Path) -> None:
    found = mmkit("data", "check", CAPTURE, "--picture", "out.png", cwd=tmp_path)
    assert found.status == 2
    assert "a file that ends in .svg was expected; found 'out.png'" in found.stderr


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("binance", "VENUE:MARKET:SYMBOL was expected; found 'binance'"),
        ("binance:usdm:BTC/USDT", "market usdm settles in USDT"),
        ("binance:spot:BTC/USDT,tik=1", "tik"),
    ],
)
def test_an_instrument_that_is_none_is_a_mistake(what: str, words: str, tmp_path: Path) -> None:
    found = mmkit("data", "check", CAPTURE, "--instrument", what, cwd=tmp_path)
    assert found.status == 3
    assert words in found.stderr


def test_a_live_source_has_nothing_to_check(tmp_path: Path) -> None:
    live = CONFIG.replace(f'plugin: capture, paths: ["{CAPTURE}"]', "plugin: binance")
    userdir = write_config(tmp_path / "user_data", live)
    found = mmkit("data", "check", "-c", userdir / "config.yml", cwd=tmp_path)
    assert found.status == 2
    assert "the configured data source is live" in found.stderr


def test_every_kind_of_finding_is_in_the_documentation_with_its_grade() -> None:
    text = (ROOT / "docs" / "data.md").read_text()
    for code, (grade, meaning) in CODES.items():
        assert f"| `{code}` | {grade} | {meaning} |" in text, code
