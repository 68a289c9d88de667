"""What the commands share: options, and which advisor is meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mmkit.cli_commands.options import file_options, json_option, verbose_option

if TYPE_CHECKING:
    from mmkit.config import Config
    from mmkit.config.chosen import Chosen

F = TypeVar("F", bound=Callable[..., Any])


QUESTIONS = (
    "market_structure",
    "conditions",
    "volatility",
    "sentiment",
    "explain_anomaly",
    "news",
    "signal5",
    "features",
)
"""`mmkit.answers.Question`; importing that would make ``--help`` slow."""


def question_argument(command: F) -> F:
    """Add ``QUESTION``."""
    return click.argument("question", type=click.Choice(QUESTIONS), metavar="QUESTION")(command)


def advisor_options(command: F) -> F:
    """Add ``-c``, ``--set``, ``--userdir``, ``--advisor``, ``--base-url``, ``--json`` and ``-v``."""
    name = click.option(
        "--advisor",
        "name",
        metavar="NAME",
        help="Which of 'advisors', by its 'as'.  [default: the first that is asked this]",
    )
    url = click.option(
        "--base-url",
        metavar="URL",
        help="Another gateway than the configured one; 'sandbox' for that of the sandbox.",
    )
    return file_options(name(url(json_option(verbose_option(command)))))


def market_options(command: F) -> F:
    """Add ``--listen``, ``--at`` and ``--language``: what a model is told."""
    listen = click.option(
        "--listen",
        default="5s",
        show_default=True,
        metavar="TIME",
        help="How long to listen to a live market before asking.",
    )
    at = click.option(
        "--at",
        metavar="TIME",
        help="Of recorded data, the moment that is asked about, such as 2024-08-08T23:59:30Z.  [default: its end]",
    )
    language = click.option(
        "--language",
        type=click.Choice(["en", "ko"]),
        help="Of the words in the answer.  [default: the advisor's, else en]",
    )
    return listen(at(language(command)))


def chosen_advisor(
    config: Config,
    question: str,
    name: str | None = None,
    *,
    models: Sequence[str] = (),
    base_url: str | None = None,
) -> tuple[Chosen, str]:
    """Return the advisor that is meant, changed as the command line says, and its language.

    It is the one named; else the first that is asked the question; else the first of this plugin; else this plugin
    with its defaults.

    Raises:
        UsageError: if there is none of that name, or it takes no such change.
        ConfigError: if the change makes no sense.
    """
    from mmkit.config.chosen import Chosen
    from mmkit.errors import UsageError
    from mmkit_holysheep.settings import HolysheepConfig

    there = {one.name: one for one in config.advisors}
    if name is not None and name not in there:
        near = get_close_matches(name, there, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(there) or 'none'}"
        raise UsageError(f"--advisor: a name under 'advisors' was expected; found '{name}'; {hint}")
    ours = [one for one in there.values() if isinstance(one.advisor.config, HolysheepConfig)]
    asked = [one for one in there.values() if one.section.question == question]
    one = there[name] if name is not None else next(iter([*asked, *ours]), None)
    if one is None:
        provider = config.plugins.provider("advisor", "holysheep")
        chosen, language = Chosen("holysheep", provider, HolysheepConfig()), "en"
    else:
        chosen, language = one.advisor, one.section.language
    changes: dict[str, Any] = {}
    if models:
        changes["model"] = tuple(models)
    if base_url is not None:
        changes["base_url"] = base_url
    if not changes:
        return chosen, language
    if not isinstance(chosen.config, HolysheepConfig):
        raise UsageError(
            f"--model and --base-url: an advisor of plugin holysheep was expected; found one of '{chosen.name}'; name "
            "another one with --advisor"
        )
    return replace(chosen, config=_changed(chosen.config, changes)), language


def _changed(config: Any, changes: dict[str, Any]) -> Any:
    """Return a config with some keys of the command line, checked as those of the file are."""
    from mmkit.config.mistakes import check
    from mmkit.config.yaml_source import Written
    from mmkit.errors import ConfigError, Mistake

    mistakes: list[Mistake] = []
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in changes.items()}
    checked = check(type(config), Written.of(plain, "command line"), ("advisors",), mistakes)
    if checked is None:
        raise ConfigError(mistakes)
    return config.model_copy(update={key: getattr(checked, key) for key in changes})


def listed(texts: Sequence[str]) -> list[str]:
    """Return the names in ``a,b`` and ``c``, in order, each once."""
    names = [name.strip() for text in texts for name in text.split(",")]
    return list(dict.fromkeys(name for name in names if name))


def load(paths: Sequence[Path], overrides: Sequence[str], userdir: Path | None) -> Config:
    """Return the configuration of a command that asks no strategy."""
    import logging

    from mmkit.cli_commands.options import Asked, load_without_strategy

    loaded = load_without_strategy(paths, overrides, userdir=userdir)
    if not click.get_current_context().find_root().ensure_object(Asked).verbose:
        logging.getLogger().setLevel(logging.WARNING)  # what is printed says the rest
    return loaded
