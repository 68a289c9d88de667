"""`mmkit calibrate latency` and `queue` on a run of `mmkit trade`: real processes, the real sandbox."""

from pathlib import Path

import yaml
from processes import mmkit, write_config


def test_a_dry_run_on_the_sandbox_gives_back_its_latencies_and_says_what_a_queue_fit_lacks(
    tmp_path: Path,
) -> None:
    userdir = write_config(tmp_path / "user_data")
    latency = "sim.latency={entry: {quantiles: [2ms, 3ms, 8ms]}, response: 5ms}"
    trade = ("trade", "-c", userdir / "config.yml", "--duration", "8s", "--json", "--set", latency)
    ran = mmkit(*trade, cwd=tmp_path)
    assert ran.status == 0, ran.stderr

    measured = mmkit("calibrate", "latency", "last", "--samples", "measured", cwd=tmp_path)

    assert measured.status == 0, measured.stderr
    yaml_lines = measured.stdout[measured.stdout.index("# under sim:") :]
    assert yaml.safe_load(yaml_lines) == {
        "latency": {
            "entry": {"samples": "measured/entry.csv"},
            "response": {"samples": "measured/response.csv"},
        }
    }
    lines = (tmp_path / "measured" / "entry.csv").read_text().splitlines()[1:]
    assert len(lines) == ran.json["orders"] + ran.json["cancels"]
    assert all(2_000_000 <= int(line) <= 8_000_000 for line in lines)
    assert (tmp_path / "measured" / "response.csv").read_text().splitlines()[1:]

    # What was measured is what the next run is told, from where it stands.
    again = yaml.safe_load(yaml_lines)["latency"]
    checked = mmkit(
        *("config", "show", "-c", userdir / "config.yml", "--set", f"sim.latency={again}"),
        cwd=tmp_path,
    )
    assert checked.status == 0, checked.stderr
    assert "measured/entry.csv" in checked.stdout

    fitted = mmkit("calibrate", "queue", ran.json["folder"], cwd=tmp_path)

    # Eight seconds are too few by a half; it says so, with how many there were.
    assert fitted.status == 4
    few = (
        "orders of the run rested" in fitted.stderr
        and "30 is the least that can be fitted to" in fitted.stderr
    )
    # Of two streams the book's may tell of a trade before the trade's own does: that fill has no trade at its time.
    assert few or "orders that were filled in the queue were so at a time" in fitted.stderr
