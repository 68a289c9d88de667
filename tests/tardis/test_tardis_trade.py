"""`mmkit trade` on a tardis-machine."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tardis_machine import TardisMachine, change, running

MAIN = "import sys; from mmkit.cli import main; sys.exit(main())"


async def mmkit(*words: object, cwd: Path) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MAIN, *map(str, words)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, stdout.decode(), stderr.decode()


def test_a_dry_run_on_a_tardis_machine_survives_a_reconnect_and_replays_alike(
    tmp_path: Path,
) -> None:
    async def session(socket: Any) -> None:
        for n in range(60):
            bids, asks = {100.0: 1 + n % 3, 99.9: 2}, {100.2: 1 + n % 2}
            await socket.send_str(json.dumps(change(n, n, bids, asks, n == 0)))
            await asyncio.sleep(0.02)
        await socket.close(code=1011)

    async def run() -> None:
        machine = TardisMachine()
        machine.sessions = [session]
        async with running(machine):
            (tmp_path / "user_data").mkdir()
            config = tmp_path / "user_data" / "config.yml"
            config.write_text(
                'instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}\n'
                f"data: {{plugin: tardis, url: {machine.url}}}\n"
                'strategy: {plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"}\n'
            )
            status, stdout, stderr = await mmkit(
                *("trade", "-c", config, "--duration", "4s", "--json"), cwd=tmp_path
            )
        assert status == 0, stderr
        assert "code 1011" in stderr
        report = json.loads(stdout)
        assert report["orders"] > 1
        assert len(machine.asked) > 1
        (folder,) = (tmp_path / "user_data" / "results").iterdir()
        status, _, stderr = await mmkit("parity", folder, cwd=tmp_path)
        assert status == 0, stderr

    asyncio.run(run())
