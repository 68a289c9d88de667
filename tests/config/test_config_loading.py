"""How the configuration is put together, what it says about mistakes, and what it keeps to itself."""

import textwrap
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmkit.config import Config, load_config, load_resolved
from mmkit.errors import ConfigError, Mistake, MmkitError, OffGrid, PluginError

PARTS = '''
from typing import Any
from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator
from mmkit import (
    DataSource, Distance, Duration, Exact, NO_QUOTES, PluginConfig, Provider, Strategy, StrategyConfig,
    hookimpl,
)

class Login(BaseModel, extra="forbid"):
    password: str = "none"
    level: int = Field(1, ge=1)

class SourceConfig(PluginConfig):
    """Keys of the source."""
    url: str = "ws://here"
    api_key: SecretStr | None = None
    pin: SecretStr = SecretStr("1234")
    retries: int = Field(3, ge=0, le=9)
    paths: tuple[str, ...] = ()
    login: Login = Login()
    logins: list[Login] = []
    ratio: float = 0.5
    either: int | bool | None = None
    anything: Any = None

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        if "://" not in url:
            raise ValueError(f"an address such as ws://host was expected; found {url!r}")
        return url

    @field_validator("pin")
    @classmethod
    def _digits(cls, pin):
        if not pin.get_secret_value().isdigit():
            raise ValueError(f"digits were expected; found {pin.get_secret_value()!r}")
        return pin

class Source(DataSource):
    def __init__(self, config, context):
        raise context

    async def instrument(self): ...

class CalmConfig(StrategyConfig):
    size: Exact = Field(gt=0, description="Quantity of each quote.")
    away: Distance = Distance.parse("5bps")
    pause: Duration = Field(1_000_000_000, ge=1_000_000)
    note: str = ""

class Calm(Strategy):
    Config = CalmConfig
    def quote(self, view):
        return NO_QUOTES

@hookimpl
def register_data_sources():
    return [Provider("source", SourceConfig, Source)]

@hookimpl
def register_strategies():
    return [Provider("calm", CalmConfig, Calm)]
'''
CONFIG = """
instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}
data: {plugin: source}
strategy:
  plugin: calm
  size: 0.10
"""

Load = Callable[..., Config]
Wrong = Callable[..., list[str]]


@pytest.fixture
def userdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_data" / "plugins").mkdir(parents=True)
    (tmp_path / "user_data" / "plugins" / "parts.py").write_text(PARTS)
    return Path("user_data")


@pytest.fixture
def load(userdir: Path) -> Load:
    """Load the configuration above with `more` laid over it, from files of their own."""

    def loaded(*more: str, sets: tuple[str, ...] = (), **options: Any) -> Config:
        paths = []
        for index, text in enumerate((CONFIG, *more)):
            path = userdir / ("config.yml" if not index else f"more{index}.yml")
            path.write_text(textwrap.dedent(text))
            paths.append(path)
        return load_config(paths, sets, **options)

    return loaded


@pytest.fixture
def wrong(load: Load) -> Wrong:
    """The mistakes of a configuration, as they are printed."""

    def mistakes(*more: str, sets: tuple[str, ...] = (), **options: Any) -> list[str]:
        with pytest.raises(ConfigError) as raised:
            load(*more, sets=sets, **options)
        return [str(mistake) for mistake in raised.value.mistakes]

    return mistakes


# --- merging --------------------------------------------------------------------------------------


def test_later_files_win_mappings_are_merged_and_lists_replaced(load: Load) -> None:
    config = load(
        "data: {paths: [a, b], retries: 1}", "data: {paths: [c]}\nsim: {latency: {entry: 1ms}}"
    )
    assert (config.data.config.paths, config.data.config.retries) == (("c",), 1)  # type: ignore[attr-defined]
    assert (config.sim.latency.entry, config.sim.latency.response) == (1_000_000, 10_000_000)
    assert [path.name for path in config.files] == ["config.yml", "more1.yml", "more2.yml"]


