"""How far a command has come, on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(doing: str, *, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar on standard error until the block ends; what it gives is told what is done and everything.

    Args:
        doing: One word, such as ``replaying``.
        shown: Whether anybody looks; if not it gives `None`.
    """
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, everything: bar.update(task, completed=done, total=everything)
