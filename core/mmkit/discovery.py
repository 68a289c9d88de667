"""Where plugins come from, and what there is to say about one.

They come from entry points of the group ``mmkit`` and from the files of the user's folder.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmkit.errors import PluginError
from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from mmkit.interfaces import Provider, Strategy

GROUP = "mmkit"
FOLDERS = ("plugins", "strategies")
USERDIR = "user_data"
OURS = f"{Path(__file__).parent}{os.sep}"
"""Where the core's own files are."""


@dataclass(frozen=True)
class Found:
    """A plugin that exists and has not been imported.

    Attributes:
        name: The entry point's name, or the file's stem.
        version: Of the distribution; ``-`` for a file.
        origin: Distribution and version, or the file's path.
        load: Imports it; returns what is registered with pluggy.
        mentions: Tells, without importing it, whether its source may speak of a hook.
    """

    name: str
    version: str
    origin: str
    load: Callable[[], object]
    mentions: Callable[[str], bool]


@dataclass(frozen=True)
class Offer:
    """One thing a plugin offers.

    Attributes:
        kind: Such as ``strategy``; ``command`` and ``hook`` besides those of `mmkit.plugins.KINDS`.
        name: How the YAML asks for it.
        summary: What it is, in one line; may be empty.
        why_not: Why it cannot be used and what to do; empty if it can.
    """

    kind: str
    name: str
    summary: str = ""
    why_not: str = ""

    @property
    def available(self) -> bool:
        """Whether the configuration can ask for it."""
        return not self.why_not


@dataclass(frozen=True)
class PluginInfo:
    """One plugin, for ``mmkit plugins``.

    Attributes:
        name: The entry point's name, or the file's stem.
        version: Of its distribution; ``-`` for a file.
        origin: Distribution and version, or the file's path.
        offers: What it offers.
        error: Why it is broken, in one line; `None` if it is not.
        traceback: The whole traceback of a broken one.
        disabled: Whether ``plugins.disabled`` names it; it was not imported then.
    """

    name: str
    version: str
    origin: str
    offers: tuple[Offer, ...] = ()
    error: str | None = None
    traceback: str = ""
    disabled: bool = False


def installed() -> Iterator[Found]:
    """Find the entry points of the group ``mmkit``, in order of their names."""
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=GROUP), key=_order):
        name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "-")
        yield Found(
            entry.name,
            version,
            f"{name} {version}",
            entry.load,
            _Mentions(_source_of(entry.module)),
        )


def files(userdir: Path) -> Iterator[Found]:
    """Find the user's own: ``plugins/*.py``, then ``strategies/*.py``.

    Files whose names start with ``_`` or ``test_`` are none.
    """
    for folder in FOLDERS:
        for path in sorted((userdir / folder).glob("*.py")):
            if not path.name.startswith(("_", "test_")):
                load = _FileLoad(path, strategies=folder == "strategies")
                yield Found(path.stem, "-", str(path), load, _Mentions(path))


def userdir_of(config: Path) -> Path:
    """Return the folder of a configuration file if it looks like a user's folder, else ``user_data``."""
    folder = config.parent
    looks = folder.resolve().name == USERDIR or any((folder / name).is_dir() for name in FOLDERS)
    return folder if looks else Path(USERDIR)


def reason_of(error: BaseException) -> str:
    """Return in one line what went wrong while foreign code ran, and in which line of it."""
    if isinstance(error, SyntaxError) and error.filename:
        line = (error.text or "").strip()
        shown = f": {line}" if line else ""
        return f"{error.filename}:{error.lineno}: {error.msg}{shown}"
    if isinstance(error, PluginError):
        return str(error)
    words = " ".join(str(error).split())
    frame = next(
        (f for f in reversed(traceback.extract_tb(error.__traceback__)) if _is_foreign(f.filename)),
        None,
    )
    place = f" ({frame.filename}:{frame.lineno})" if frame else ""
    return f"{type(error).__name__}{': ' if words else ''}{words}{place}"


def _is_foreign(filename: str) -> bool:
    return not filename.startswith(("<", OURS)) and f"{os.sep}importlib{os.sep}" not in filename


def _order(entry: EntryPoint) -> tuple[str, str]:
    return entry.name, entry.dist.name if entry.dist else ""


def _source_of(module: str) -> Path | None:
    # By hand, because `find_spec` of a submodule imports its parents.
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest and spec.origin:
        return Path(spec.origin)
    for location in spec.submodule_search_locations or ():
        path = Path(location).joinpath(*rest)
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


@dataclass(frozen=True)
class _Mentions:
    path: Path | None

    def __call__(self, word: str) -> bool:
        if self.path is None or self.path.suffix != ".py":
            return True  # nobody knows, so it has to be imported
        try:
            return word.encode() in self.path.read_bytes()
        except OSError:
            return True


@dataclass(frozen=True)
class _FileLoad:
    """Imports a file of the user's folder under a name that no other file has."""

    path: Path
    strategies: bool

    def __call__(self) -> ModuleType:
        path = self.path.resolve()
        # The path's checksum keeps two folders' files of one name apart.
        name = f"mmkit_user_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
        spec = importlib.util.spec_from_file_location(name, self.path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        before = sys.modules.get(name)
        sys.modules[name] = module  # dataclasses and pydantic look a class's module up
        try:
            spec.loader.exec_module(module)
            if self.strategies:
                _register_classes(module, self.path)
        except BaseException:
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before
            raise
        return module


def _register_classes(module: ModuleType, path: Path) -> None:
    """Give a strategy file that registers nothing itself the hook that offers its classes."""
    if hasattr(module, "register_strategies"):
        return
    from mmkit.interfaces import Strategy

    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Strategy)
        and value.__module__ == module.__name__
    ]
    whole = [cls for cls in own if not getattr(cls, "__abstractmethods__", None)]
    if not whole:
        if any(getattr(value, f"{GROUP}_impl", None) for value in vars(module).values()):
            return
        if own:
            missing = ", ".join(f"'{name}'" for name in sorted(own[0].__abstractmethods__))
            raise PluginError(f"{path}: class '{own[0].__name__}' does not define {missing}")
        raise PluginError(
            f"{path}: defines no Strategy; a class such as 'class Mine(Strategy)' with a method "
            "'quote' was expected ('mmkit new strategy NAME' writes one)"
        )
    providers = [_provider(cls, path, alone=len(whole) == 1) for cls in whole]

    @hookimpl
    def register_strategies() -> list[Provider[Any, Strategy]]:
        return providers

    vars(module)["register_strategies"] = register_strategies


def _provider(cls: type[Strategy], path: Path, *, alone: bool) -> Provider[Any, Strategy]:
    from mmkit.interfaces import Provider, StrategyConfig

    name = getattr(cls, "name", None)
    if not isinstance(name, str):
        name = path.stem if alone else _snake_case(cls.__name__)
    if not (isinstance(cls.Config, type) and issubclass(cls.Config, StrategyConfig)):
        raise PluginError(
            f"{path}: the Config of strategy '{name}' must be a subclass of StrategyConfig"
        )
    summary = (cls.__doc__ or "").strip().partition("\n")[0]
    return Provider(name, cls.Config, cls, summary)


def _snake_case(name: str) -> str:
    parts = [
        f"_{char.lower()}"
        if char.isupper() and index and not name[index - 1].isupper()
        else char.lower()
        for index, char in enumerate(name)
    ]
    return "".join(parts)