def test_a_section_that_names_another_plugin_replaces_the_one_below(load: Load) -> None:
    config = load("strategy: {plugin: join_best, size: '0.02', max_position: 1}")
    assert config.strategy.name == "join_best"


def test_an_override_wins_over_every_file(load: Load) -> None:
    config = load(
        "data: {retries: 1}", sets=("data.retries=2", "data.paths=[x]", "data.login.level=5")
    )
    assert config.data.config.retries == 2  # type: ignore[attr-defined]
    assert config.data.config.paths == ("x",)  # type: ignore[attr-defined]
    assert config.data.config.login.level == 5  # type: ignore[attr-defined]


def test_an_override_reaches_into_a_list(load: Load) -> None:
    config = load("data: {logins: [{level: 1}, {level: 2}]}", sets=("data.logins.1.level=7",))
    assert [one.level for one in config.data.config.logins] == [1, 7]  # type: ignore[attr-defined]


def test_an_override_of_the_plugin_drops_the_old_ones_keys_wherever_it_stands(load: Load) -> None:
    sets = ("strategy.max_position=1", "strategy.plugin=join_best", "strategy.size=1")
    assert load(sets=sets).strategy.name == "join_best"


def test_an_override_that_is_none_is_a_mistake(wrong: Wrong) -> None:
    assert wrong(sets=("strategy",)) == [
        "--set: 'a.b=c' was expected; found 'strategy'; such as --set strategy.every=200ms"
    ]
    (said,) = wrong("data: {paths: [a]}", sets=("data.paths.1=x",))
    assert said == (
        "--set: data.paths[1]: 'data.paths' is a list; an index below 1 was expected; found '1'"
    )
    (said,) = wrong(sets=("data.retries=[1",))
    assert said.startswith("--set: data.retries: this is not a YAML value: ")


def test_an_override_with_a_mistake_says_so(wrong: Wrong) -> None:
    assert wrong(sets=("strategy.pause=5",)) == [
        "--set: strategy.pause: a duration with its unit, such as 100ms, 5s or 2h, was expected; found 5"
    ]


def test_another_strategy_comes_with_its_own_defaults(
    load: Load, wrong: Wrong, userdir: Path
) -> None:
    (userdir / "strategies").mkdir()
    text = "from mmkit import NO_QUOTES, Strategy\nclass Mine(Strategy):\n    def quote(self, view): ...\n"
    (userdir / "strategies" / "mine.py").write_text(text)
    assert load(strategy="mine").strategy.name == "mine"
    assert load(strategy="calm").strategy.config.size == Decimal("0.10")  # type: ignore[attr-defined]
    (said,) = wrong(strategy="mien")
    assert said.startswith("-s: strategy.plugin: no strategy named 'mien'; did you mean 'mine'?")


def test_the_users_folder_is_that_of_the_file_if_it_looks_like_one(
    load: Load, tmp_path: Path
) -> None:
    assert load().userdir == Path("user_data")
    other = tmp_path / "elsewhere"
    (other / "plugins").mkdir(parents=True)
    (other / "plugins" / "parts.py").write_text(PARTS)
    (other / "my.yml").write_text(CONFIG)
    assert load_config([other / "my.yml"]).userdir == other
    (tmp_path / "my.yml").write_text(CONFIG)
    assert load_config([tmp_path / "my.yml"]).userdir == Path("user_data")
    assert load_config([tmp_path / "my.yml"], userdir=other).userdir == other
    assert load_config([]).files == (Path("user_data/config.yml"),)


# --- values ---------------------------------------------------------------------------------------


def test_a_bare_number_keeps_its_digits_where_an_exact_one_is_wanted(load: Load) -> None:
    exact = load().strategy.config.size  # type: ignore[attr-defined]
    assert str(exact) == "0.10"
    big = load("strategy: {size: 0.1234567890123456789}").strategy.config.size  # type: ignore[attr-defined]
    assert big == Decimal("0.1234567890123456789")
    assert load("strategy: {size: 1e-3}").strategy.config.size == Decimal("0.001")  # type: ignore[attr-defined]


