"""A whole configuration checked section by section, so that every mistake is told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

from mmkit.config.chosen import Chosen as Chosen  # noqa: PLC0414 - handed on
from mmkit.config.keyring import with_keyring
from mmkit.config.learning import (
    LearningConfig,
    LearningSections,
    TrainingSection,
    part_of,
    with_settings,
)
from mmkit.config.mistakes import check, found, is_misspelt, nearest, without_secrets
from mmkit.config.real import mistakes_of
from mmkit.config.sections import (
    AdvisorSection,
    Gaps,
    InstrumentSection,
    LoggingSection,
    Mode,
    NotifySection,
    PluginsSection,
    QuotingSection,
    SignalSection,
)
from mmkit.config.shown import shown
from mmkit.config.yaml_source import Place, Written, dotted
from mmkit.errors import ConfigError, Mistake, PluginError, UsageError
from mmkit.events import MAIN
from mmkit.fusion import FUSED_QUESTIONS, FusionSettings
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import PluginConfig, Provider
from mmkit.plugins import Kind, Plugins
from mmkit.settings import SimSettings
from mmkit.watch import WatchSettings

S = TypeVar("S", bound=BaseModel)

SECTIONS = (
    "mode",
    "instrument",
    "services",
    "data",
    "markets",
    "signals",
    "advisors",
    "fusion",
    "strategy",
    "venue",
    "sim",
    "risk",
    "quoting",
    "watch",
    "notify",
    "features",
    "sampling",
    "labels",
    "training",
    "plugins",
    "logging",
)
MARKET_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
_OF_A_MARKET = ("instrument", "data", "venue", "sim", "risk", "watch")
_EXAMPLES = {
    "instrument": 'such as instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}',
    "data": "such as data: {plugin: binance, endpoint: sandbox}",
    "strategy": "such as strategy: {plugin: join_best}, or choose one with -s",
}
GAPS = "gaps"
"""The key of ``data`` that is not the plugin's but ours."""
SIGNAL_KEYS = tuple(one.alias or name for name, one in SignalSection.model_fields.items())
"""The keys of a signal that are not the model's but ours."""
ADVISOR_KEYS = tuple(one.alias or name for name, one in AdvisorSection.model_fields.items())
"""The keys of an advisor that are not the plugin's but ours."""
# A scalar under `risk:` is this field of the check's config.
LIMIT = "limit"


@dataclass(frozen=True)
class ChosenSignal:
    """One of the signals.

    Attributes:
        section: What is said of it, whatever the plugin.
        model: Who reads the model; its config is what was written besides.
    """

    section: SignalSection
    model: Chosen

    @property
    def name(self) -> str:
        """What strategies call it."""
        return self.section.name


@dataclass(frozen=True)
class ChosenAdvisor:
    """One of the advisors.

    Attributes:
        section: What is said of it, whatever the plugin; every default filled in.
        advisor: Who asks; its config is what was written besides.
    """

    section: AdvisorSection
    advisor: Chosen

    @property
    def name(self) -> str:
        """What strategies call it."""
        return self.section.name or self.section.question


@dataclass(frozen=True)
class MarketParts:
    """What belongs to one market; `mmkit.config.MarketConfig` says what each is."""

    instrument: InstrumentSection
    data: Chosen
    gaps: Gaps
    venue: Chosen
    sim: SimSettings
    risk: tuple[Chosen, ...]
    watch: WatchSettings


@dataclass(frozen=True)
class Parts:
    """The sections without mistakes; `mmkit.config.Config` says what each is."""

    mode: Mode
    instrument: InstrumentSection
    services: tuple[Chosen, ...]
    data: Chosen
    gaps: Gaps
    markets: dict[str, MarketParts]
    signals: tuple[ChosenSignal, ...]
    advisors: tuple[ChosenAdvisor, ...]
    fusion: FusionSettings | None
    strategy: Chosen
    venue: Chosen
    sim: SimSettings
    risk: tuple[Chosen, ...]
    quoting: QuotingSection
    watch: WatchSettings
    notify: NotifySection
    learning: LearningConfig
    plugins: PluginsSection
    logging: LoggingSection
    keeps_from_live: tuple[Mistake, ...]
    resolved: dict[str, Any]


