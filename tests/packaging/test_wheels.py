"""mmkit and plugins for it as wheels, in an environment of their own.

What they depend on is lent from the environment that runs the tests, so that nothing is downloaded.
"""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = ROOT.parent / "shared" / "data" / "binance_usdm" / "btcusdt_20240718.gz"


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
    )


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with three wheels in it: mmkit, a plugin, and a broken plugin."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    for project in (ROOT, ROOT / "tests/packaging/example", ROOT / "tests/packaging/broken"):
        built = run(
            *pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, project
        )
        assert built.returncode == 0, built.stderr
    home = folder / "environment"
    venv.create(home, with_pip=False)
    site = next(home.glob("lib/python*/site-packages"))
    installed = run(
        *pip,
        "--python",
        home / "bin/python",
        "install",
        "--no-deps",
        "--no-index",
        *folder.glob("*.whl"),
    )
    assert installed.returncode == 0, installed.stderr
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_a_third_party_wheel_is_discovered_by_name_version_and_what_it_offers(
    environment: Path, tmp_path: Path
) -> None:
    listed = run(environment / "mmkit", "plugins", "--json", cwd=tmp_path)

    assert listed.returncode == 0, listed.stderr
    plugins = {plugin["name"]: plugin for plugin in json.loads(listed.stdout)}
    example = plugins["example"]
    assert example["version"] == "1.2.3"
    assert "mmkit-example" in example["origin"].replace("_", "-")
    offers = {(offer["kind"], offer["name"]) for offer in example["offers"]}
    assert {("strategy", "bid_only"), ("risk check", "max_lots")} <= offers


def test_every_bundled_plugin_is_in_the_wheel(environment: Path, tmp_path: Path) -> None:
    listed = run(environment / "mmkit", "plugins", "--json", cwd=tmp_path)

    offers = {
        (offer["kind"], offer["name"])
        for plugin in json.loads(listed.stdout)
        for offer in plugin["offers"]
    }
    sources = {name for kind, name in offers if kind == "data source"}
    assert {"binance", "capture", "rows", "tardis"} <= sources
    site = next(environment.parent.glob("lib/python*/site-packages"))
    packages = {path.parent.name for path in site.glob("mmkit*/py.typed")}
    assert packages >= {path.parent.name for path in ROOT.glob("*/mmkit*/py.typed")}


def test_a_broken_wheel_is_named_with_its_reason_and_the_others_live_on(
    environment: Path, tmp_path: Path
) -> None:
    listed = run(environment / "mmkit", "plugins", "--json", cwd=tmp_path)

    plugins = {plugin["name"]: plugin for plugin in json.loads(listed.stdout)}
    assert "a_library_that_nobody_has" in plugins["broken"]["error"]
    assert [name for name, plugin in plugins.items() if plugin["error"]] == ["broken"]


def test_a_strategy_and_a_risk_check_out_of_a_wheel_are_used_by_a_backtest(
    environment: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.yml").write_text(
        f"""
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}}
data: {{plugin: capture, paths: ["{CAPTURE}"]}}
strategy: {{plugin: bid_only, every: 100ms, lots: 10}}
risk: {{max_lots: 9}}
"""
    )
    vetoed = run(environment / "mmkit", "backtest", "-c", "config.yml", "--json", cwd=tmp_path)
    assert vetoed.returncode == 0, vetoed.stderr
    report = json.loads(vetoed.stdout)
    assert report["orders"] == 0
    assert report["vetoes"]["max_lots"] > 0

    allowed = run(
        *(environment / "mmkit", "backtest", "-c", "config.yml", "--json"),
        *("--set", "risk.max_lots=10"),
        cwd=tmp_path,
    )
    assert allowed.returncode == 0, allowed.stderr
    assert json.loads(allowed.stdout)["position"] == 0.01


def test_a_command_out_of_a_wheel_can_be_called(environment: Path, tmp_path: Path) -> None:
    said = run(environment / "mmkit", "hello", cwd=tmp_path)

    assert (said.returncode, said.stdout) == (0, "hello from a plugin\n")


def test_every_package_and_its_entry_point_are_in_mmkits_own_wheel(environment: Path) -> None:
    (wheel,) = environment.parents[1].glob("mmkit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
        (entry_points,) = [name for name in there if name.endswith("entry_points.txt")]
        offered = archive.read(entry_points).decode()
    for folder in (*(ROOT / "plugins").glob("mmkit_*"), *(ROOT / "strategies").glob("mmkit_*")):
        for file in (*folder.glob("*.py"), folder / "py.typed"):
            assert f"{folder.name}/{file.name}" in there
        assert f"= {folder.name}\n" in offered + "\n"