def test_a_bare_number_is_a_float_where_a_float_is_wanted(load: Load) -> None:
    ratio = load("data: {ratio: 0.25}").data.config.ratio  # type: ignore[attr-defined]
    assert type(ratio) is float
    assert ratio == 0.25


def test_words_that_yaml_1_1_takes_for_booleans_and_times_are_text(load: Load) -> None:
    config = load("strategy: {on: [trade], note: 12:30}\ndata: {paths: [yes, on, 2026-01-31]}")
    assert config.strategy.config.on == ("trade",)  # type: ignore[attr-defined]
    assert config.strategy.config.note == "12:30"  # type: ignore[attr-defined]
    assert config.data.config.paths == ("yes", "on", "2026-01-31")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("data: {retries: true}", "data.retries: a number was expected; found true"),
        ("data: {retries: 1.5}", "data.retries: a whole number was expected; found 1.5"),
        ("data: {retries: many}", "data.retries: a whole number was expected; found 'many'"),
        ("data: {retries: 10}", "data.retries: a value of at most 9 was expected; found 10"),
        ("data: {url: 5}", "data.url: text was expected; found 5"),
        ("data: {url: here}", "data.url: an address such as ws://host was expected; found 'here'"),
        ("data: {paths: a}", "data.paths: a list was expected; found 'a'"),
        ("data: {login: 5}", "data.login: keys and values was expected; found 5"),
        ("data: {logins: [{level: 0}]}", "data.logins[0].level: a value of at least 1 was expected; found 0"),
        ("data: {login: {levle: 2}}", "data.login.levle: unknown key; did you mean 'level'?"),
        ("data: {either: [1]}", "data.either: a whole number or true or false was expected; found a list"),
        ("strategy: {size: 0}", "strategy.size: a value above 0 was expected; found 0"),
        ("strategy: {size: -1.50}", "strategy.size: a value above 0 was expected; found -1.50"),
        ("strategy: {size: null}", "strategy.size: a decimal number was expected; found nothing"),
        ("strategy: {pause: 1us}", "strategy.pause: a value of at least 1ms was expected; found '1us'"),
        ("strategy: {on: [best, deal]}", "strategy.on[1]: one of best, trade, fill, watch, signal, advice was expected; found 'deal'"),
        ("strategy: {siez: 1}", "strategy.siez: unknown key; did you mean 'size'?"),
        ("strategy: skewed", "strategy: keys and values such as {plugin: NAME} were expected; found 'skewed'"),
        ("services: {plugin: sandbox}", "services: a list was expected; found keys and values; such as [{plugin: sandbox}]"),
        ("services: [{host: x}]", "services[0].plugin: missing; available: "),
        ("services: [sandbox]", "services[0]: keys and values such as {plugin: NAME} were expected; found 'sandbox'"),
        ("sim: {fees: {maker: 2}}", "sim.fees.maker: a value below 1 was expected; found 2"),
        ("sim: {queue: {exponent: 0}}", "sim.queue.exponent: a value above 0 was expected; found 0"),
        ("risk: {max_order: 5%}", "risk.max_order: a decimal number was expected; found '5%'"),
        ("risk: {price_band: 5}", "risk.price_band: a distance such as 5bps, 1%, 3ticks"),
        ("risk: {max_order: {limit: 0}}", "risk.max_order.limit: a value above 0 was expected; found 0"),
        ("risk: {max_ordr: 5}", "risk.max_ordr: no risk check named 'max_ordr'; did you mean 'max_order'?"),
        ("mode: dry-run", "mode: dry_run or live was expected; found 'dry-run'; did you mean 'dry_run'?"),
        ("plugins: {disabled: [limts]}", "plugins.disabled[0]: no plugin is named 'limts'; did you mean 'limits'?"),
        ("logging: {level: loud}", "logging.level: one of debug, info, warning, error was expected; found 'loud'"),
        (
            'instrument: {market: spot}',
            "instrument: market spot settles in nothing, so that its symbols look like 'BTC/USDT'; for "
            "'BTC/USDT:USDT' write 'BTC/USDT', or another market",
        ),
    ],
)  # fmt: skip
def test_a_mistake_says_where_what_was_expected_and_what_was_found(
    section: str, said: str, wrong: Wrong
) -> None:
    mistakes = wrong(section)
    assert len(mistakes) == 1, mistakes
    assert mistakes[0].startswith(f"user_data/more1.yml:1: {said}"), mistakes[0]


