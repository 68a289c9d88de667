"""The folder of a saved signal model: ``card.json`` (`mmkit.learning.Card`), and the files that it vouches for.

Written whole or not at all. Read without running anything that lies in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mmkit.errors import DataError, RunError
from mmkit.learning.card import CARD, VERSION, Card
from mmkit.learning.card import read_card as read_card  # noqa: PLC0414 - handed on

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def save(
    folder: Path,
    files: Mapping[str, bytes],
    card: Mapping[str, Any],
    *,
    plugin: str,
    names: tuple[str, ...],
    window: int,
) -> dict[str, Any]:
    """Write a model and its card; return the card as written.

    All is written beside `folder` and takes its place at once. What lies there and is no part of the old model,
    such as a report, stays.

    Args:
        folder: Where the model will be.
        files: The model's files, by name.
        card: What else the card says, as JSON has it.
        plugin: Who can read it.
        names: The features, in order.
        window: How many samples it needs.

    Raises:
        DataError: if that is no card.
        RunError: if the disk does not take it; a model that was there is as before.
    """
    told = {
        **card,
        "version": VERSION,
        "plugin": plugin,
        "names": names,
        "window": window,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    try:
        whole = msgspec.convert(told, Card)
    except msgspec.ValidationError as error:
        raise DataError(
            f"the card of a model of '{plugin}': {error}; correct what is said of it"
        ) from error
    staged = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        for name, content in {**files, CARD: whole.to_json()}.items():
            _write(staged / name, content)
        _sync(staged)
        _take_place(staged, folder, {*files, CARD})
        _sync(folder.parent)
    except OSError as error:
        why = "the disk is full" if error.errno in _FULL else "cannot be written"
        raise RunError(
            f"{folder}: the model was not saved: {why} ({error.strerror or error}); "
            + ("the model that was there is as before; " if (folder / CARD).exists() else "")
            + "make room or take another folder, and save again"
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    plain: dict[str, Any] = msgspec.json.decode(whole.to_json())
    return plain


def load(folder: Path, plugin: str, *names: str) -> tuple[Card, dict[str, bytes]]:
    """Return the card and the content of the model's files, once they are what the card says.

    Args:
        folder: Where the model was saved.
        plugin: Who wants to read it.
        names: The files that are wanted; all others that the card names are not read.

    Raises:
        DataError: if anything is missing, truncated, changed, or of another plugin or version.
    """
    card = read_card(folder)
    if card.plugin != plugin:
        raise DataError(
            f"{folder}: a model of '{plugin}' was expected; found one of '{card.plugin}'; write "
            f"'plugin: {card.plugin}', or name another folder"
        )
    return card, {name: _checked(folder / name, card) for name in names}


def _checked(path: Path, card: Card) -> bytes:
    expected = card.files.get(path.name)
    if expected is None:
        raise DataError(
            f"{path.parent / CARD}: 'files' was expected to name '{path.name}'; found "
            f"{', '.join(sorted(card.files)) or 'none'}; train again"
        )
    content = _content(path)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(
            f"{path}: SHA-256 {expected[:16]}... was expected, by {CARD}; found {found[:16]}... in {len(content)} "
            "bytes; the file is truncated or was changed: take a copy that is whole, or train again"
        )
    return content


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}; take a copy of the model that is whole, or "
            "train again"
        ) from error


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, or leave what was there.

    Raises:
        OSError: if the disk does not take it.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(part, content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_place(staged: Path, folder: Path, ours: set[str]) -> None:
    if not folder.exists():
        staged.rename(folder)
        return
    old = set[str]()
    with contextlib.suppress(DataError):  # a broken model is replaced like a whole one
        old = set(read_card(folder).files)
    _exchange(staged, folder)
    for path in staged.iterdir():
        if path.name not in ours | old:
            path.rename(folder / path.name)


def _exchange(staged: Path, folder: Path) -> None:
    """Let two folders change places. Linux does it at once, others in three steps."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE: renameat2(2)
        if renameat2(here, os.fsencode(staged), here, os.fsencode(folder), exchange) == 0:
            return
        code = ctypes.get_errno()
        if code not in {errno.EINVAL, errno.ENOSYS}:  # what a file system says that cannot
            raise OSError(code, os.strerror(code))
    aside = staged.with_suffix(".old")
    folder.rename(aside)
    try:
        staged.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    aside.rename(staged)
