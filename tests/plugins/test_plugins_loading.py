"""What is loaded, what is refused, and what a broken plugin takes down with it: itself."""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import click
import pytest

from mmkit.config.check import ADVISOR_KEYS, GAPS, SIGNAL_KEYS
from mmkit.config.learning import TrainingSection
from mmkit.discovery import PluginInfo
from mmkit.errors import PluginError
from mmkit.hookspecs import hookimpl
from mmkit.interfaces import PluginConfig, Provider, RunInfo
from mmkit.plugins import OWN_KEYS, Plugins
from mmkit.testing import BTCUSDT

CHECK = """
from mmkit import PluginConfig, Provider, RiskCheck, hookimpl

class Check(RiskCheck):
    def __init__(self, config, context): pass

@hookimpl
def register_risk_checks():
    return [Provider("{name}", PluginConfig, Check{more})]
"""
STRATEGY = """
from mmkit import NO_QUOTES, Strategy

class {name}(Strategy):
    '''Does nothing.

    At length.
    '''

    def quote(self, view):
        return NO_QUOTES
"""
RUN = RunInfo(run_id="r1", command="trade", folder="", instrument=BTCUSDT, strategy="s")

Write = Callable[[str, str], Path]


@pytest.fixture
def userdir(tmp_path: Path) -> Path:
    return tmp_path / "user_data"


@pytest.fixture
def write(userdir: Path) -> Write:
    def written(path: str, text: str) -> Path:
        target = userdir / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    return written


def info(plugins: Plugins, name: str) -> PluginInfo:
    return next(info for info in plugins.infos if info.name == name)


# --- files ----------------------------------------------------------------------------------------


def test_a_plugin_file_is_loaded_under_its_own_name(userdir: Path, write: Write) -> None:
    path = write("plugins/mine.py", CHECK.format(name="calm", more=""))
    found = info(Plugins.load(userdir), "mine")
    assert (found.origin, found.version, found.error) == (str(path), "-", None)
    assert [(offer.kind, offer.name) for offer in found.offers] == [("risk check", "calm")]


def test_one_strategy_class_is_offered_under_the_files_name(userdir: Path, write: Write) -> None:
    write("strategies/mine.py", STRATEGY.format(name="Whatever"))
    provider = Plugins.load(userdir).provider("strategy", "mine")
    assert provider.summary == "Does nothing."


def test_several_strategy_classes_are_offered_in_snake_case(userdir: Path, write: Write) -> None:
    text = STRATEGY.format(name="SlowQuoter") + STRATEGY.format(name="MMFast")
    write("strategies/mine.py", text)
    names = [offer.name for offer in info(Plugins.load(userdir), "mine").offers]
    assert names == ["slow_quoter", "mmfast"]


def test_a_strategys_attribute_name_wins(userdir: Path, write: Write) -> None:
    write("strategies/mine.py", STRATEGY.format(name="Mine") + "    name = 'calm'\n")
    assert "calm" in Plugins.load(userdir).names("strategy")


def test_an_imported_strategy_and_an_abstract_one_are_not_offered(
    userdir: Path, write: Write
) -> None:
    text = STRATEGY.format(name="Mine") + "class Half(Strategy):\n    'No quote.'\n"
    write("strategies/mine.py", text + "from mmkit_strategies.skewed import Skewed\n")
    assert [offer.name for offer in info(Plugins.load(userdir), "mine").offers] == ["mine"]


def test_a_strategy_file_may_register_by_itself(userdir: Path, write: Write) -> None:
    text = STRATEGY.format(name="Mine") + (
        "from mmkit import Provider, hookimpl\n"
        "@hookimpl\n"
        "def register_strategies():\n"
        "    return [Provider('other', Mine.Config, Mine)]\n"
    )
    write("strategies/mine.py", text)
    assert [offer.name for offer in info(Plugins.load(userdir), "mine").offers] == ["other"]


def test_tests_and_files_with_an_underscore_are_left_alone(userdir: Path, write: Write) -> None:
    write("strategies/test_mine.py", "raise SystemExit")
    write("strategies/_shared.py", "raise SystemExit")
    assert not {"test_mine", "_shared"} & set(Plugins.load(userdir).plugin_names)


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    for folder, name in (("one", "First"), ("two", "Second")):
        path = tmp_path / folder / "strategies" / "mine.py"
        path.parent.mkdir(parents=True)
        path.write_text(STRATEGY.format(name=name))
    built = [
        Plugins.load(tmp_path / folder).provider("strategy", "mine").build
        for folder in ("one", "two")
    ]
    assert [cls.__name__ for cls in built] == ["First", "Second"]  # type: ignore[attr-defined]
    assert built[0].__module__ != built[1].__module__
    assert all(cls.__module__ in sys.modules for cls in built)


