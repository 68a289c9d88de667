"""Whether key, address and models are right, in words for somebody who sees them for the first time."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from mmkit_holysheep.prices import Prices
from mmkit_holysheep.reply import Failure
from mmkit_holysheep.settings import HOLYSHEEP, KEY_VARIABLE, Reach


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: ``key``, ``gateway``, ``models``, ``model NAME`` or ``price NAME``.
        well: Whether it is as it should be; `None` for something to know.
        words: What was found, and what to do about it if anything.
    """

    about: str
    well: bool | None
    words: str


def findings(
    reach: Reach,
    asked: Sequence[str],
    listed: tuple[str, ...] | Failure,
    prices: Prices,
    today: datetime.date,
) -> list[Finding]:
    """Return what there is to say about a gateway, after its list of models was asked for.

    Args:
        reach: Where it is.
        asked: The models of the configuration.
        listed: What `mmkit_holysheep.advisor.HolysheepAdvisor.models` returned.
        prices: The price table.
        today: UTC.
    """
    found = [_key(reach)]
    if isinstance(listed, Failure):
        found.append(Finding("gateway", False, explained(listed, reach)))
    else:
        found.append(
            Finding("gateway", True, f"{reach.url} answers and lists {len(listed)} models.")
        )
        found.extend(_listed(model, listed) for model in asked)
    for model in asked:
        found.extend(_price(model, reach, prices, today))
    return found


def _key(reach: Reach) -> Finding:
    if reach.keyed:
        return Finding("key", None, "There is a key. It is not shown here, nor anywhere else.")
    return Finding("key", None, "There is no key; a gateway on this machine needs none.")


def _listed(model: str, listed: tuple[str, ...]) -> Finding:
    if model in listed:
        return Finding(f"model {model}", True, "The gateway lists it.")
    near = get_close_matches(model, listed, 1, cutoff=0.5)
    hint = f"Did you mean '{near[0]}'?" if near else f"It lists: {', '.join(listed[:10])}."
    return Finding(
        f"model {model}",
        False,
        f"The gateway does not list it, so that asking it will probably fail. {hint} Names must be the same to the "
        "letter, dots and dashes too.",
    )


def _price(model: str, reach: Reach, prices: Prices, today: datetime.date) -> list[Finding]:
    price = prices.of(model)
    if price is None:
        if reach.free:
            return []
        words = (
            "Its price is unknown: what it costs will be shown as unknown, and it is not asked while there is a limit "
            "in USD. Write the price into a file, and name that with 'prices'."
        )
        return [Finding(f"price {model}", None, words)]
    words = f"{price.input} USD per million tokens sent, {price.output} per million written, as of {prices.date}."
    found = [Finding(f"price {model}", None, words)]
    if ended := prices.ended(model, today):
        found.append(
            Finding(
                f"model {model}",
                False,
                f"Its vendor has ended it on {ended}. It may not answer, or another model may in its place; take a "
                "newer one.",
            )
        )
    elif price.until is not None:
        found.append(
            Finding(f"model {model}", None, f"Its vendor ends it on {price.until}; choose another.")
        )
    return found


def explained(failure: Failure, reach: Reach) -> str:
    """Return what a failure means and what to do, for a beginner. The gateway's own words come last."""
    means = _means(failure, reach)
    return f"{means} ({failure.name}: {reach.masked(failure.words)})"


def _means(failure: Failure, reach: Reach) -> str:
    where = "at your gateway" if reach.url != HOLYSHEEP else "at HolySheep"
    match failure.name:
        case "no_such_host":
            return (
                f"There is no machine with the name in {reach.url}, or no network. Look for a typing error in "
                "base_url, and whether other pages open."
            )
        case "connection_refused":
            return f"Nobody listens at {reach.url}. Start the gateway there, or look at the port in base_url."
        case "connection":
            return f"The connection to {reach.url} broke. Look at the network, a proxy or a firewall, and try again."
        case "timeout":
            return "Nothing came back in time. The gateway may be busy, or a firewall may swallow what is sent to it."
        case "http_401":
            if not reach.keyed:
                return f"It asks for a key, and none is set. Get one {where}, and write it into {KEY_VARIABLE} or 'key'."
            return (
                f"It does not know the key. Copy it again {where}, whole and without spaces, into .env or the "
                f"environment ({KEY_VARIABLE}, or what 'key' names)."
            )
        case "http_402":
            return f"The key is right, but there is no money left on it. Pay in {where}."
        case "http_403":
            return "The key is known, but may not do this: the model or the country may not be allowed for it."
        case "http_404":
            return "There is no such page. base_url usually ends with /v1; or the model's name is wrong."
        case "http_429":
            return "Too much was asked in a short time, or the key's allowance is used up. Wait, and ask less often."
        case name if name.startswith("http_5"):
            return "The gateway itself is in trouble. Wait a few minutes."
        case name if name.startswith("http_3"):
            return "The address has moved. Write the new one into base_url if you trust it."
        case "html":
            return (
                "A web page came back, not data. base_url probably names a website, not its API; it usually ends with "
                "/v1. In a hotel or a company, a login page may be in between."
            )
        case "not_json" | "no_list" | "blank" | "error_body" | "packed" | "too_large":
            return "What came back is not what a gateway with OpenAI's protocol answers. Look at base_url."
        case _:
            return "It did not work."
