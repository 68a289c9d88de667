"""``mmkit chaos``: order handling while everything goes wrong that can go wrong."""

from __future__ import annotations

import os

import click


@click.command(short_help="Try order handling while everything goes wrong")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    metavar="N",
    help="Run N schedules in virtual time.  [default: 300]",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    metavar="N",
    help="Run N schedules for real instead: processes, sockets and disks.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="J",
    help="Of --processes: so many at once.  [default: the machine's cores]",
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
def chaos(
    *,
    seeds: int | None,
    processes: int | None,
    jobs: int | None,
    first: int,
    as_json: bool,
    verbose: bool,
) -> None:
    """Run a market maker at the sandbox's exchange in virtual time, while requests, answers and events are lost, late,
    doubled and refused, orders are hidden, the venue restarts, and the process dies at any step and starts again.

    After each schedule: no order is unknown to either side, none was sent twice, position and money are the venue's to the
    last digit, nothing is left on the book, and quotes came back within 30 s of the last fault. What is not so is printed
    with seed and trace, and the exit status is 1. The same seed always gives the same trace.

    With --processes the trader is a real one, 'mmkit trade' with its journal of orders on the disk, which is killed and
    started again, at a sandbox behind real sockets and a line that cuts, holds up and delays connections. A schedule takes
    20 to 40 s. The seed decides what goes wrong and when; what comes of it is not the same twice. What the processes
    have written is kept where something was violated.
    """
    if processes is not None and seeds is not None:
        raise click.UsageError(
            "'--seeds' is virtual time and '--processes' is real: one of them was expected, found both"
        )
    if processes is None and jobs is not None:
        raise click.UsageError(
            "'--jobs' is about '--processes': one core computes virtual time; leave it out, or say '--processes N'"
        )
    if processes is not None:
        numbers = range(first, first + processes)
        _for_real(numbers, jobs or os.cpu_count() or 1, as_json=as_json, verbose=verbose)
        return
    from mmkit_sandbox.chaos import lived
    from mmkit_sandbox.chaosreport import VirtualTally, lines_of

    tally = VirtualTally()
    for seed in range(first, first + (seeds or 300)):
        outcome = lived(seed, traced=verbose)
        tally.add(outcome)
        if outcome.violations or verbose:
            for line in lines_of(outcome):
                click.echo(line, err=as_json)
    click.echo(tally.json() if as_json else tally.text())
    if tally.violations:
        raise SystemExit(1)


def _for_real(seeds: range, jobs: int, *, as_json: bool, verbose: bool) -> None:
    import asyncio

    from mmkit_sandbox.chaosprocess import ProcessOutcome
    from mmkit_sandbox.chaosprocesses import run_processes
    from mmkit_sandbox.chaosprocessreport import ProcessTally, lines_of_process

    tally = ProcessTally()

    def done(outcome: ProcessOutcome) -> None:
        tally.add(outcome)
        if outcome.violations or verbose:
            for line in lines_of_process(outcome):
                click.echo(line, err=as_json)

    whole = asyncio.run(run_processes(seeds, jobs, done))
    click.echo(tally.json() if as_json else tally.text())
    if tally.violations:
        raise SystemExit(1)
    if not whole:
        raise SystemExit(130)