def test_no_folder_and_no_user_files_are_both_possible(userdir: Path, write: Write) -> None:
    write("plugins/mine.py", CHECK.format(name="calm", more=""))
    assert "mine" not in Plugins.load(None).plugin_names
    assert "mine" not in Plugins.load(userdir, user_files=False).plugin_names


# --- broken ones ----------------------------------------------------------------------------------

BROKEN = {
    "a syntax error": (
        "strategies/bad.py",
        "x = 1\ndef quote(:\n",
        r"bad\.py:2: invalid syntax: def quote\(:$",
    ),
    "a missing module": (
        "plugins/bad.py",
        "import math\nimport no_such_thing\n",
        r"ModuleNotFoundError: No module named 'no_such_thing' \(.*bad\.py:2\)$",
    ),
    "an exception": ("plugins/bad.py", "1 / 0\n", r"ZeroDivisionError: .*bad\.py:1\)$"),
    "an exit": ("plugins/bad.py", "import sys\nsys.exit(3)\n", r"SystemExit: 3 \(.*bad\.py:2\)$"),
    "no strategy": ("strategies/bad.py", "x = 1\n", r"bad\.py: defines no Strategy; a class such"),
    "a strategy without quote": (
        "strategies/bad.py",
        "from mmkit import Strategy\nclass Half(Strategy): pass\n",
        r"class 'Half' does not define 'quote'$",
    ),
    "a config that is none": (
        "strategies/bad.py",
        STRATEGY.format(name="Mine") + "    Config = dict\n",
        r"the Config of strategy 'bad' must be a subclass of StrategyConfig$",
    ),
    "a hook that raises": (
        "plugins/bad.py",
        "from mmkit import hookimpl\n@hookimpl\ndef register_strategies():\n    return {}['x']\n",
        r"KeyError: 'x' \(.*bad\.py:4\)$",
    ),
    "a hook that raises while it is iterated": (
        "plugins/bad.py",
        "from mmkit import hookimpl\n@hookimpl\ndef register_services():\n    yield 1 / 0\n",
        r"ZeroDivisionError: division by zero \(.*bad\.py:4\)$",
    ),
    "a hook that returns something else": (
        "plugins/bad.py",
        "from mmkit import hookimpl\n@hookimpl\ndef register_services():\n    return ['sandbox']\n",
        r"register_services must return providers; found str$",
    ),
    "a hook that is none": (
        "plugins/bad.py",
        "from mmkit import hookimpl\n@hookimpl\ndef register_strategy(): pass\n",
        r"'register_strategy' is no hook of mmkit; did you mean 'register_strategies'\?$",
    ),
    "a hook with another argument": (
        "plugins/bad.py",
        "from mmkit import hookimpl\n@hookimpl\ndef run_started(launch): pass\n",
        r"launch",
    ),
    "a command that raises": (
        "plugins/bad.py",
        "from mmkit import hookimpl\n@hookimpl\ndef register_commands(cli): cli.nothing()\n",
        r"AttributeError: 'Group' object has no attribute 'nothing'",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_plugin_takes_only_itself_out(what: str, userdir: Path, write: Write) -> None:
    path, text, reason = BROKEN[what]
    write(path, text)
    write("plugins/fine.py", CHECK.format(name="calm", more=""))
    plugins = Plugins.load(userdir)
    bad, fine = info(plugins, "bad"), info(plugins, "fine")
    assert bad.error is not None
    assert re.search(reason, bad.error), bad.error
    assert "\n" not in bad.error
    assert bad.error.split(":")[0] in bad.traceback or "PluginError" in bad.traceback
    assert bad.offers == ()
    assert (fine.error, len(fine.offers)) == (None, 1)
    assert plugins.provider("risk check", "calm").name == "calm"
    assert "bad" in plugins.broken


def test_asking_for_what_a_broken_plugin_would_offer_tells_why_it_is_broken(
    userdir: Path, write: Write
) -> None:
    write("strategies/mine.py", "def quote(:\n")
    with pytest.raises(
        PluginError,
        match=r"no strategy named 'mine': the plugin of that name failed to load: .*mine.py:1: inv",
    ):
        Plugins.load(userdir).provider("strategy", "mine")


def test_a_raising_hook_at_the_end_of_a_run_is_a_warning_and_others_are_told(
    userdir: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    hook = "from mmkit import hookimpl\n@hookimpl\ndef run_started(run): {}\n"
    write("plugins/a.py", hook.format("1 / 0"))
    write("plugins/b.py", "import logging\n" + hook.format("logging.warning(run.run_id)"))
    Plugins.load(userdir).run_started(RUN)
    first, second = caplog.messages
    assert first.startswith("plugin=a hook=run_started error=ZeroDivisionError")
    assert second == "r1"


# --- asking ---------------------------------------------------------------------------------------


def test_a_misspelt_name_is_answered_with_the_nearest_all_there_are_and_what_failed(
    userdir: Path, write: Write
) -> None:
    write("plugins/lstm.py", "import torch_that_is_not_there\n")
    with pytest.raises(PluginError) as raised:
        Plugins.load(userdir).provider("risk check", "max_positon")
    assert str(raised.value) == (
        "no risk check named 'max_positon'; did you mean 'max_position'? available: balance, halt_position, "
        "max_drawdown, max_loss_per_day, max_notional, max_open_orders, max_order, max_order_rate, "
        "max_position, max_rejects_per_minute, min_notional, price_band, stale_after; plugins that failed to load: lstm "
        "(see 'mmkit plugins')"
    )


def test_a_disabled_plugin_is_not_imported_and_its_offers_are_gone(
    userdir: Path, write: Write
) -> None:
    write("plugins/mine.py", "raise RuntimeError('imported')")
    plugins = Plugins.load(userdir, ["mine", "limits"])
    assert (info(plugins, "mine").disabled, info(plugins, "mine").error) == (True, None)
    assert plugins.names("risk check") == []


def test_two_plugins_that_offer_one_name_are_refused_when_it_is_asked_for(
    userdir: Path, write: Write
) -> None:
    write("plugins/mine.py", CHECK.format(name="max_order", more=""))
    plugins = Plugins.load(userdir)
    message = (
        "plugins 'limits' and 'mine' both register a risk check named 'max_order'; "
        "disable one of them with 'plugins.disabled: [mine]'"
    )
    with pytest.raises(PluginError) as raised:
        plugins.provider("risk check", "max_order")
    assert str(raised.value) == message
    for name in ("limits", "mine"):
        offer = next(o for o in info(plugins, name).offers if o.name == "max_order")
        assert (offer.available, offer.why_not) == (False, message)
    assert plugins.provider("risk check", "max_position").name == "max_position"
    assert Plugins.load(userdir, ["mine"]).provider("risk check", "max_order")


def test_one_plugin_that_offers_a_name_twice_is_refused(userdir: Path, write: Write) -> None:
    text = CHECK.format(name="calm", more="")
    write("plugins/mine.py", text.replace("return [", "return 2 * ["))
    with pytest.raises(
        PluginError, match="plugin 'mine' registers a risk check named 'calm' twice"
    ):
        Plugins.load(userdir).provider("risk check", "calm")


TRAINER = """
from mmkit import PluginConfig, Provider, hookimpl

class Config(PluginConfig):
    seed: int = 1
    {key}: int = 1

@hookimpl
def register_signal_trainers():
    return [Provider("mine", {config}, print)]
"""


def test_a_plugin_that_takes_a_key_which_is_mmkits_is_refused_by_name(
    userdir: Path, write: Write
) -> None:
    write("plugins/mine.py", TRAINER.format(key="window", config="Config"))
    error = (
        "the signal trainer 'mine' has 'window' and 'seed' in its config, which mmkit reads itself beside 'plugin: "
        "mine'; rename them"
    )
    plugins = Plugins.load(userdir)
    with pytest.raises(PluginError, match="the plugin of that name failed to load: the signal tr"):
        plugins.provider("signal trainer", "mine")
    assert info(plugins, "mine").error == error
    write("plugins/mine.py", TRAINER.format(key="depth", config="PluginConfig"))
    assert Plugins.load(userdir).provider("signal trainer", "mine")


def test_the_keys_that_no_plugin_may_take_are_those_that_are_read() -> None:
    assert set(OWN_KEYS["signal trainer"]) == {"plugin", *TrainingSection.model_fields}
    assert set(OWN_KEYS["signal model"]) == {"plugin", *SIGNAL_KEYS}
    assert set(OWN_KEYS["advisor"]) == {"plugin", *ADVISOR_KEYS}
    assert set(OWN_KEYS["data source"]) == {"plugin", GAPS}


def test_two_plugins_of_one_name_are_told_apart_and_the_second_is_not_loaded(
    userdir: Path, write: Write
) -> None:
    first = write("plugins/mine.py", CHECK.format(name="calm", more=""))
    second = write("strategies/mine.py", STRATEGY.format(name="Mine"))
    infos = [info for info in Plugins.load(userdir).infos if info.name == "mine"]
    assert [info.error for info in infos] == [
        None,
        f"two plugins are named 'mine': {first} and {second}; rename one of them",
    ]


def test_a_missing_extra_is_told_with_the_command_that_installs_it(
    userdir: Path, write: Write
) -> None:
    more = ", requires=('json', 'no_such.module'), install='mmkit[ccxt]'"
    write("plugins/mine.py", CHECK.format(name="calm", more=more))
    plugins = Plugins.load(userdir)
    why = (
        "the risk check 'calm' needs 'no_such.module', which is not installed: "
        'pip install "mmkit[ccxt]"'
    )
    with pytest.raises(PluginError) as raised:
        plugins.provider("risk check", "calm")
    assert str(raised.value) == why
    (offer,) = info(plugins, "mine").offers
    assert (offer.available, offer.why_not) == (False, why)
    assert "calm" not in [provider.name for provider in plugins.providers("risk check")]


# --- installed ones -------------------------------------------------------------------------------


class Distribution:
    def __init__(self, name: str, version: str) -> None:
        self.name, self.version = name, version


class Entry:
    """Stands for an entry point of an installed package."""

    def __init__(self, name: str, dist: str, loaded: object) -> None:
        self.name, self.module, self.dist = name, "no.such.module", Distribution(dist, "2.1")
        self._loaded = loaded

    def load(self) -> object:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


def install(monkeypatch: pytest.MonkeyPatch, entries: Sequence[Entry]) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries)


def plugin_with(hook: str, returns: object) -> ModuleType:
    module = ModuleType("installed")

    def implementation() -> object:
        return returns

    implementation.__name__ = hook
    setattr(module, hook, hookimpl(implementation))
    return module


def test_an_installed_plugin_tells_its_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider("calm", PluginConfig, lambda config, context: None)
    module = plugin_with("register_services", [provider])
    install(monkeypatch, [Entry("walk", "mmkit-walk", module)])
    (found,) = Plugins.load(None).infos
    assert (found.name, found.version, found.origin) == ("walk", "2.1", "mmkit-walk 2.1")
    assert [offer.name for offer in found.offers] == ["calm"]


def test_two_installed_plugins_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [plugin_with("register_services", []) for _ in range(2)]
    install(monkeypatch, [Entry("walk", name, m) for name, m in zip("ba", modules, strict=True)])
    assert [(info.origin, info.error) for info in Plugins.load(None).infos] == [
        ("a 2.1", None),
        ("b 2.1", "two plugins are named 'walk': a 2.1 and b 2.1; rename one of them"),
    ]


def test_an_installed_plugin_that_cannot_be_imported_leaves_the_rest_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = [
        Entry("a", "a", ImportError("no libtorch")),
        Entry("b", "b", plugin_with("register_services", [])),
    ]
    install(monkeypatch, entries)
    first, second = (info.error for info in Plugins.load(None).infos)
    assert first is not None
    assert first.startswith("ImportError: no libtorch")
    assert second is None


# --- commands -------------------------------------------------------------------------------------

COMMAND = """
import click
from mmkit import hookimpl

@hookimpl
def register_commands(cli):
    @cli.command("{name}")
    def run():
        '''Do it.'''
"""


def test_no_plugin_takes_a_command_of_mmkit_or_of_another_plugin(
    userdir: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, [])
    write("plugins/a.py", COMMAND.format(name="go"))
    write("plugins/b.py", COMMAND.format(name="go"))
    write("plugins/c.py", COMMAND.format(name="trade"))
    plugins, cli = Plugins.load(userdir), click.Group()
    plugins.call_commands(cli, reserved=["trade"])
    assert list(cli.commands) == ["go"]
    assert [info.error for info in plugins.infos] == [
        None,
        "command 'go' is taken: plugin 'a' adds it too; rename it",
        "command 'trade' is taken: it is mmkit's own; rename it",
    ]


def test_only_plugins_that_mention_a_word_are_imported_if_asked_so(
    userdir: Path, write: Write
) -> None:
    write("plugins/a.py", COMMAND.format(name="go"))
    write("plugins/b.py", "raise RuntimeError")
    plugins = Plugins.load(userdir, mentioning="register_commands")
    assert "a" in plugins.plugin_names
    assert "b" not in plugins.plugin_names
    assert plugins.broken == []


def test_importing_the_plugins_module_imports_no_pydantic() -> None:
    program = "import sys, mmkit.plugins; print('pydantic' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False False\n"
