"""What `mmkit trade` sends on: a real process, the real sandbox, a real HTTP server as the chat."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from command import start, written
from http_receiver import Receiver, receiver

CONFIG = """
instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}
services: [{plugin: sandbox%s}]
data: {plugin: binance, endpoint: sandbox}
strategy: {plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"}
watch: {large_trade: "0.01", cooldown: 1s, every: 500ms}
notify: {urls: ["${CHAT_URL}"], events: [%s], every: 500ms}
"""


def trade(config: Path, chat: Receiver, *more: object, userdir: Path) -> subprocess.Popen[str]:
    return start(
        *("trade", "-c", config, "--userdir", userdir, *more), cwd=userdir, CHAT_URL=chat.url
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def lines(chat: Receiver) -> list[str]:
    """Every line that arrived, without its time."""
    arrived = "\n".join(message["message"] for message in chat.messages).splitlines()
    return [re.sub(r"^\d{4}-\d\d-\d\dT[0-9:.]+Z ", "", line) for line in arrived]


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def test_start_events_a_lost_feed_its_return_a_halt_and_the_end_arrive_and_the_address_is_nowhere(
    tmp_path: Path,
) -> None:
    config = written(tmp_path, CONFIG % (', faults: {at: ["3s close_1006"]}', "LargeTrade"))
    with receiver() as chat:
        more = ("--duration", "6s", "--json", "-vv", "--set", "risk.max_drawdown=0.0000001")
        status, stdout, stderr = ended(trade(config, chat, *more, userdir=tmp_path))
    assert status == 0, stderr
    report = json.loads(stdout)
    run = Path(report["folder"])
    told = lines(chat)

    assert {message["title"] for message in chat.messages} == {"mmkit trade: BTC/USDT:USDT"}
    assert told[0] == (
        f"started run={run.name} strategy=join_best symbol=BTC/USDT:USDT mode=dry_run"
    )
    # What comes with the last message is told too.
    assert told[-1].startswith(f"ended run={run.name} reason='time was up' orders=")
    assert f"fills={report['fills']} " in told[-1]
    assert told[-1].endswith(" USDT halted")
    halted = [line for line in told if line.startswith("halted reason=")]
    assert halted == [f"halted reason='{report['halted']}'"]
    assert f"{halted[0]}; nothing is quoted any more" in stderr
    lost = told.index("feed_lost reason=connection")
    assert told.index("feed_restored") > lost
    entries = journal(run)
    kinds = [entry["type"] for entry in entries]
    assert sum(" side=" in line for line in told) == kinds.count("LargeTrade") > 2
    assert not any("Statistics" in line for line in told)
    assert report["watch"]["LargeTrade"] == kinds.count("LargeTrade")
    assert report["notified"] == {
        "lines": len(told),
        "sent": len(chat.messages),
        "failed": 0,
        "left_out": 0,
        "unsent": 0,
        "failures": {},
    }
    assert json.loads((run / "report.json").read_text()) == report
    for secret in chat.secrets:
        assert secret not in stdout + stderr
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes()

    # The replay sends nothing, and finds the same events though nobody but the chat has heard them.
    status, stdout, stderr = ended(start("parity", run, "--json", cwd=tmp_path))
    assert status == 0, stdout + stderr
    assert json.loads(stdout)["entries"] == len(entries)


def test_a_chat_that_refuses_and_one_that_never_answers_do_not_disturb_the_run(
    tmp_path: Path,
) -> None:
    text = (CONFIG % ("", "LargeTrade")).replace('["${CHAT_URL}"]', '["${CHAT_URL}", "${OTHER}"]')
    config = written(tmp_path, text)
    with receiver() as refusing, receiver() as silent:
        refusing.status = 403
        silent.slow.clear()
        began = time.monotonic()
        process = start(
            *("trade", "-c", config, "--userdir", tmp_path, "--duration", "3s"),
            cwd=tmp_path, CHAT_URL=refusing.url, OTHER=silent.url,
        )  # fmt: skip
        status, stdout, stderr = ended(process)
        took = time.monotonic() - began
        silent.slow.set()
    assert status == 0, stderr
    assert took < 3 + 3 + 6
    assert len(refusing.messages) > 2
    assert stderr.count("notify_failed url=notify.urls[0] reason='HTTP 403'") == 1
    assert stderr.count("notify_failed url=notify.urls[1]") <= 2
    assert "notify.urls[0]: HTTP 403 (" in stdout
    assert re.search(r"^notify  +\d+ lines in 0 messages delivered, \d+ failed", stdout, re.M)
    assert re.search(r"^watch  +\d+ (LargeTrade|PriceAnomaly)", stdout, re.M)
    (run,) = (tmp_path / "results").iterdir()
    decided = [entry["ts_local"] for entry in journal(run) if entry["type"] == "SubmitOrder"]
    assert len(decided) > 2
    assert ended(start("parity", run, cwd=tmp_path))[0] == 0


def test_ctrl_c_and_a_strategy_that_fails_are_told_as_the_reason_of_the_end(tmp_path: Path) -> None:
    config = written(tmp_path, CONFIG % ("", ""))
    with receiver() as chat:
        process = trade(config, chat, userdir=tmp_path)
        deadline = time.monotonic() + 20
        while not chat.messages and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == 130
    first, last = lines(chat)
    assert first.startswith("started ")
    assert " reason='interrupted' " in last

    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "moody.py").write_text(
        "from mmkit import Quotes, Strategy\n\n\n"
        "class Moody(Strategy):\n"
        "    def quote(self, view):\n"
        "        return 1 / 0\n"
    )
    with receiver() as chat:
        status, _, stderr = ended(
            trade(config, chat, *("-s", "moody", "--duration", "20s"), userdir=tmp_path)
        )
    assert status == 1, stderr
    assert " reason='Moody.quote raised ZeroDivisionError: division by zero' " in lines(chat)[-1]


def test_an_address_that_apprise_does_not_know_stops_before_anything_begins(tmp_path: Path) -> None:
    config = written(tmp_path, CONFIG % ("", "LargeTrade"))
    with receiver() as chat:
        chat.url = "nosuch://p4ssw0rd@x"
        status, stdout, stderr = ended(trade(config, chat, "--duration", "1s", userdir=tmp_path))
    assert (status, stdout) == (3, "")
    assert "notify.urls[0]: an address that apprise understands was expected; found '***'" in stderr
    assert "p4ssw0rd" not in stderr
    assert not (tmp_path / "results").exists()
