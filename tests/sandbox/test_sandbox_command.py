"""``mmkit sandbox`` as a process, and what loading the plugin costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from sandbox_fixtures import SPOT_CAPTURE

import mmkit_sandbox
from mmkit.errors import CaptureError, UsageError, VenueError
from mmkit_sandbox.accountconfig import DEMO_KEY, DEMO_SECRET

# A shell that starts the tests in the background has SIGINT ignored; a terminal has not.
PROGRAM = """
import signal, click, mmkit_sandbox
signal.signal(signal.SIGINT, signal.default_int_handler)
cli = click.Group()
mmkit_sandbox.register_commands(cli)
cli()
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "sandbox", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def run(*arguments: str) -> Result:
    cli = click.Group()
    mmkit_sandbox.register_commands(cli)
    return CliRunner().invoke(cli, ["sandbox", *arguments])


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_says_where_it_listens_serves_and_ends_without_a_traceback(
    sign: signal.Signals, status: int
) -> None:
    process = start("--json")
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        assert told["symbols"] == {
            "spot": ["BTCUSDT"],
            "usdm": ["BTCUSDT"],
            "coinm": ["BTCUSD_PERP"],
        }
        assert set(told["account"]) == {"key", "secret"}
        for root in told["rest"].values():
            with urllib.request.urlopen(root + "/time", timeout=5) as answer:
                assert "serverTime" in json.load(answer)
        process.send_signal(sign)
        out, err = process.communicate(timeout=5)
    finally:
        process.kill()
    assert process.returncode == status
    assert "Traceback" not in out + err


def test_it_ends_by_itself_and_tells_the_addresses_in_words() -> None:
    result = run("--port", "0", "--duration", "100ms", "--symbol", "ETH/USDT:USDT")
    assert result.exit_code == 0
    for words in ("ETHUSDT (usdm)", "/fapi/v1", "/fstream/public", "endpoint: sandbox", "ccxt"):
        assert words in result.output
    for words in ("/ws-api/v3", "/ws-fapi/v1", DEMO_KEY, DEMO_SECRET, "/sandbox/ledger"):
        assert words in result.output


def test_it_says_that_things_go_wrong_on_purpose() -> None:
    result = run(
        *("--port", "0", "--duration", "100ms", "--fault", "0s drop"),
        *("--faults-every", "5s", "--faults-kind", "delay", "--faults-seed", "3"),
    )
    assert result.exit_code == 0
    assert "/sandbox/faults tells what has" in result.output


def test_a_capture_is_played() -> None:
    result = run(
        "--port", "0", "--duration", "50ms", "--replay", str(SPOT_CAPTURE), "--speed", "10"
    )
    assert result.exit_code == 0
    assert "Playing 1,803 recorded messages at 10 times" in result.output
    assert "NEXOUSDT (spot)" in result.output
    assert DEMO_KEY not in result.output  # nobody can trade in a capture


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--replay", "nowhere.gz"), CaptureError),
        (("--symbol", "BTCUSDT"), UsageError),
        (("--duration", "ten"), UsageError),
        (("--host", "203.0.113.1"), VenueError),
        (("--fault", "5s dorp"), UsageError),
        (("--faults-every", "5"), UsageError),
        (("--faults-every", "5s", "--faults-kind", "dorp"), UsageError),
        (("--replay", str(SPOT_CAPTURE), "--fault", "5s stale"), UsageError),
    ],
)
def test_what_cannot_be_is_an_error_that_mmkit_explains(
    arguments: tuple[str, ...], error: type[Exception]
) -> None:
    assert isinstance(run("--port", "0", *arguments).exception, error)


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    program = (
        "import sys, click, mmkit_sandbox\n"
        "mmkit_sandbox.register_commands(click.Group())\n"
        "heavy = {'pydantic', 'aiohttp', 'numpy', 'numba', 'msgspec', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_plugin_offers_a_service_with_a_config() -> None:
    (provider,) = mmkit_sandbox.register_services()
    assert provider.name == "sandbox"
    assert provider.config().port == 0
    assert Path(mmkit_sandbox.__file__).with_name("py.typed").exists()
