"""A long dry run against the sandbox: is anything lost, does memory grow, is the replay equal?

    python benchmarks/soak.py --minutes 10
    python benchmarks/soak.py --minutes 10 --market spot --replay DAY1.gz DAY2.gz

Prints one JSON object: the run's report, resident memory after the first minute and at the end, and what
`mmkit parity` found.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SYMBOL = {"usdm": "BTC/USDT:USDT", "spot": "BTC/USDT"}


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def main() -> None:
    """Run, watch, replay, tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--market", choices=SYMBOL, default="usdm")
    parser.add_argument("--replay", nargs="*", type=Path, default=[])
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mmkit-soak-"))
    sandbox = {"plugin": "sandbox"}
    if asked.replay:
        sandbox["replay"] = [str(path.resolve()) for path in asked.replay]
    config = {
        "instrument": {"venue": "binance", "market": asked.market, "symbol": SYMBOL[asked.market]},
        "services": [sandbox],
        "data": {"plugin": "binance", "endpoint": "sandbox"},
        "strategy": {
            "plugin": "join_best",
            "every": "100ms",
            "size": "0.01",
            "max_position": "0.05",
        },
    }
    (folder / "config.yml").write_text(json.dumps(config))
    mmkit = [sys.executable, "-c", "import sys; from mmkit.cli import main; sys.exit(main())"]
    options = ["-c", "config.yml", "--userdir", str(folder), "--json"]
    duration = f"{round(asked.minutes * 60)}s"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*mmkit, "trade", *options, "--duration", duration],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
        )
        memory = []
        while process.poll() is None:
            memory.append((time.monotonic(), resident_kib(process.pid)))
            time.sleep(5)
    report = json.loads(process.communicate()[0])
    began = memory[0][0]
    after_a_minute = next((kib for at, kib in memory if at - began >= 60), memory[-1][1])
    parity = subprocess.run(
        [*mmkit, "parity", report["folder"], "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    ended = max(kib for _, kib in memory[-4:])
    print(
        json.dumps(
            {
                "status": process.returncode,
                "report": report,
                "resident_mib_after_a_minute": round(after_a_minute / 1024, 1),
                "resident_mib_at_the_end": round(ended / 1024, 1),
                "parity": json.loads(parity.stdout or "{}"),
                "log": str(folder / "log"),
            }
        )
    )


if __name__ == "__main__":
    main()
