"""What may be written beside ``plugin: holysheep``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from mmkit.errors import ConfigError, Mistake
from mmkit.interfaces import PluginConfig
from mmkit.units import Duration, Exact

HOLYSHEEP = "https://api.holysheep.ai/v1"
KEY_VARIABLE = "HOLYSHEEP_API_KEY"
SANDBOX = "sandbox"

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,119}")


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Models = Annotated[
    tuple[str, ...],
    Field(min_length=1, max_length=10),
    BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...]),
]
"""One name, or a list of them."""


class Breaker(PluginConfig):
    """When a model is left alone."""

    failures: int = Field(
        3,
        ge=1,
        le=100,
        description="A model is not asked any more after so many failures in a row.",
    )
    pause: Duration = Field(
        60_000_000_000, gt=0, description="For so long; then it is asked once, to see."
    )


class Budget(PluginConfig):
    """What may be spent. A request is made only if the most that it can cost is left."""

    day_usd: Exact | None = Field(
        None, gt=0, description="USD a day (UTC), by all runs with this user folder and gateway."
    )
    day_tokens: int | None = Field(
        3_000_000, gt=0, description="Tokens a day, likewise; null for any number."
    )
    run_usd: Exact | None = Field(None, gt=0, description="USD a run, by this advisor.")
    run_tokens: int | None = Field(None, gt=0, description="Tokens a run, by this advisor.")
    unpriced: Literal["refuse", "allow"] = Field(
        "refuse",
        description="Whether a model that the price table lacks is asked though there is a limit in USD, which "
        "cannot count it. The sandbox's gateway is free, so that there it always is.",
    )

    @property
    def in_usd(self) -> bool:
        """Whether there is a limit in money."""
        return self.day_usd is not None or self.run_usd is not None


class HolysheepConfig(PluginConfig):
    """What may be written beside ``plugin: holysheep``."""

    model: Models = Field(
        ("deepseek-v3.2",),
        description="A model, or several: the next is asked where the one before gives no answer.",
    )
    base_url: str = Field(
        HOLYSHEEP,
        description="Of any gateway that speaks OpenAI's protocol, with its /v1; sandbox: that of the sandbox "
        "that runs as a service.",
    )
    key: SecretStr = Field(
        SecretStr(""),
        description=f"Such as ${{MY_KEY}}. Unless given, {KEY_VARIABLE} of the environment, for HolySheep and this "
        "machine only. The sandbox and gateways on this machine need none.",
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="Unless given, what suits the question, 0.2 or 0.3."
    )
    max_tokens: int | None = Field(
        None,
        ge=16,
        le=32_000,
        description="Of an answer. Unless given, what suits the question, 300 to 1500.",
    )
    deadline: Duration = Field(
        20_000_000_000,
        gt=0,
        description="After so long there is no advice, whatever was tried meanwhile.",
    )
    timeout: Duration = Field(10_000_000_000, gt=0, description="Of one request.")
    retries: int = Field(
        2, ge=0, le=10, description="How often a model is asked again if the gateway is in trouble."
    )
    rate_per_minute: int = Field(
        60,
        ge=1,
        le=6000,
        description="No more requests a minute than that; the rest gives no advice.",
    )
    breaker: Breaker = Breaker()
    budget: Budget = Budget()
    prices: Path | None = Field(
        None,
        description="A file with prices that replace the bundled ones, model by model; relative to the working "
        "folder.",
    )
    prompts: Path | None = Field(
        None,
        description="Folder with prompts in place of the bundled ones, <lang>/<question>.txt; prompts in the "
        "user's folder unless given. Relative to the working folder.",
    )

    @field_validator("model")
    @classmethod
    def _named(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for model in models:
            if not _MODEL.fullmatch(model):
                raise ValueError(
                    f"names of models, such as deepseek-v3.2, were expected; found {model!r}"
                )
        if len(set(models)) != len(models):
            raise ValueError("each model once was expected; one is there twice")
        return models

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        if url == SANDBOX:
            return url
        problem = ValueError(
            f"sandbox, or an address such as {HOLYSHEEP}, without user, password, query and fragment, was expected"
        )
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise problem from None
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.username is not None
            or parts.password is not None
            or parts.query
            or parts.fragment
            or re.search(r"[\s\x00-\x1f\\]", url)
        ):
            # The address may hold a password: it is not shown.
            raise problem
        return url.rstrip("/")

    @field_validator("key")
    @classmethod
    def _sendable(cls, key: SecretStr) -> SecretStr:
        text = key.get_secret_value()
        if text and not re.fullmatch(r"[\x21-\x7e]+", text):
            raise ValueError(
                "a key of visible ASCII characters was expected; found a space, a line break or another character "
                "in it; copy it again"
            )
        return key


class Reach:
    """Where the gateway is and what lets in.

    Attributes:
        url: Up to ``/v1``.
        name: Of the gateway, for its purse: its host, or ``sandbox``.
        key: As the user has it; ``none`` where it needs none.
        keyed: Whether there is one.
        loopback: Whether it is on this machine.
        free: Whether it costs nothing: the sandbox's.
    """

    def __init__(self, url: str, name: str, key: str, *, free: bool) -> None:
        self.url, self.name, self.free = url, name, free
        self.keyed = bool(key)
        self.key = key or "none"
        self.loopback = _loopback(urlsplit(url).hostname or "")

    def masked(self, text: str) -> str:
        """Return a text without the key."""
        return text.replace(self.key, "***") if self.keyed else text

    def __repr__(self) -> str:
        return f"Reach({self.url!r}, keyed={self.keyed})"


def reach(config: HolysheepConfig, endpoints: Mapping[str, str]) -> Reach:
    """Return where the gateway of a configuration is.

    Args:
        config: The user's.
        endpoints: Of running services, by name.

    Raises:
        ConfigError: if there is no key, no sandbox, or the key would be sent where it does not belong or unencrypted.
    """
    if config.base_url == SANDBOX:
        if SANDBOX not in endpoints:
            raise _mistake(
                "base_url",
                "the sandbox's gateway was asked for, and no sandbox runs",
                "add 'services: [{plugin: sandbox}]', or leave base_url out",
            )
        root = endpoints[SANDBOX].rstrip("/")
        return Reach(f"{root}/v1", SANDBOX, "", free=True)
    parts = urlsplit(config.base_url)
    host = parts.hostname or ""
    key = config.key.get_secret_value()
    home = host == urlsplit(HOLYSHEEP).hostname
    if not key and (home or _loopback(host)):
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if key and not re.fullmatch(r"[\x21-\x7e]+", key):
            raise _mistake(
                "key",
                f"{KEY_VARIABLE}: a key of visible ASCII characters was expected",
                "copy it again",
            )
    if not key and not _loopback(host):
        hint = (
            f"set {KEY_VARIABLE} in the environment; or write it into .env, and 'key: ${{{KEY_VARIABLE}}}'"
            if home
            else "write such as 'key: ${MY_KEY}'; that of HolySheep is not sent to others"
        )
        raise _mistake("key", f"a key for {host} was expected; found none", hint)
    if parts.scheme == "http" and not _loopback(host):
        raise _mistake(
            "base_url",
            f"https was expected, as the key would go to {host} unencrypted; found http",
            "write https://",
        )
    name = f"{host}_{parts.port}" if parts.port else host
    return Reach(config.base_url, name, key, free=False)


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))


def _mistake(key: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Mistake("", f"advisors.holysheep.{key}", message, hint)])
