"""``mmkit chaos``: order handling while everything goes wrong that can go wrong."""

from __future__ import annotations

import click


@click.command(short_help="Try order handling while everything goes wrong, in virtual time")
@click.option(
    "--seeds", type=click.IntRange(1), metavar="N", help="Run N schedules.  [default: 300]"
)
@click.option(
    "--first",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="S",
    help="Seed of the first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option(
    "--verbose", "-v", is_flag=True, help="Print every schedule, and what happened in it."
)
def chaos(*, seeds: int | None, first: int, as_json: bool, verbose: bool) -> None:
    """Run a market maker at the sandbox's exchange in virtual time, while requests, answers and events are lost, late,
    doubled and refused, orders are hidden, the venue restarts, and the process dies at any step and starts again.

    After each schedule: no order is unknown to either side, none was sent twice, position and money are the venue's to the
    last digit, nothing is left on the book, and quotes came back within 30 s of the last fault. What is not so is printed
    with seed and trace, and the exit status is 1. The same seed always gives the same trace.
    """
    from mmkit_sandbox.chaos import lived
    from mmkit_sandbox.chaosreport import Tally, lines_of, text_of

    tally = Tally()
    for seed in range(first, first + (seeds or 300)):
        outcome = lived(seed, traced=verbose)
        tally.add(outcome)
        if outcome.violations or verbose:
            for line in lines_of(outcome):
                click.echo(line, err=as_json)
    click.echo(tally.json() if as_json else text_of(tally))
    if tally.violations:
        raise SystemExit(1)
