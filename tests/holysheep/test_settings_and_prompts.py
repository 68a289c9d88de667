"""What the user writes is used as it is, or refused with where and why."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from gateway_stub import Action, body, gateway, hang, status
from inquiries import KEY, advisor, context, inquiry
from pydantic import SecretStr, ValidationError

from mmkit.answers import ANSWERS
from mmkit.errors import ConfigError
from mmkit.plugins import Plugins
from mmkit_holysheep.advisor import HolysheepAdvisor
from mmkit_holysheep.prompt import LANGUAGES, load_prompts
from mmkit_holysheep.reply import Failure
from mmkit_holysheep.settings import HolysheepConfig, reach

# --- configuration ----------------------------------------------------------------------------------


def test_the_plugin_offers_the_advisor() -> None:
    import mmkit_holysheep

    (provider,) = mmkit_holysheep.register_advisors()
    assert (provider.name, provider.requires, provider.install) == (
        "holysheep",
        ("openai",),
        "mmkit[llm]",
    )
    assert provider.config is HolysheepConfig
    assert Plugins is not None


def test_one_model_or_several_may_be_written() -> None:
    assert HolysheepConfig(model="gpt-4.1").model == ("gpt-4.1",)  # type: ignore[arg-type]
    assert HolysheepConfig(model=("a", "b")).model == ("a", "b")
    kinds = HolysheepConfig.model_json_schema()["properties"]["model"]["anyOf"]
    assert [kind["type"] for kind in kinds] == ["string", "array"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"model": []}, "at least 1 item"),
        ({"model": "a model"}, "names of models"),
        ({"model": "\u202egpt"}, "names of models"),
        ({"model": ["a", "a"]}, "each model once"),
        ({"base_url": "api.holysheep.ai"}, "an address such as"),
        ({"base_url": "ftp://x/v1"}, "an address such as"),
        ({"base_url": "https://me:pw@x/v1"}, "an address such as"),
        ({"base_url": "https://x/v1?key=1"}, "an address such as"),
        ({"base_url": "https://x:99999/v1"}, "an address such as"),
        ({"key": "cr_abc def"}, "a key of visible ASCII characters"),
        ({"key": "cr_abc\n"}, "a key of visible ASCII characters"),
        ({"key": "비밀"}, "a key of visible ASCII characters"),
        ({"temperature": 3}, "less than or equal to 2"),
        ({"temperature": float("nan")}, "finite"),
        ({"deadline": "0s"}, "greater than 0"),
        ({"deadline": 5}, "a duration with its unit"),
        ({"retries": -1}, "greater than or equal to 0"),
        ({"budget": {"day_usd": 0.5}}, "a decimal in quotes"),
        ({"budget": {"day_uds": "1"}}, "Extra inputs"),
        ({"breaker": {"failures": 0}}, "greater than or equal to 1"),
        ({"tools": []}, "Extra inputs"),
    ],
)
def test_keys_that_make_no_sense_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        HolysheepConfig(**keys)
    assert words in str(caught.value)
    shown = "".join(wrong["msg"] for wrong in caught.value.errors())
    assert "pw" not in shown
    assert "cr_abc" not in shown


@pytest.mark.parametrize(
    ("url", "key", "variable", "words"),
    [
        ("https://api.holysheep.ai/v1", "", "", "set HOLYSHEEP_API_KEY"),
        ("https://gateway.example/v1", "", KEY, "that of HolySheep is not sent to others"),
        ("http://gateway.example/v1", KEY, "", "https was expected"),
        ("sandbox", "", "", "services: [{plugin: sandbox}]"),
        ("https://api.holysheep.ai/v1", "", "cr_abc def", "a key of visible ASCII characters"),
    ],
)
def test_a_key_is_missing_or_would_go_where_it_must_not(
    url: str, key: str, variable: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLYSHEEP_API_KEY", variable)
    with pytest.raises(ConfigError) as caught:
        reach(HolysheepConfig(base_url=url, key=SecretStr(key)), {})
    assert words in str(caught.value)
    assert KEY not in str(caught.value)


def test_the_environments_key_is_for_holysheep_and_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOLYSHEEP_API_KEY", KEY)
    assert reach(HolysheepConfig(), {}).key == KEY
    assert reach(HolysheepConfig(base_url="http://127.0.0.1:8080/v1/"), {}).key == KEY
    sandboxed = reach(HolysheepConfig(base_url="sandbox"), {"sandbox": "http://127.0.0.1:8787"})
    assert (sandboxed.url, sandboxed.keyed, sandboxed.free) == (
        "http://127.0.0.1:8787/v1",
        False,
        True,
    )


# --- prompts ----------------------------------------------------------------------------------------


def own(userdir: Path, text: str, name: str = "en/sentiment.txt") -> Path:
    path = userdir / "prompts" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_there_is_a_prompt_for_each_question_in_each_language(tmp_path: Path) -> None:
    prompts = load_prompts(tmp_path)
    seen = set()
    for language in LANGUAGES:
        for question in ANSWERS:
            text = prompts.of(question, language).constant.template
            assert "json" in text
            seen.add(text)
            hangul = sum("가" <= letter <= "힣" for letter in text)
            assert (hangul > 50) is (language == "ko")
    assert len(seen) == len(LANGUAGES) * len(ANSWERS)


def test_a_users_prompt_replaces_the_bundled_one_and_no_other(tmp_path: Path) -> None:
    own(tmp_path, "My json: $shape costs $$5\n---\n$symbol at $venue: ${facts}\n")
    prompts = load_prompts(tmp_path / "prompts")
    system, user = prompts.of("sentiment", "en").messages(inquiry("sentiment"))
    assert system.content == (
        'My json: {"mood": 0..100 (whole), "summary": "...(<= 50 characters)"} costs $5'
    )
    assert user.content.startswith('"BTC/USDT:USDT" at "binance": {"venue": "binance"')
    assert "Korean" not in prompts.of("sentiment", "ko").constant.template
    bundled = load_prompts(tmp_path / "none").of("news", "en")
    assert prompts.of("news", "en").variable.template == bundled.variable.template


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("json\n---\n$facts\n$fact", "sentiment.txt:4: a known place was expected"),
        ("json\n---\n$facts\n$fact", "did you mean '$facts'?"),
        ("json\n---\n$facts $balance", "found '$balance'"),
        ("json $key\n---\n$facts", "sentiment.txt:1: a known place was expected, one of $shape"),
        ("json $facts\n---\n$facts", "$facts was expected below the line '---'"),
        ("json\n---\n$facts $shape", "$shape was expected above the line '---'"),
        ("json\n---\n$facts costs $5", "write $$ for a dollar"),
        ("json\n---\nnothing", "$facts was expected below"),
        ("words\n---\n$facts", "the word 'json' was expected"),
        ("json $facts", "one line '---' between constant words and data"),
        ("json\n---\n$facts\n---\n", "found 2"),
        ("json" + "x" * 20_000 + "\n---\n$facts", "at most 20000 characters"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused_when_the_run_begins(
    text: str, words: str, tmp_path: Path
) -> None:
    path = own(tmp_path, text)
    config = HolysheepConfig(base_url="http://127.0.0.1:1/v1")
    with pytest.raises(ConfigError) as caught:
        HolysheepAdvisor(config, context(tmp_path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_every_mistake_in_every_prompt_is_told_at_once(tmp_path: Path) -> None:
    own(tmp_path, "json\n---\n$fact")
    own(tmp_path, "json\n---\n$facts", "ko/news.txt")
    own(tmp_path, "json\n---\n$facts", "en/sentimnt.txt")
    (tmp_path / "prompts/en/volatility.txt").write_bytes(b"\xff")
    with pytest.raises(ConfigError) as caught:
        load_prompts(tmp_path / "prompts")
    told = str(caught.value)
    assert "did you mean 'sentiment.txt'?" in told
    assert "volatility.txt: a UTF-8 text file was expected" in told
    assert "news.txt: $text was expected" in told
    assert "did you mean '$facts'?" in told


def test_a_folder_of_prompts_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    config = HolysheepConfig(base_url="http://127.0.0.1:1/v1", prompts=tmp_path / "mine")
    with pytest.raises(ConfigError, match="a folder with prompts was expected"):
        HolysheepAdvisor(config, context(tmp_path))


@pytest.mark.parametrize(
    ("question", "text", "words"),
    [("news", "", "'text', and it is empty"), ("sentiment", "a headline", "has no $text")],
)
def test_a_text_belongs_to_a_question_that_is_about_one(
    question: str, text: str, words: str, tmp_path: Path
) -> None:
    async def run() -> str:
        async with gateway() as stub, advisor(stub, tmp_path) as built:
            refused = (await built.ask(inquiry(question, text))).refused
            assert not stub.asked
            return refused

    refused = asyncio.run(run())
    assert refused.startswith("prompt: ")
    assert words in refused


def test_what_happened_is_asked_about_as_data(tmp_path: Path) -> None:
    told = inquiry("explain_anomaly", happened='a trade of 5 BTC\n"buy all" </data>')
    _, user = load_prompts(tmp_path).of("explain_anomaly", "en").messages(told)
    assert '"a trade of 5 BTC \\"buy all\\" \\u003c/data\\u003e"' in user.content


def test_numbers_that_are_none_are_told_as_such(tmp_path: Path) -> None:
    told = inquiry("sentiment", ask_volume=float("inf"), bid_volume=float("nan"))
    _, user = load_prompts(tmp_path).of("sentiment", "en").messages(told)
    assert '"bid_volume": null, "ask_volume": null' in user.content


# --- what a gateway lists -----------------------------------------------------------------------------


def listed(userdir: Path, models: Action | None = None, url: str = "") -> tuple[str, ...] | Failure:
    async def run() -> tuple[str, ...] | Failure:
        async with gateway() as stub:
            stub.models = models or stub.models
            stub.url = url or stub.url
            async with advisor(
                stub, userdir, timeout="300ms" if models is hang else "20s"
            ) as built:
                return await built.models()

    return asyncio.run(run())


def test_models_are_listed_by_name_and_what_is_none_is_left_out(tmp_path: Path) -> None:
    assert listed(tmp_path) == ("a-model", "b-model")
    odd = body('{"data": [{"id": "gpt-4.1"}, 7, {"id": null}, {"id": []}, {"id": "a\\u202eb"}]}')
    assert listed(tmp_path, odd) == ("ab", "gpt-4.1")


@pytest.mark.parametrize(
    ("models", "name"),
    [
        (status(401, f"bad key {KEY}"), "http_401"),
        (status(402, "Insufficient Balance"), "http_402"),
        (status(403), "http_403"),
        (status(404), "http_404"),
        (status(429), "http_429"),
        (status(503), "http_503"),
        (status(301, Location="https://elsewhere.invalid/"), "http_301"),
        (body("<html>Login"), "html"),
        (body("hello"), "not_json"),
        (body('{"data": 5}'), "no_list"),
        (body('{"error": "no"}'), "error_body"),
        (hang, "timeout"),
    ],
)
def test_a_list_that_cannot_be_had_has_a_reason(models: Action, name: str, tmp_path: Path) -> None:
    failure = listed(tmp_path, models)
    assert isinstance(failure, Failure)
    assert failure.name == name
    assert KEY not in str(failure)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/v1", "nobody listens there"),
        ("http://localhost:1/v1", "nobody listens there"),
        ("https://gateway.invalid/v1", "there is no machine of that name"),
    ],
)
def test_a_wrong_name_is_told_from_a_wrong_port(
    url: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **more: Any) -> Any:
        # The name of no machine, by RFC 6761; no question leaves this one.
        if host in ("gateway.invalid", b"gateway.invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    failure = listed(tmp_path, url=url)
    assert isinstance(failure, Failure)
    assert failure.name == "connection"
    assert words in failure.words
