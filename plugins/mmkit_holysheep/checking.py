"""What is to be said of a gateway: key, address, models, budget; in words for who sees this for the first time."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal

import msgspec

from mmkit.errors import ConfigError
from mmkit_holysheep.prices import Prices
from mmkit_holysheep.reply import Failure
from mmkit_holysheep.settings import HolysheepConfig, Reach

Status = Literal["ok", "warn", "fail"]
_MOST_NAMED = 12
_SOON = datetime.timedelta(days=30)

OK, CONFIGURATION, GATEWAY = 0, 3, 5
"""Exit codes."""

_V1 = "an address such as https://api.holysheep.ai/v1, with its /v1, was expected as 'base_url'"
# What a failure means, whether it is the configuration's fault, and what to do.
_MEANS: dict[str, tuple[int, str]] = {
    "http_401": (
        CONFIGURATION,
        "does not accept the key; copy it again from the gateway's page; a key belongs to one gateway",
    ),
    "http_402": (GATEWAY, "says that there is no credit left; top it up on the gateway's page"),
    "http_403": (
        CONFIGURATION,
        "takes the key and does not allow this; look on the gateway's page what the key may do",
    ),
    "http_404": (CONFIGURATION, f"knows no list of models; {_V1}"),
    "http_429": (GATEWAY, "is asked too often; wait a minute"),
    "timeout": (GATEWAY, "did not answer in time; try again, and look whether 'base_url' is right"),
    "connection": (
        GATEWAY,
        "cannot be reached; look whether this machine is online and whether 'base_url' is right",
    ),
    "html": (CONFIGURATION, f"answered with a web page; {_V1}"),
    "not_json": (CONFIGURATION, f"answered with something else than a list of models; {_V1}"),
    "no_list": (CONFIGURATION, f"answered with something else than a list of models; {_V1}"),
    "blank": (GATEWAY, "answered with nothing; try again later"),
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        what: Which.
        status: ``ok``, ``warn`` or ``fail``.
        message: In words, with what to do unless it is ok.
        code: The exit code that this comes to.
    """

    what: str
    status: Status
    message: str
    code: int = OK


def rows_of(
    config: HolysheepConfig,
    reach: Reach,
    prices: Prices,
    listed: Sequence[str] | Failure,
    today: datetime.date,
) -> list[Row]:
    """Return what is to be said of one gateway.

    Args:
        config: Of an advisor.
        reach: Its address and key.
        prices: What models cost.
        listed: The models that the gateway has, or why it does not say.
        today: By UTC.
    """
    said = f"there is one, of {len(reach.key)} characters; it is shown nowhere"
    key = Row(
        what="key", status="ok", message=said if reach.keyed else "none, and none is needed there"
    )
    there = None if isinstance(listed, Failure) else listed
    return [
        key,
        _gateway(reach, listed),
        *(_model(name, there, prices, today, free=reach.free) for name in config.model),
        _budget(config, free=reach.free),
    ]


def broken_rows(error: ConfigError) -> list[Row]:
    """Return what is to be said of an advisor that cannot be made, such as one without a key."""
    return [
        Row(
            what=mistake.path.rpartition(".")[2] or "configuration",
            status="fail",
            message=str(mistake),
            code=CONFIGURATION,
        )
        for mistake in error.mistakes
    ]


def _gateway(reach: Reach, listed: Sequence[str] | Failure) -> Row:
    """Return whether it answers."""
    if isinstance(listed, Failure):
        moved = listed.name.startswith("http_3")
        # Whatever is not listed, such as HTTP 500, is the gateway's trouble.
        code, means = _MEANS.get(
            listed.name,
            (CONFIGURATION, f"is somewhere else by now; {_V1}")
            if moved
            else (GATEWAY, "is in trouble, which is not your fault; try again later"),
        )
        message = f"{reach.url} {means} ({listed})"
        return Row(what="gateway", status="fail", message=message, code=code)
    takes = " and takes the key" if reach.keyed else ""
    message = (
        f"{reach.url} answers{takes}; it has {len(listed):,} model{'' if len(listed) == 1 else 's'}"
    )
    return Row(what="gateway", status="ok", message=message)


def _model(
    name: str, there: Sequence[str] | None, prices: Prices, today: datetime.date, *, free: bool
) -> Row:
    """Return what is to be said of one model."""
    what = f"model {name}"
    if there is not None and name not in there:
        near = get_close_matches(name, there, 3, 0.5)
        more = f" and {len(there) - _MOST_NAMED:,} more" if len(there) > _MOST_NAMED else ""
        has = f"it has {', '.join(there[:_MOST_NAMED]) or 'none'}{more}"
        hint = f"did you mean {' or '.join(near)}?" if near else has
        message = f"the gateway does not have it; {hint}"
        return Row(what=what, status="fail", message=message, code=CONFIGURATION)
    known = "it is there" if there is not None else "not known whether it is there"
    if free:
        return Row(
            what=what, status="ok" if there is not None else "warn", message=f"{known}; free"
        )
    price = prices.of(name)
    if price is None:
        message = (
            f"{known}; the price table of {prices.date} lacks it, so that nobody knows what it costs; write it into a "
            "file and name that with 'prices'"
        )
        return Row(what=what, status="warn", message=message)
    said = f"{known}; a million tokens cost {price.input:f} USD in, {price.output:f} USD out ({prices.date})"
    if (ended := prices.ended(name, today)) is not None:
        message = f"{said}; but its vendor ended it on {ended}: choose another one"
        return Row(what=what, status="warn", message=message)
    if price.until is not None and price.until - today <= _SOON:
        message = f"{said}; but its vendor ends it on {price.until}: choose another one in time"
        return Row(what=what, status="warn", message=message)
    return Row(what=what, status="ok" if there is not None else "warn", message=said)


def _budget(config: HolysheepConfig, *, free: bool) -> Row:
    """Return what may be spent."""
    budget = config.budget
    limits = [
        f"{amount:,f} USD a {span}"
        for amount, span in ((budget.day_usd, "day"), (budget.run_usd, "run"))
        if amount is not None
    ]
    limits += [
        f"{tokens:,} tokens a {span}"
        for tokens, span in ((budget.day_tokens, "day"), (budget.run_tokens, "run"))
        if tokens is not None
    ]
    said = f"at most {' and '.join(limits)}" if limits else "no limit"
    if budget.in_usd or free:
        return Row(what="budget", status="ok", message=said)
    message = f"{said}; no limit in money: set one, such as 'budget: {{day_usd: \"1\"}}'"
    return Row(what="budget", status="warn", message=message)