def check_all(
    root: Written,
    plugins: Plugins,
    mistakes: Sequence[Mistake] = (),
    *,
    where: str,
    recorded: bool = False,
    strategy: Provider[Any, Any] | None = None,
) -> Parts:
    """Return the parts that `root` asks for.

    Args:
        root: Files and overrides, merged.
        plugins: Where the parts come from.
        mistakes: Those found while reading.
        where: What to say a missing section is missing in.
        recorded: Whether this is the configuration of a recorded run, whose data source is not used.
        strategy: Takes precedence over a plugin's strategy of its name.

    Raises:
        ConfigError: with every mistake, those of reading included.
    """
    sections = _Sections(root, plugins, list(mistakes), where, strategy)
    parts = sections.parts(recorded=recorded)
    if parts is None or sections.mistakes:
        raise ConfigError(without_secrets(_once(sections.mistakes), sections.root))
    return parts


def _once(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Return the first mistake of each place: what could not be read is not judged again."""
    first: dict[tuple[str, str], Mistake] = {}
    for mistake in mistakes:
        key = (mistake.path, "") if mistake.path else ("", str(mistake))
        first.setdefault(key, mistake)
    return list(first.values())


def _traded(spec: InstrumentSpec) -> tuple[str, ...]:
    return spec.venue, spec.market, spec.symbol


class _Sections:
    def __init__(
        self,
        root: Written,
        plugins: Plugins,
        mistakes: list[Mistake],
        where: str,
        strategy: Provider[Any, Any] | None = None,
        place: Place = (),
    ) -> None:
        self._root, self._plugins, self._where = root, plugins, where
        self._strategy, self._place = strategy, place
        self.mistakes = mistakes
        self._keeps_from_live: list[Mistake] = []

    @property
    def root(self) -> Written:
        """What is checked, with what the keyring has."""
        return self._root

    def parts(self, *, recorded: bool) -> Parts | None:
        """Check everything; return `None` if something is wrong."""
        self._check_keys()
        mode = self._mode()
        instrument = self._section("instrument", InstrumentSection)
        services = [] if recorded else self._services()
        data = self._recorded_data() if recorded else self._chosen("data source", "data")
        gaps = self._gaps()
        signals = self._signals(recorded=recorded)
        advisors = self._advisors(recorded=recorded)
        fusion = self._fusion(signals, advisors)
        strategy = self._chosen("strategy", "strategy")
        venue = self._venue()
        sim = self._section("sim", SimSettings)
        risk = self._risk()
        quoting = self._section("quoting", QuotingSection)
        watch = self._section("watch", WatchSettings)
        # Where messages go is a secret, which a recorded run has not kept, and its replay sends none.
        notify = NotifySection() if recorded else self._section("notify", NotifySection)
        self._keeps_from_live += self.keeps_from_live(data, venue, risk)
        main = instrument.spec() if instrument is not None else None
        markets, shown_markets = self._markets(main, venue, sim, risk, watch, recorded=recorded)
        # A recorded run was no training, and its replay may be where nothing can be trained.
        learning, shown_learning = (LearningConfig(), {}) if recorded else self._learning()
        plugins = self._section("plugins", PluginsSection)
        if plugins is not None and not recorded:
            self._check_disabled(plugins)
        logging = self._section("logging", LoggingSection)
        self._check_signal_markets(signals, list(markets))
        if instrument is None or data is None or strategy is None or venue is None:
            return None
        if sim is None or plugins is None or logging is None:
            return None
        if quoting is None or watch is None or notify is None or learning is None:
            return None
        resolved = {
            "mode": mode,
            "instrument": {k: v for k, v in self._shown("instrument", instrument).items() if v},
            "services": [self._shown_plugin(one, "services", i) for i, one in enumerate(services)],
            "data": self._shown_data(data, gaps, recorded=recorded),
            "markets": shown_markets,
            "signals": [self._shown_signal(i, one) for i, one in enumerate(signals)],
            "advisors": [self._shown_advisor(i, one) for i, one in enumerate(advisors)],
            **({"fusion": self._shown("fusion", fusion)} if fusion is not None else {}),
            "strategy": self._shown_plugin(strategy, "strategy"),
            "venue": self._shown_plugin(venue, "venue"),
            "sim": self._shown("sim", sim),
            "risk": self._shown_risk(risk),
            "quoting": self._shown("quoting", quoting),
            "watch": self._shown("watch", watch),
            "notify": self._shown("notify", notify),
            **shown_learning,
            "plugins": self._shown("plugins", plugins),
            "logging": self._shown("logging", logging),
        }
        return Parts(
            mode=mode,
            instrument=instrument,
            services=tuple(services),
            data=data,
            gaps=gaps,
            markets=markets,
            signals=tuple(signals),
            advisors=tuple(advisors),
            fusion=fusion,
            strategy=strategy,
            venue=venue,
            sim=sim,
            risk=tuple(risk),
            quoting=quoting,
            watch=watch,
            notify=notify,
            learning=learning,
            plugins=plugins,
            logging=logging,
            keeps_from_live=tuple(self._keeps_from_live) if mode == "live" else (),
            resolved=resolved,
        )

    # --- markets ----------------------------------------------------------------------------------

    def _markets(
        self,
        main: InstrumentSpec | None,
        venue: Chosen | None,
        sim: SimSettings | None,
        risk: list[Chosen],
        watch: WatchSettings | None,
        *,
        recorded: bool,
    ) -> tuple[dict[str, MarketParts], dict[str, Any]]:
        """Return the markets beside the main one, and how they are shown."""
        written = self._written("markets")
        if written is None:
            return {}, {}
        if not isinstance(written.value, dict):
            message = f"names and their markets were expected; found {found(written)}"
            hint = "such as {spot: {instrument: {...}, data: {...}}}"
            self._wrong(written.where, "markets", message, hint)
            return {}, {}
        parts: dict[str, MarketParts] = {}
        resolved: dict[str, Any] = {}
        traded = {_traded(main): MAIN} if main is not None else {}
        held: dict[str, Written] = {}
        for name, child in written.value.items():
            path = dotted(("markets", name))
            if name == MAIN:
                message = f"'{MAIN}' is the market of 'instrument'; another name was expected"
                self._wrong(child.key_where, path, message, "such as spot")
            elif not re.match(MARKET_NAME, name):
                message = (
                    "a name of the letters a to z and A to Z, digits and _, not beginning with a digit, was "
                    f"expected; found '{name}'"
                )
                self._wrong(child.key_where, path, message, "such as spot")
            elif not isinstance(child.value, dict):
                message = f"keys and values were expected; found {found(child)}"
                self._wrong(child.where, path, message, "such as {instrument: {...}, data: {...}}")
            else:
                # What a market does not say of itself holds for it as for the main one.
                above = {
                    key: self._root.value[key].merged(child.value[key])
                    for key in ("sim", "risk", "watch")
                    if key in child.value and key in self._root.value
                }
                root = Written({**child.value, **above}, child.where, child.key_where)
                market = _Sections(root, self._plugins, [], child.where, place=("markets", name))
                made = market.market_parts(venue, sim, risk, watch, recorded=recorded)
                self._take_over(market.mistakes, dotted(("markets", name, "")))
                held[name] = market.root
                if made is not None:
                    self._keeps_from_live += market.keeps_from_live(
                        made.data, made.venue, made.risk
                    )
                    self._check_twice(name, child, made.instrument.spec(), traded)
                    parts[name] = made
                    resolved[name] = market.market_shown(made, risk, recorded=recorded)
        self._replace("markets", replace(written, value={**written.value, **held}))
        return parts, resolved

    def _take_over(self, mistakes: Sequence[Mistake], prefix: str) -> None:
        """Add a market's mistakes, but not those that it has from the main market's sections."""
        told = {(mistake.where, mistake.path, mistake.message) for mistake in self.mistakes}
        self.mistakes += [
            one
            for one in mistakes
            if (one.where, one.path.removeprefix(prefix), one.message) not in told
        ]

    def _check_twice(
        self, name: str, child: Written, spec: InstrumentSpec, traded: dict[tuple[str, ...], str]
    ) -> None:
        """Refuse an instrument that is traded in another market: one trade would fill orders in both."""
        other = traded.setdefault(_traded(spec), name)
        if other != name:
            instrument = child.value["instrument"]
            self._wrong(
                instrument.key_where or instrument.where,
                dotted(("markets", name, "instrument")),
                f"an instrument that no other market has was expected; found {spec.symbol} at {spec.venue}, "
                f"which is that of '{other}': each would be filled by the same trades",
                "quote both in one market, with several levels",
            )

    def market_parts(
        self,
        venue: Chosen | None,
        sim: SimSettings | None,
        risk: list[Chosen],
        watch: WatchSettings | None,
        *,
        recorded: bool,
    ) -> MarketParts | None:
        """Return the parts of one market; what it does not say is the main one's."""
        for key, value in self._root.value.items():
            if key not in _OF_A_MARKET:
                path = dotted((*self._place, key))
                self._wrong(value.key_where, path, "unknown key", nearest(key, _OF_A_MARKET))
        instrument = self._section("instrument", InstrumentSection)
        data = self._recorded_data() if recorded else self._chosen("data source", "data")
        gaps = self._gaps()
        if self._written("venue") is not None:
            venue = self._venue()
        if self._written("sim") is not None:
            sim = self._own_sim(sim)
        if self._written("risk") is not None:
            risk = self._risk()
        if self._written("watch") is not None:
            watch = self._section("watch", WatchSettings)
        if instrument is None or data is None or venue is None or sim is None or watch is None:
            return None
        return MarketParts(instrument, data, gaps, venue, sim, tuple(risk), watch)

    def _own_sim(self, main: SimSettings | None) -> SimSettings | None:
        """Return the section of a market that has one."""
        sim = self._section("sim", SimSettings)
        if sim is not None and main is not None and sim.fill_reports != main.fill_reports:
            said = self._at("sim", "fill_reports")
            path = dotted((*self._place, "sim", "fill_reports"))
            message = (
                f"{main.fill_reports}, as for the main market, was expected; found {found(said)}"
            )
            self._wrong(
                said.where, path, message, "leave it out: a run has one rule for all markets"
            )
        return sim

    def market_shown(
        self, parts: MarketParts, main_risk: Sequence[Chosen], *, recorded: bool
    ) -> dict[str, Any]:
        """Return how one market is shown: what it says of itself."""
        instrument = self._shown("instrument", parts.instrument)
        plain: dict[str, Any] = {
            "instrument": {key: value for key, value in instrument.items() if value},
            "data": self._shown_data(parts.data, parts.gaps, recorded=recorded),
        }
        if self._written("venue") is not None:
            plain["venue"] = self._shown_plugin(parts.venue, "venue")
        if self._written("sim") is not None:
            plain["sim"] = self._shown("sim", parts.sim)
        if self._written("risk") is not None:
            # What was taken away is said, or it would come back with the main market's.
            taken_away: dict[str, Any] = dict.fromkeys(one.name for one in main_risk)
            plain["risk"] = taken_away | self._shown_risk(parts.risk)
        if self._written("watch") is not None:
            plain["watch"] = self._shown("watch", parts.watch)
        return plain

    def _shown_data(self, data: Chosen, gaps: Gaps, *, recorded: bool) -> Any:
        if recorded:
            return self._plain("data")
        return {**self._shown_plugin(data, "data"), GAPS: gaps}

    def _shown_risk(self, risk: Sequence[Chosen]) -> dict[str, Any]:
        return {one.name: self._shown_limit(one) for one in risk}

    # --- sections ---------------------------------------------------------------------------------

    def _check_keys(self) -> None:
        for key, value in self._root.value.items():
            if key not in SECTIONS:
                unused = [name for name in SECTIONS if name not in self._root.value]
                self._wrong(value.key_where, key, "unknown key", nearest(key, unused))

    def _mode(self) -> Mode:
        written = self._root.get("mode")
        if written is None:
            return "dry_run"
        modes = get_args(Mode)
        if isinstance(written.value, str) and written.value in modes:
            mode: Mode = written.value  # type: ignore[assignment]
            return mode
        hint = nearest(written.value, modes) if is_misspelt(written.value, modes) else ""
        message = f"{' or '.join(modes)} was expected; found {found(written)}"
        self._wrong(written.where, "mode", message, hint)
        return "dry_run"

    def _gaps(self) -> Gaps:
        """Return what ``data.gaps`` says; the key belongs to no plugin."""
        section = self._written("data")
        if section is None or not isinstance(section.value, dict):
            return "mask"  # which is told elsewhere
        written = section.get(GAPS)
        if written is None:
            return "mask"
        choices = get_args(Gaps)
        if isinstance(written.value, str) and written.value in choices:
            gaps: Gaps = written.value  # type: ignore[assignment]
            return gaps
        hint = nearest(written.value, choices) if is_misspelt(written.value, choices) else ""
        message = f"{' or '.join(choices)} was expected; found {found(written)}"
        self._wrong(written.where, dotted((*self._place, "data", GAPS)), message, hint)
        return "mask"

    def _section(self, name: str, model: type[S]) -> S | None:
        written = self._written(name)
        if written is None:
            if any(field.is_required() for field in model.model_fields.values()):
                self._missing(name)
                return None
            return model()
        return check(model, written, (*self._place, name), self.mistakes)

    def _services(self) -> list[Chosen]:
        written = self._written("services")
        if written is None:
            return []
        if not isinstance(written.value, list):
            message = f"a list was expected; found {found(written)}"
            self._wrong(written.where, "services", message, "such as [{plugin: sandbox}]")
            return []
        chosen = [
            self._resolved("service", child, ("services", index))
            for index, child in enumerate(written.value)
        ]
        names = [one.name if one is not None else "" for one in chosen]
        for index, name in enumerate(names):
            if name and names.index(name) < index:
                # A data source finds a service by its name alone.
                path = dotted(("services", index))
                message = f"a service that is not there yet was expected; found '{name}', the same as services[{names.index(name)}]"
                self._wrong(
                    written.value[index].where,
                    path,
                    message,
                    "one serves every market; leave this one out",
                )
        return [one for one in chosen if one is not None]

    def _signals(self, *, recorded: bool) -> list[ChosenSignal]:
        example = "[{plugin: lightgbm, model: user_data/models/example, as: direction}]"
        signals: list[ChosenSignal] = []
        for place, child in self._each("signals", example):
            model, section = self._named(
                "signal model", child, place, SignalSection, SIGNAL_KEYS, recorded=recorded
            )
            if section is None or model is None:
                continue
            one = ChosenSignal(section, model)
            self._check_name(one.name, [other.name for other in signals], child, place, "signal")
            signals.append(one)
        return signals

    def _advisors(self, *, recorded: bool) -> list[ChosenAdvisor]:
        example = "[{plugin: holysheep, model: deepseek-v3.2, every: 60s}]"
        advisors: list[ChosenAdvisor] = []
        for place, child in self._each("advisors", example):
            advisor, section = self._named(
                "advisor", child, place, AdvisorSection, ADVISOR_KEYS, recorded=recorded
            )
            if section is None or advisor is None:
                continue
            one = ChosenAdvisor(section.filled(), advisor)
            self._check_name(one.name, [other.name for other in advisors], child, place, "advisor")
            advisors.append(one)
        return advisors

    def _each(self, name: str, example: str) -> list[tuple[Place, Written]]:
        """Return the members of a section that is a list, with their places."""
        written = self._written(name)
        if written is None:
            return []
        if not isinstance(written.value, list):
            message = f"a list was expected; found {found(written)}"
            self._wrong(written.where, name, message, f"such as {example}")
            return []
        return [((name, index), child) for index, child in enumerate(written.value)]

    def _named(
        self,
        kind: Kind,
        written: Written,
        place: Place,
        model: type[S],
        keys: Sequence[str],
        *,
        recorded: bool,
    ) -> tuple[Chosen | None, S | None]:
        """Return what a plugin offers, and what is said of it whatever the plugin: `keys`, as `model` has them."""
        if not isinstance(written.value, dict):
            self._resolved(kind, written, place)  # which says what is wrong
            return None, None
        ours = replace(written, value={key: v for key, v in written.value.items() if key in keys})
        if recorded:
            # What it said is in the journal: it is not built again, and may be gone.
            chosen: Chosen | None = self._unused(str(self._at(*place, "plugin").plain))
        else:
            for key in keys:
                written = written.without(key)
            chosen = self._resolved(kind, written, place)
        return chosen, check(model, ours, place, self.mistakes)

    def _check_name(
        self, name: str, others: Sequence[str], written: Written, place: Place, what: str
    ) -> None:
        if name in others:
            message = f"a name of its own was expected; '{name}' is that of another {what}"
            self._wrong(written.where, dotted(place), message, "give it one with 'as: NAME'")

    def _fusion(
        self, signals: Sequence[ChosenSignal], advisors: Sequence[ChosenAdvisor]
    ) -> FusionSettings | None:
        if self._written("fusion") is None:
            return None
        settings = self._section("fusion", FusionSettings)
        if settings is None:
            return None
        needs = settings.needs
        for key, section, there in (
            ("signal", "signals", [one.name for one in signals]),
            ("advice", "advisors", [one.name for one in advisors]),
        ):
            name = getattr(settings, key)
            # Where there are some that could not be read, those are to be put right first.
            if key not in needs or name in there or len(there) < self._count(section):
                continue
            written = self._at("fusion", key)
            message = f"a name under '{section}' was expected; found '{name}'"
            hint = nearest(name, there) if there else f"add one under '{section}'"
            where = written.where or self._at("fusion").where
            self._wrong(where, dotted(("fusion", key)), message, hint)
        for one in advisors:
            asked = one.section.question
            if "advice" in needs and one.name == settings.advice and asked not in FUSED_QUESTIONS:
                where = self._at("fusion", "advice").where or self._at("fusion").where
                message = (
                    f"an advisor that is asked {' or '.join(FUSED_QUESTIONS)} was expected; '{one.name}' is asked {asked}, "
                    "and no answer to that says which side to be on"
                )
                self._wrong(where, "fusion.advice", message, "name another one")
        return settings

    def _count(self, name: str) -> int:
        written = self._written(name)
        return len(written.value) if written and isinstance(written.value, list) else 0

    def _check_signal_markets(self, signals: list[ChosenSignal], markets: list[str]) -> None:
        """Refuse signals about a market that the run does not have."""
        for one in signals:
            name = one.section.market
            if name not in (MAIN, *markets):
                place = ("signals", signals.index(one), "market")
                message = f"a market of the run was expected; found '{name}'; there is {', '.join((MAIN, *markets))}"
                where = self._at(*place).where
                self._wrong(
                    where, dotted(place), message, "add it under 'markets', or name one of these"
                )

    def _shown_signal(self, index: int, one: ChosenSignal) -> dict[str, Any]:
        return self._shown_named(("signals", index), one.section, one.model)

    def _shown_advisor(self, index: int, one: ChosenAdvisor) -> dict[str, Any]:
        return self._shown_named(("advisors", index), one.section, one.advisor)

    def _shown_named(self, place: Place, section: BaseModel, chosen: Chosen) -> dict[str, Any]:
        written = self._at(*place)
        own = shown(section, written, place)
        own = {"as" if key == "name" else key: v for key, v in own.items() if v is not None}
        return {"plugin": chosen.name, **own, **shown(chosen.config, written, place)}

    def _risk(self) -> list[Chosen]:
        written = self._written("risk")
        if written is None:
            return []
        if not isinstance(written.value, dict):
            message = f"keys and values were expected; found {found(written)}"
            path = dotted((*self._place, "risk"))
            self._wrong(written.where, path, message, 'such as {max_position: "0.05"}')
            return []
        return [
            one
            for name, value in written.value.items()
            # `max_order: null` of a second file takes a check away.
            if value.value is not None and (one := self._risk_check(name, value)) is not None
        ]

    def _risk_check(self, name: str, value: Written) -> Chosen | None:
        path = dotted((*self._place, "risk", name))
        try:
            provider = self._plugins.provider("risk check", name)
        except PluginError as error:
            self._wrong(value.key_where, path, str(error))
            return None
        if isinstance(value.value, dict):
            config = check(provider.config, value, (*self._place, "risk", name), self.mistakes)
        elif LIMIT in provider.config.model_fields:
            wrapped = Written({LIMIT: value}, value.where, value.key_where)
            mistakes: list[Mistake] = []
            config = check(provider.config, wrapped, (*self._place, "risk", name), mistakes)
            self.mistakes += [
                Mistake(m.where, path if m.path == f"{path}.{LIMIT}" else m.path, m.message, m.hint)
                for m in mistakes
            ]
        else:
            keys = ", ".join(provider.config.model_fields)
            message = f"keys and values were expected; found {found(value)}"
            self._wrong(value.where, path, message, f"known are: {keys}")
            return None
        return Chosen(name, provider, config) if config is not None else None

    def _learning(self) -> tuple[LearningConfig | None, dict[str, Any]]:
        """Return the sections of a training, and how those that are written are shown."""
        names = tuple(LearningSections.model_fields)
        there = {name: self._root.value[name] for name in names if self._written(name) is not None}
        written = Written(there, self._where)
        sections = check(LearningSections, written, (), self.mistakes)
        plain = {}
        if sections is not None:
            whole = shown(sections, written, ("learning",))
            plain = {name: whole[name] for name in names if name in there}
        if self._written("training") is None:
            return None if sections is None else LearningConfig(**dict(sections)), plain
        chosen = self._chosen("signal trainer", "training")
        if chosen is None or sections is None:
            return None, {}
        plain["training"] = self._shown_plugin(chosen, "training")
        trainer = Chosen(
            chosen.name, chosen.provider, part_of(chosen.config, chosen.provider.config)
        )
        settings = part_of(chosen.config, TrainingSection)
        return LearningConfig(**dict(sections), training=trainer, settings=settings), plain

    def _check_disabled(self, section: PluginsSection) -> None:
        for index, name in enumerate(section.disabled):
            if name not in self._plugins.plugin_names:
                written = self._at("plugins", "disabled", index)
                path = dotted(("plugins", "disabled", index))
                hint = nearest(name, self._plugins.plugin_names)
                self._wrong(written.where, path, f"no plugin is named '{name}'", hint)

    def _recorded_data(self) -> Chosen:
        plain = self._plain("data")
        return self._unused(str(plain.get("plugin")) if isinstance(plain, Mapping) else "")

    def _unused(self, name: str) -> Chosen:
        """Return in place of a part that a replay has no use for one that cannot be built."""

        def refuse(config: PluginConfig, context: Any) -> Any:
            raise UsageError(
                "a recorded run brings its own data, signals and advice; nothing makes them again"
            )

        return Chosen(name, Provider(name, PluginConfig, refuse), PluginConfig())

    def _venue(self) -> Chosen | None:
        """Return where orders go: an execution venue, or an account at a real one."""
        written = self._written("venue") or Written.of({"plugin": "paper"})
        named = written.get("plugin")
        if named is None or named.value not in self._plugins.names("account"):
            return self._resolved("execution venue", written, (*self._place, "venue"))
        written = with_keyring(written, (*self._place, "venue"), self.mistakes)
        # What is shown, and what is kept out of mistakes, is looked up there.
        self._replace("venue", written)
        return self._resolved("account", written, (*self._place, "venue"))

    def _replace(self, name: str, written: Written) -> None:
        self._root = replace(self._root, value={**self._root.value, name: written})

    def keeps_from_live(
        self, data: Chosen | None, venue: Chosen | None, risk: Sequence[Chosen]
    ) -> list[Mistake]:
        """Return what keeps this market from being traded with real orders."""
        if data is None or venue is None:
            return []
        return mistakes_of(self._place, self._root, data, venue, risk, self._where)

    # --- plugins ----------------------------------------------------------------------------------

    def _chosen(self, kind: Kind, name: str, default: Written | None = None) -> Chosen | None:
        written = self._written(name) or default
        if written is None:
            self._missing(name)
            return None
        return self._resolved(kind, written, (*self._place, name))

    def _resolved(self, kind: Kind, written: Written, place: Place) -> Chosen | None:
        path = dotted(place)
        available = f"available: {', '.join(self._plugins.names(kind)) or 'none'}"
        if not isinstance(written.value, dict):
            message = (
                f"keys and values such as {{plugin: NAME}} were expected; found {found(written)}"
            )
            self._wrong(written.where, path, message, available)
            return None
        plugin = written.get("plugin")
        if plugin is None:
            near = next((key for key in written.value if is_misspelt(key, ["plugin"])), None)
            if near is None:
                self._wrong(written.where, f"{path}.plugin", "missing", available)
            else:
                where = written.value[near].key_where
                self._wrong(where, f"{path}.{near}", "unknown key", "did you mean 'plugin'?")
            return None
        if not isinstance(plugin.value, str) or not plugin.value:
            message = f"the name of a {kind} was expected; found {found(plugin)}"
            self._wrong(plugin.where, f"{path}.plugin", message, available)
            return None
        own = self._strategy
        try:
            if kind == "strategy" and own is not None and own.name == plugin.value:
                provider = own
            else:
                provider = self._plugins.provider(kind, plugin.value)
        except PluginError as error:
            self._wrong(plugin.where, f"{path}.plugin", str(error))
            return None
        written = written.without("plugin")
        if kind == "data source":
            written = written.without(GAPS)
        model = provider.config
        if kind == "signal trainer":
            model = with_settings(model)
        config = check(model, written, place, self.mistakes)
        return Chosen(plugin.value, provider, config) if config is not None else None

    # --- small things -----------------------------------------------------------------------------

    def _written(self, name: str) -> Written | None:
        written = self._root.get(name)
        return written if written is not None and written.value is not None else None

    def _at(self, *place: str | int) -> Written:
        here = self._root
        for step in place:
            here = here.get(step) or Written({})
        return here

    def _plain(self, name: str) -> Any:
        return self._at(name).plain

    def _missing(self, name: str) -> None:
        # A misspelt section has been reported as an unknown key already.
        if not any(is_misspelt(key, [name]) for key in self._root.value if key not in SECTIONS):
            path = dotted((*self._place, name))
            self._wrong(self._where, path, "this section is missing", _EXAMPLES[name])

    def _wrong(self, where: str, path: str, message: str, hint: str = "") -> None:
        self.mistakes.append(Mistake(where, path, message, hint))

    def _shown(self, name: str, section: BaseModel) -> dict[str, Any]:
        return shown(section, self._at(name), (*self._place, name))

    def _shown_plugin(self, chosen: Chosen, *place: str | int) -> dict[str, Any]:
        at = (*self._place, *place)
        return {"plugin": chosen.name, **shown(chosen.config, self._at(*place), at)}

    def _shown_limit(self, chosen: Chosen) -> Any:
        written = self._at("risk", chosen.name)
        if isinstance(written.value, dict):
            return shown(chosen.config, written, (*self._place, "risk", chosen.name))
        wrapped = Written({LIMIT: written})
        plain = shown(chosen.config, wrapped, (*self._place, "risk", chosen.name))
        return plain[LIMIT] if list(plain) == [LIMIT] else plain
