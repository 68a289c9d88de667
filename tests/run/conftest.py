"""A dry run with advisors, for all that is asked of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from advisor_runs import dry_run, structure, written


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    """A dry run with advisors of every kind: its report, its log, its folder."""
    folder = tmp_path_factory.mktemp("advised")
    table = [
        structure("BUY"),
        structure("SELL", 0.7),
        "timeout: nothing came",
        structure("SELL", float("nan")),
        "raise",
        structure("SELL", 85),
    ]
    config = written(
        folder,
        [
            {"as": "table", "answers": table, "messages": 8, "keep": str(folder / "asked")},
            {"as": "stuck", "answers": [structure()], "every": "1s", "hang": "block"},
            {"as": "waits", "answers": [structure()], "every": "1s", "hang": "await"},
            {
                "as": "late",
                "answers": [structure()],
                "every": "1s",
                "after": 0.4,
                "expires": "300ms",
                "cost": None,
            },
            {
                "as": "alert",
                "question": "explain_anomaly",
                "answers": ["busy"],
                "on": ["anomaly", "large_trade"],
                "keep": str(folder / "alerts"),
            },
        ],
        '{plugin: signal_taker, balance: "1000", short: true}',
        "fusion: {policy: advisor, advice: table}\nwatch: {large_trade: '0.05', cooldown: 500ms}",
    )
    report, log = dry_run(config)
    return report, log, folder