def test_a_missing_key_says_what_it_is_for(wrong: Wrong) -> None:
    assert wrong("strategy: {plugin: join_best, size: 1}\n") != []
    (said,) = wrong("---\nstrategy:\n  plugin: join_best\n  max_position: 1\n")
    assert said.startswith("user_data/more1.yml:2: strategy.size: missing; ")


def test_missing_sections_are_shown_by_example(userdir: Path) -> None:
    (userdir / "config.yml").write_text("mode: dry_run\n")
    with pytest.raises(ConfigError) as raised:
        load_config([])
    assert [mistake.path for mistake in raised.value.mistakes] == ["instrument", "data", "strategy"]
    assert str(raised.value.mistakes[1]) == (
        "user_data/config.yml: data: this section is missing; "
        "such as data: {plugin: binance, endpoint: sandbox}"
    )


def test_a_risk_check_can_be_taken_away_by_a_file_above(load: Load) -> None:
    config = load("risk: {max_order: 1, stale_after: 5s}", "risk: {max_order: null}")
    assert [chosen.name for chosen in config.risk] == ["stale_after"]


def test_other_sections_are_checked_though_a_plugin_is_misspelt(wrong: Wrong) -> None:
    said = wrong("strategy: {plugin: clam}\nsim: {fees: {taker: much}}\n")
    assert len(said) == 2


# --- files ----------------------------------------------------------------------------------------


def test_no_file_names_the_path_and_what_creates_one(userdir: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config([])
    assert raised.value.mistakes == (
        Mistake(
            "user_data/config.yml", "", "there is no such file", "create one with 'mmkit init'"
        ),
    )


def test_a_folder_and_bytes_are_no_configuration(userdir: Path) -> None:
    with pytest.raises(ConfigError, match="a file was expected; this is a folder"):
        load_config([userdir])
    (userdir / "config.yml").write_bytes(b"mode: \xff\xfe")
    with pytest.raises(ConfigError, match="this is not UTF-8 text"):
        load_config([])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mode: dry_run\nsim: {a: 1\nrisk: 2\n", "user_data/config.yml:3:5: this is not YAML: a ',' or '}' is missing in a mapping (since line 2); risk: 2"),
        ("mode: a: b\n", "user_data/config.yml:1:8: this is not YAML: a ':' where none can be: check the indentation, and put text that holds a colon in quotes; mode: a: b"),
        ("sim:\n\tfees: 1\n", "user_data/config.yml:2:1: this is not YAML: a tab cannot indent a line; use spaces; fees: 1"),
        ('mode: "dry_run\n', "user_data/config.yml:2:1: this is not YAML: a quote, '[' or '{' is opened and never closed (since line 1); mode: \"dry_run"),
        ("sim:\n  a: 1\n b: 2\n", "user_data/config.yml:3:2: this is not YAML: the indentation does not fit the lines above (since line 1); b: 2"),
        ("mode: *nothing\n", "user_data/config.yml:1:7: this is not YAML: an alias stands for nothing that was written before; mode: *nothing"),
        ("mode: live\n---\nmode: live\n", "user_data/config.yml:2:1: this is not YAML: one document was expected; '---' begins a second one (since line 1); ---"),
        ("mode: \x00\n", "user_data/config.yml: this is not YAML: "),
    ],
)  # fmt: skip
def test_yaml_that_does_not_parse_is_told_with_line_column_and_the_lines_text(
    text: str, said: str, userdir: Path
) -> None:
    (userdir / "config.yml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_config([])
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mode: live\nmode: dry_run\n", "user_data/more1.yml:2: mode: this key was written before, at user_data/more1.yml:1; keep one of them"),
        ("mode: !!python/name:os.system x\n", "user_data/more1.yml:1: mode: the tag 'tag:yaml.org,2002:python/name:os.system' has no meaning here"),
        ("sim: &a {fees: *a}\n", "user_data/more1.yml:1: sim.fees: an alias stands for a value that it is a part of"),
        ("[1, 2]: 3\n", "user_data/more1.yml:1: a key must be a word; found a list or mapping"),
        ("- mode\n", "user_data/more1.yml:1: keys and values were expected; found something else"),
        ("data: {url: '${'}\n", "user_data/more1.yml:1: data.url: '${' must be followed by a name and '}'; write $${ for a plain ${"),
    ],
)  # fmt: skip
def test_yaml_that_means_nothing_is_a_mistake_of_its_line(
    text: str, said: str, wrong: Wrong
) -> None:
    assert said in wrong(text)


