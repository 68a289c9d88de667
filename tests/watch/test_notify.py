"""What is sent on, by apprise itself to a real HTTP server on 127.0.0.1."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator

import pytest
from http_receiver import Receiver, receiver

from mmkit.clock import SystemClock
from mmkit.errors import ConfigError
from mmkit.notify import Notified, Notifier

MS = 1_000_000


@pytest.fixture
def chat() -> Iterator[Receiver]:
    with receiver() as kept:
        yield kept


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


def test_what_is_told_arrives_and_what_comes_within_the_time_is_gathered(chat: Receiver) -> None:
    async def run() -> Notified:
        notifier = Notifier([chat.url], 300 * MS, "mmkit watch: BTC/USDT", SystemClock())
        notifier.start()
        notifier.tell("first")
        await until(lambda: len(chat.messages) == 1)
        began = time.monotonic()
        for number in range(25):
            notifier.tell(f"line {number}")
        await until(lambda: len(chat.messages) == 2)
        assert time.monotonic() - began > 0.2
        await until(lambda: notifier.notified.sent == 2)
        await notifier.close()
        return notifier.notified

    assert asyncio.run(run()) == Notified(lines=26, sent=2, left_out=5)
    first, second = chat.messages
    assert (first["title"], first["message"]) == ("mmkit watch: BTC/USDT", "first")
    expected = [*(f"line {number}" for number in range(20)), "and 5 more"]
    assert second["message"].split("\n") == expected
    assert chat.paths[0].rstrip("/") == "/hooks/t0kenOfMine"


def test_what_becomes_of_the_run_is_not_crowded_out_by_events(chat: Receiver) -> None:
    async def run() -> Notified:
        notifier = Notifier([chat.url], 0, "title", SystemClock())
        notifier.start()
        for number in range(25):
            notifier.tell(f"event {number}")
        notifier.tell("halted", of_run=True)
        await notifier.close()
        await notifier.close()  # a second time there is nothing left to do
        return notifier.notified

    assert asyncio.run(run()) == Notified(lines=26, sent=1, left_out=5)
    lines = chat.messages[0]["message"].split("\n")
    assert lines == [*(f"event {number}" for number in range(20)), "halted", "and 5 more"]


def test_the_end_of_a_run_sends_what_is_waiting_at_once(chat: Receiver) -> None:
    async def run() -> Notified:
        notifier = Notifier([chat.url], 3_600_000 * MS, "title", SystemClock())
        notifier.start()
        notifier.tell("first")
        await until(lambda: notifier.notified.sent == 1)
        notifier.tell("last words")
        await notifier.close()
        return notifier.notified

    assert asyncio.run(run()) == Notified(lines=2, sent=2)
    assert [message["message"] for message in chat.messages] == ["first", "last words"]


def test_failures_are_counted_and_told_and_the_other_address_still_gets_it(
    chat: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with receiver() as broken, receiver() as gone:
        broken.status = 500
    with receiver() as broken:
        broken.status = 500

        async def run() -> Notified:
            urls = [broken.url, chat.url, gone.url]
            notifier = Notifier(urls, 0, "title", SystemClock())
            notifier.start()
            notifier.tell("one")
            await until(lambda: notifier.notified.failed == 2)
            notifier.tell("two")
            await until(lambda: notifier.notified.failed == 4)
            await notifier.close()
            return notifier.notified

        notified = asyncio.run(run())

    assert notified == Notified(
        lines=2,
        sent=2,
        failed=4,
        failures={"notify.urls[0]: HTTP 500": 2, "notify.urls[2]: no connection": 2},
    )
    assert [message["message"] for message in chat.messages] == ["one", "two"]
    assert caplog.text.count("notify_failed url=notify.urls[0] reason='HTTP 500'") == 1
    # Not even with all that libraries log.
    for secret in chat.secrets:
        assert secret not in caplog.text
    assert not [one for one in caplog.records if one.name.startswith(("apprise", "urllib3"))]


def test_libraries_log_again_once_it_is_closed(chat: Receiver) -> None:
    before = [
        (logging.getLogger(n).propagate, len(logging.getLogger(n).handlers)) for n in LIBRARIES
    ]

    async def run() -> None:
        notifier = Notifier([chat.url], 0, "title", SystemClock())
        notifier.start()
        await notifier.close()

    asyncio.run(run())
    after = [
        (logging.getLogger(n).propagate, len(logging.getLogger(n).handlers)) for n in LIBRARIES
    ]
    assert after == before


LIBRARIES = ("apprise", "urllib3", "requests")


def test_a_server_that_does_not_answer_holds_up_neither_the_run_nor_its_end(chat: Receiver) -> None:
    chat.slow.clear()

    async def run() -> tuple[float, float, Notified]:
        notifier = Notifier([chat.url], 0, "title", SystemClock())
        notifier.start()
        notifier.tell("one")
        await until(lambda: len(chat.messages) == 1)
        began = time.monotonic()
        notifier.tell("two")
        told = time.monotonic() - began
        await notifier.close()
        return told, time.monotonic() - began, notifier.notified

    told, closed, notified = asyncio.run(run())
    assert told < 0.1
    assert closed < 3.5
    assert notified == Notified(
        lines=2,
        failed=1,
        unsent=1,
        failures={"notify.urls[0]: the message before is still waiting for its answer": 1},
    )


def test_an_address_that_does_not_answer_holds_up_the_others_for_a_second_at_most(
    chat: Receiver,
) -> None:
    with receiver() as silent:
        silent.slow.clear()

        async def run() -> float:
            notifier = Notifier([silent.url, chat.url], 0, "title", SystemClock())
            notifier.start()
            began = time.monotonic()
            for number in range(2):
                notifier.tell(f"line {number}")
                await until(lambda: len(chat.messages) > number)  # noqa: B023 - within the turn
            notifier.tell("last words")
            took = time.monotonic() - began
            await notifier.close()
            return took

        assert asyncio.run(run()) < 2
    assert [one["message"] for one in chat.messages] == ["line 0", "line 1", "last words"]


def test_an_address_that_apprise_does_not_know_is_refused_by_its_place_and_not_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        Notifier(["json://127.0.0.1", "nosuch://tok3n@x"], 0, "title", SystemClock())
    assert "notify.urls[1]: an address that apprise understands was expected" in str(refused.value)
    assert "tok3n" not in str(refused.value)
