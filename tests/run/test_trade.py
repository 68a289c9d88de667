"""`mmkit trade` as a person runs it: a real process, the real sandbox, real sockets over loopback."""

import json
import resource
import signal
import socket
import time
from pathlib import Path

from processes import CONFIG, Ended, journal, mmkit, newest_run, start, write_config

REFUSING = CONFIG.replace("services: [{plugin: sandbox}]\n", "")


def run_for(userdir: Path, duration: str, *more: object) -> Ended:
    return mmkit(
        *("trade", "-c", userdir / "config.yml", "--duration", duration, *more), cwd=userdir.parent
    )


def test_a_dry_run_on_the_sandbox_quotes_and_its_replay_is_equal_to_the_last_bit(
    tmp_path: Path,
) -> None:
    userdir = write_config(tmp_path / "user_data")

    ended = run_for(userdir, "8s", "--json")

    assert ended.status == 0, ended.stderr
    report = ended.json
    assert report["orders"] > 5
    assert report["fills"] > 0
    assert report["gaps"] == 0
    for name in ("events", "volume", "fees", "position", "equity", "realized_pnl", "max_drawdown"):
        assert name in report
    compared = mmkit("parity", report["folder"], "--json", cwd=tmp_path)
    assert compared.status == 0, compared.stderr
    assert compared.json["equal"] is True
    assert compared.json["events"] == report["events"]
    assert compared.json["entries"] == len(journal(Path(report["folder"])))
    assert compared.json["equity"] == report["equity"]
    assert compared.json["position"] == report["position"]


def test_a_dry_run_that_amends_is_replayed_to_the_last_bit_on_the_reference_engine(
    tmp_path: Path,
) -> None:
    userdir = write_config(tmp_path / "user_data", CONFIG + "quoting: {amend: true}\n")

    ended = run_for(userdir, "4s", "--json")

    assert ended.status == 0, ended.stderr
    kinds = [entry["type"] for entry in journal(Path(ended.json["folder"]))]
    assert kinds.count("AmendOrder") > 2
    assert kinds.count("OrderAmended") > 2
    compared = mmkit("parity", ended.json["folder"], "--json", cwd=tmp_path)
    assert compared.status == 0, compared.stderr
    assert compared.json["equal"] is True