def test_an_empty_file_changes_nothing(load: Load) -> None:
    assert load("", "# nothing\n").strategy.name == "calm"


# --- the environment and its secrets --------------------------------------------------------------


def test_the_environment_fills_in_values_of_every_type(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_RETRIES", "7")
    monkeypatch.setenv("MM_HOST", "there")
    config = load(
        "data: {retries: '${MM_RETRIES}', url: 'ws://${MM_HOST}:${MM_PORT:-80}', paths: ['$${x}']}"
    )
    assert config.data.config.retries == 7  # type: ignore[attr-defined]
    assert config.data.config.url == "ws://there:80"  # type: ignore[attr-defined]
    assert config.data.config.paths == ("${x}",)  # type: ignore[attr-defined]


def test_an_empty_variable_takes_the_default_if_there_is_one(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_EMPTY", "")
    config = load("data: {paths: ['${MM_EMPTY:-default}', '${MM_EMPTY}']}")
    assert config.data.config.paths == ("default", "")  # type: ignore[attr-defined]


def test_an_unknown_variable_is_one_mistake_that_names_it(wrong: Wrong) -> None:
    assert wrong("data:\n  retries: ${MM_NOTHING}\n") == [
        "user_data/more1.yml:2: data.retries: the environment variable 'MM_NOTHING' is not set; "
        "set it, put it into .env, or write ${MM_NOTHING:-default}"
    ]


def test_dot_env_adds_to_the_environment_and_never_overrides_it(
    load: Load, userdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_A", "from the environment")
    Path(".env").write_text("MM_A=no\nMM_B=cwd\nMM_C=cwd\n")
    (userdir / ".env").write_text(
        "# a comment\nexport MM_B='beside # it'\nMM_D=plain # comment\nx\n"
    )
    config = load("data: {paths: ['${MM_A}', '${MM_B}', '${MM_C}', '${MM_D}']}")
    assert config.data.config.paths == ("from the environment", "beside # it", "cwd", "plain")  # type: ignore[attr-defined]


SECRETS = [
    ("data: {api_key: [hunter2]}", ""),
    ("data: {pin: hunter2}", "digits were expected; found '***'"),
    ("data: {login: {password: 5, hunter: 1}}", "text was expected; found '***'"),
    ("data: {retries: '${MM_SECRET}'}", "a whole number was expected; found '***'"),
    ("data: {url: '${MM_SECRET}'}", "an address such as ws://host was expected; found '***'"),
    ("strategy: {size: '${MM_SECRET}'}", "a decimal number was expected; found '***'"),
    ("strategy: {pause: 'x${MM_SECRET}'}", "was expected; found '***'"),
    ("strategy: {away: '${MM_SECRET}'}", "was expected; found '***'"),
    ("sim: {queue: {model: '${MM_SECRET}'}}", "was expected; found '***'"),
    ("mode: ${MM_SECRET}", "was expected; found '***'"),
    ("instrument: {symbol: '${MM_SECRET}'}", "was expected; found '***'"),
    ("instrument: {symbol: 'BTC/${MM_SECRET}'}", ""),
    ("strategy: {plugin: '${MM_SECRET}'}", ""),
    ("plugins: {disabled: ['${MM_SECRET}']}", ""),
    ("services: '${MM_SECRET}'", "found '***'"),
]


@pytest.mark.parametrize(("section", "said"), SECRETS)
def test_a_secret_is_never_told_in_a_mistake(
    section: str, said: str, wrong: Wrong, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_SECRET", "hunter2")
    mistakes = "\n".join(wrong(section))
    assert said in mistakes
    assert "hunter2" not in mistakes


def test_secrets_are_hidden_in_what_a_run_records_and_all_the_rest_is_there(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_SECRET", "hunter2")
    monkeypatch.setenv("MM_SIZE", "0.30")
    config = load(
        """
        data:
          api_key: hunter2
          url: ws://${MM_SECRET}
          login: {password: hunter2, level: 2}
          logins: [{password: hunter2}]
          paths: ["${MM_SECRET}", open]
          anything: {token: hunter2, deep: [{secret: hunter2}], ratio: 0.5}
        strategy: {size: "${MM_SIZE}", note: "${MM_SECRET}"}
        """
    )
    assert config.data.config.api_key.get_secret_value() == "hunter2"  # type: ignore[attr-defined]
    resolved = config.resolved
    assert resolved["data"] == {
        "plugin": "source",
        "url": "***",
        "api_key": "***",
        "pin": "***",
        "retries": 3,
        "paths": ["***", "open"],
        "login": {"password": "***", "level": 2},
        "logins": [{"password": "***", "level": 1}],
        "ratio": 0.5,
        "either": None,
        "anything": {"token": "***", "deep": [{"secret": "***"}], "ratio": 0.5},
        "gaps": "mask",
    }
    assert resolved["strategy"]["size"] == "0.30"
    assert resolved["strategy"]["note"] == "***"
    assert "hunter2" not in yaml.safe_dump(resolved)
    assert "hunter2" not in repr(config)


# --- what a run records ---------------------------------------------------------------------------


def test_a_recorded_configuration_is_loaded_back_and_is_the_same(load: Load, userdir: Path) -> None:
    config = load(
        "strategy: {every: 250ms, away: 3ticks, pause: 1.5s, on: [fill]}\n"
        "sim: {latency: {entry: 3us}, fill_reports: after_data, data_wait: 0}\n"
        "risk: {max_order: 0.02, price_band: {limit: 1%}, stale_after: 5s}\n"
        "instrument: {tick: 0.10}\n"
    )
    recorded = yaml.safe_load(yaml.safe_dump(config.resolved))
    again = load_resolved(recorded, userdir)
    assert again.resolved == {**config.resolved, "services": []}
    assert again.spec == config.spec
    assert again.sim.model_dump() == config.sim.model_dump()
    assert again.strategy.config.model_dump() == config.strategy.config.model_dump()
    assert [(c.name, c.config.model_dump()) for c in again.risk] == [
        (c.name, c.config.model_dump()) for c in config.risk
    ]
    with pytest.raises(MmkitError, match="a recorded run brings its own data"):
        again.data.build(None)


def test_a_recorded_configuration_with_a_hidden_value_it_needs_is_a_mistake(
    load: Load, userdir: Path
) -> None:
    resolved = load().resolved
    resolved["strategy"]["size"] = "***"
    with pytest.raises(
        ConfigError, match=r"recorded configuration: strategy.size: a decimal number"
    ):
        load_resolved(resolved, userdir)


# --- building -------------------------------------------------------------------------------------


def test_what_a_plugin_raises_while_it_is_built_is_told_with_its_name(load: Load) -> None:
    chosen = load().data
    with pytest.raises(
        PluginError, match=r"'source' could not be built: RuntimeError: no \("
    ) as raised:
        chosen.build(RuntimeError("no"))
    assert isinstance(raised.value.__cause__, RuntimeError)
    with pytest.raises(OffGrid, match="off"):
        chosen.build(OffGrid("off"))
