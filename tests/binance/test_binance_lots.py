"""What is remembered of decimals: the same integers, in a bounded memory, however many markets there are."""

import gc
from collections.abc import Callable
from decimal import Decimal

from mmkit_binance import lots


def counted(calls: list[str]) -> Callable[[str], int]:
    def parse(text: str) -> int:
        calls.append(text)
        return int(Decimal(text) * 1000)

    return parse


def test_many_markets_share_the_memory_that_few_have_and_all_read_alike() -> None:
    gc.collect()  # what other tests have left would take its share
    texts = [f"{number / 1000:.3f}" for number in range(12_000)]

    def asked_again(memories: list[lots.Memory], calls: list[str]) -> int:
        for memory in memories:
            assert [memory[text] for text in texts] == list(range(12_000))
        calls.clear()
        for memory in memories:
            for text in texts:
                memory[text]
        return len(calls)

    gc.collect()  # memories of tests before this one
    calls: list[str] = []
    few = [lots.Memory(counted(calls)) for _ in range(2)]
    assert asked_again(few, calls) == 0
    many = [lots.Memory(counted(calls)) for _ in range(40)]
    assert asked_again(many, calls) == 40 * 12_000  # each keeps fewer than that before it forgets
    # Those that are gone make room for the others.
    del many
    assert asked_again(few, calls) == 0