def test_a_journal_that_was_altered_is_told_from_its_replay(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data")
    assert run_for(userdir, "4s").status == 0
    run = newest_run(userdir)
    lines = (run / "journal.jsonl").read_text().splitlines()
    number = next(number for number, line in enumerate(lines) if "SubmitOrder" in line)
    altered = json.loads(lines[number])
    altered["price"] += 1
    lines[number] = json.dumps(altered)
    (run / "journal.jsonl").write_text("\n".join(lines) + "\n")

    compared = mmkit("parity", run, cwd=tmp_path)

    assert compared.status == 1
    assert f"entry {number + 1}" in compared.stdout


def test_the_first_quote_comes_within_three_seconds(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data")
    assert run_for(userdir, "1s").status == 0  # caches warm

    began = time.time_ns()
    assert run_for(userdir, "4s").status == 0

    first = next(entry for entry in journal(newest_run(userdir)) if entry["type"] == "SubmitOrder")
    assert (first["ts_local"] - began) / 1e9 < 3


def test_ctrl_c_pulls_the_quotes_prints_the_summary_and_exits_130_within_a_second(
    tmp_path: Path,
) -> None:
    userdir = write_config(tmp_path / "user_data")
    process = start("trade", "-c", userdir / "config.yml", cwd=tmp_path)
    wait_for_orders(userdir)

    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    ended = Ended(process)

    assert time.monotonic() - began < 1
    assert ended.status == 130
    assert "equity" in ended.stdout
    assert "Traceback" not in ended.stderr
    run = newest_run(userdir)
    open_orders: set[int] = set()
    for entry in journal(run):
        match entry["type"]:
            case "SubmitOrder":
                open_orders.add(entry["order_id"])
            case "OrderCanceled" | "OrderRejected":
                open_orders.discard(entry["order_id"])
            case "OrderFilled" if entry["remaining"] == 0:
                open_orders.discard(entry["order_id"])
    assert open_orders == set()
    assert mmkit("parity", run, cwd=tmp_path).status == 0


def test_an_exception_in_quote_stops_the_run_and_names_the_line_in_the_users_file(
    tmp_path: Path,
) -> None:
    userdir = write_config(
        tmp_path / "user_data",
        CONFIG.replace(
            'plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"', "plugin: moody"
        ),
    )
    (userdir / "strategies" / "moody.py").write_text(
        "from mmkit import Quotes, Strategy\n\n\n"
        "class Moody(Strategy):\n"
        "    calls = 0\n\n"
        "    def quote(self, view):\n"
        "        self.calls += 1\n"
        "        if self.calls > 10:\n"
        "            return 1 / 0\n"
        "        return Quotes(bid=(view.best_bid - 50, 10))\n"
    )

    ended = run_for(userdir, "30s")

    assert ended.status == 1
    assert 'moody.py", line 10, in quote' in ended.stderr
    assert "return 1 / 0" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr
    kinds = [entry["type"] for entry in journal(newest_run(userdir))]
    assert kinds.count("SubmitOrder") == kinds.count("OrderCanceled") > 0


def test_live_mode_is_refused_rather_than_run_with_simulated_money(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data")

    ended = run_for(userdir, "5s", "--set", "mode=live")

    assert ended.status == 3
    assert "sends no real orders" in ended.stderr or "an account" in ended.stderr, ended.stderr
    assert not (userdir / "results").exists()


def test_a_dry_run_sends_no_order_to_a_venue_that_is_not_simulated(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data")
    (userdir / "plugins").mkdir()
    (userdir / "plugins" / "real.py").write_text(
        "from mmkit import ExecutionVenue, PluginConfig, Provider, hookimpl\n\n\n"
        "class Real(ExecutionVenue):\n"
        "    def __init__(self, config, context): ...\n"
        "    def send(self, command): raise AssertionError\n"
        "    def take(self, now_ns): return []\n\n\n"
        "@hookimpl\n"
        "def register_execution_venues():\n"
        "    return [Provider('real', PluginConfig, Real)]\n"
    )

    ended = run_for(userdir, "5s", "--set", "venue.plugin=real")

    assert ended.status == 3
    assert "sends real orders" in ended.stderr


def test_a_server_that_refuses_is_an_error_that_says_what_to_start(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    userdir = write_config(tmp_path / "user_data", REFUSING)

    ended = run_for(
        userdir,
        "30s",
        *(
            "--set",
            f"data.url=ws://127.0.0.1:{port}",
            "--set",
            f"data.rest_url=http://127.0.0.1:{port}",
        ),
    )

    assert ended.status == 5
    assert str(port) in ended.stderr
    assert "connection refused" in ended.stderr
    assert "mmkit sandbox" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_in_use_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        userdir = write_config(
            tmp_path / "user_data",
            CONFIG.replace("{plugin: sandbox}", f"{{plugin: sandbox, port: {port}}}"),
        )

        ended = run_for(userdir, "5s")

    assert ended.status == 5
    assert str(port) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_full_disk_stops_the_run_in_words_and_leaves_what_was_written_intact(
    tmp_path: Path,
) -> None:
    userdir = write_config(tmp_path / "user_data")

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = start(
        *("trade", "-c", userdir / "config.yml", "--duration", "60s"),
        cwd=tmp_path,
        preexec_fn=small_disk,
    )
    ended = Ended(process)

    assert ended.status == 1
    assert "the disk is full" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "equity" in ended.stdout
    assert (newest_run(userdir) / "market.rows").stat().st_size <= 20_000


def test_results_that_cannot_be_written_are_an_error_before_anything_is_quoted(
    tmp_path: Path,
) -> None:
    userdir = write_config(tmp_path / "user_data")
    (userdir / "results").write_text("a file where a folder belongs")

    ended = run_for(userdir, "5s")

    assert ended.status == 1
    assert "results" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_in_a_pipe_the_log_tells_state_changes_and_stdout_holds_nothing_but_the_summary(
    tmp_path: Path,
) -> None:
    userdir = write_config(tmp_path / "user_data")

    ended = run_for(userdir, "3s")

    assert ended.stdout.startswith("strategy")
    assert "synchronised" in ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr


def wait_for_orders(userdir: Path, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for path in (userdir / "results").glob("*/journal.jsonl"):
            if "OrderAccepted" in path.read_text():
                return
        time.sleep(0.1)
    raise AssertionError("no order was accepted in time")


def test_a_recorded_latency_is_refused_in_a_dry_run_before_it_starts(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data")
    lines = [f"{1_700_000_000 + n}000000000,5000000" for n in range(3)]
    (tmp_path / "series.csv").write_text("\n".join(["ts_ns,latency_ns", *lines]))

    latency = "sim.latency={response: {series: series.csv, max_gap: 1m}}"
    ended = run_for(userdir, "5s", "--set", latency)

    assert ended.status == 3
    assert "sim.latency.response: 'series.csv' was recorded from 2023-11-14T22:13:20.000Z" in (
        ended.stderr
    )
    assert "a dry run is now, " in ended.stderr
    assert not (userdir / "results").exists()


def test_a_dry_run_with_drawn_latencies_is_replayed_to_the_last_bit(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data")
    (tmp_path / "measured.csv").write_text("latency_ns\n2000000\n5000000\n40000000\n")
    latency = "sim.latency={entry: {quantiles: [1ms, 3ms, 60ms]}, response: {samples: measured.csv, seed: 5}}"

    ended = run_for(userdir, "4s", "--json", "--set", latency)

    assert ended.status == 0, ended.stderr
    assert ended.json["orders"] > 2
    run = ended.json["folder"]
    compared = mmkit("parity", run, "--json", cwd=tmp_path)
    assert compared.json["equal"] is True, compared.json["first_difference"]
    (tmp_path / "measured.csv").write_text("latency_ns\n2000000\n5000000\n")
    changed = mmkit("parity", run, cwd=tmp_path)
    assert changed.status == 1
    assert "measured.csv: the file that" in changed.stderr


def test_what_goes_wrong_is_told_and_nothing_is_quoted_while_the_book_is_unknown(
    tmp_path: Path,
) -> None:
    faults = '{at: ["2500ms drop", "2500ms html", "4s close_1006", "4s altered"]}'
    userdir = write_config(
        tmp_path / "user_data",
        CONFIG.replace("{plugin: sandbox}", f"{{plugin: sandbox, faults: {faults}}}"),
    )

    ended = run_for(userdir, "7s", "--json")

    assert ended.status == 0, ended.stderr
    for words in (
        "fault 2500ms drop depth what='depth'",
        "feed_lost reason=sequence; quotes pulled",
        "JSON was expected; found a web page",
        "feed_restored; the book is known",
        "reason=the connection closed (no closing handshake)",
        "feed_lost reason=connection; quotes pulled",
        "two snapshots disagree, asking again",
    ):
        assert words in ended.stderr
    report = ended.json
    assert report["gaps"] == 2
    assert report["feed"]["refused_snapshots"] == 1
    known, sent = False, 0
    for entry in journal(Path(report["folder"])):
        match entry["type"]:
            case "FeedLost":
                known = False
            case "FeedRestored":
                known = True
            case "SubmitOrder":
                assert known
                sent += 1
    assert sent > 5
    assert mmkit("parity", report["folder"], cwd=tmp_path).status == 0
