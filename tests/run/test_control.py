"""A run that is told things from another terminal: real processes, the real sandbox."""

import fcntl
import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from processes import CONFIG, Ended, journal, mmkit, newest_run, start, write_config

from mmkit.run.control import SOCKET, running


def begun(userdir: Path, *more: object) -> subprocess.Popen[str]:
    """Return a run that quotes."""
    process = start("trade", "-c", userdir / "config.yml", *more, cwd=userdir.parent)
    for _ in range(400):
        with_orders = [
            run
            for run in userdir.glob("results/*-trade*/journal.jsonl")
            if "SubmitOrder" in run.read_text() and (run.parent / SOCKET).exists()
        ]
        if with_orders:
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no order within 20 s")


def tell(userdir: Path, command: str, *more: object) -> Ended:
    return mmkit(command, *more, "--userdir", userdir, cwd=userdir.parent)


def open_orders(run: Path) -> set[int]:
    """What the journal says is on the book at its end."""
    working: set[int] = set()
    for entry in journal(run):
        match entry["type"]:
            case "SubmitOrder":
                working.add(entry["order_id"])
            case "OrderCanceled" | "OrderRejected":
                working.discard(entry["order_id"])
            case "OrderFilled" if entry["remaining"] == 0:
                working.discard(entry["order_id"])
    return working


def test_a_run_is_paused_resumed_and_stopped_from_elsewhere_and_its_replay_is_equal(
    tmp_path: Path,
) -> None:
    # So long a path that a socket's name in it is too long for the system.
    userdir = write_config(tmp_path / ("long" * 20) / "user_data")
    process = begun(userdir)
    run = newest_run(userdir)
    assert stat.S_IMODE((run / SOCKET).stat().st_mode) == 0o600

    paused = tell(userdir, "pause")
    assert (paused.status, "paused" in paused.stdout) == (0, True), paused.stderr
    paused_at = time.time_ns()
    time.sleep(1.5)
    resumed_at = time.time_ns()
    # The file that it was started with names the folder as well.
    resumed = mmkit("resume", run.name, "-c", userdir / "config.yml", cwd=tmp_path)
    assert resumed.status == 0, resumed.stderr
    time.sleep(1.5)
    stopped = mmkit("stop", "-c", userdir / "config.yml", cwd=tmp_path)

    assert stopped.stdout == f"{run.name}: ended\n"
    ended = Ended(process)
    assert ended.status == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (run / SOCKET).exists()
    assert open_orders(run) == set()
    sent = [one["ts_local"] for one in journal(run) if one["type"] == "SubmitOrder"]
    assert not [at for at in sent if paused_at < at < resumed_at]
    assert [at for at in sent if at > resumed_at]
    record = json.loads((run / "run.json").read_text())
    assert [paused for _, paused in record["pauses"]] == [True, False]
    compared = mmkit("parity", run, "--json", cwd=userdir.parent)
    assert compared.json["equal"] is True, compared.stdout


@pytest.mark.parametrize("command", ["stop", "pause", "resume", "panic"])
def test_a_configuration_that_is_not_there_is_refused_and_no_other_run_is_told(
    command: str, tmp_path: Path
) -> None:
    told = mmkit(command, "-c", "nowhere.yml", cwd=tmp_path)
    assert told.status == 2
    assert "nowhere.yml: a configuration was expected, and there is no such file" in told.stderr


def test_panic_kills_a_run_that_hangs_and_stop_says_that_it_hangs(tmp_path: Path) -> None:
    userdir = write_config(
        tmp_path / "user_data",
        CONFIG.replace(
            'plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"', "plugin: hangs"
        ),
    )
    (userdir / "strategies" / "hangs.py").write_text(
        "import time\n\nfrom mmkit import Quotes, Strategy\n\n\n"
        "class Hangs(Strategy):\n"
        "    calls = 0\n\n"
        "    def quote(self, view):\n"
        "        self.calls += 1\n"
        "        if self.calls > 15:\n"
        "            time.sleep(1000)\n"
        "        return Quotes(bid=(view.best_bid - 50, 10))\n"
    )
    process = begun(userdir)
    time.sleep(2)

    stopped = tell(userdir, "stop")
    panicked = tell(userdir, "panic")

    assert stopped.status == 1
    assert f"process {process.pid}, does not answer; 'mmkit panic" in stopped.stderr
    assert panicked.status == 0, panicked.stderr
    assert f"did not answer; process {process.pid} killed" in panicked.stdout
    assert process.wait(5) == -signal.SIGKILL


def test_a_run_that_was_killed_is_not_taken_for_one_that_goes_on(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data")
    process = begun(userdir)
    run = newest_run(userdir)
    process.kill()
    process.wait()

    assert (run / SOCKET).exists()
    assert running(userdir) == []
    told = tell(userdir, "stop", run.name)
    assert told.status == 1
    assert f"no run '{run.name}' is going on" in told.stderr
    panicked = tell(userdir, "panic")
    assert panicked.status == 0
    assert "no run is going on" in panicked.stderr


def test_a_log_that_nobody_reads_holds_up_no_run(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data")
    process = start(
        "trade", "-c", userdir / "config.yml", "-vv", "--json", "--duration", "6s", cwd=tmp_path
    )
    assert process.stderr is not None
    fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)

    assert process.wait(40) == 0

    assert len(process.stderr.buffer.read()) <= 4096  # type: ignore[attr-defined]
    asked = [
        one["ts_local"] for one in journal(newest_run(userdir)) if one["type"] == "SubmitOrder"
    ]
    assert asked[-1] - asked[0] > 2e9
    process.communicate()


@pytest.mark.parametrize("text", ["nonsense\n", '{"do": "explode"}\n', '{"do": "stop", "x": 1}\n'])
def test_what_is_no_wish_is_answered_with_what_is_wrong_and_changes_nothing(
    tmp_path: Path, text: str
) -> None:
    import asyncio

    from mmkit.run.control import Standing, controlled

    class Quiet:
        def wish(self, wish: str) -> Standing:
            assert wish == "state"
            return Standing(run_id="r", process=os.getpid(), mode="dry_run", state="s", orders=0)

    async def told() -> dict[str, object]:
        async with controlled(tmp_path, Quiet()):
            reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
            writer.write(text.encode())
            answer = json.loads(await reader.readline())
            writer.close()
            return answer  # type: ignore[no-any-return]

    assert asyncio.run(told())["error"]
