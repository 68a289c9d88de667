"""How a run is told things from another terminal: a socket in its folder, which only its owner may use.

One request on a line, one answer on a line, each a JSON object; the connection stays open until either side ends, so
that who has asked for the end sees it. Whether a process is behind the socket, and which, is for the system to say: a
run that was killed leaves a file that refuses connections, one that hangs has a process and does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import msgspec

from mmkit.errors import RunError

SOCKET = "control.sock"
Wish: TypeAlias = Literal["stop", "pause", "resume", "state"]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run is told to do.

    Attributes:
        do: ``stop``: cancel everything and end; ``pause``, ``resume``; ``state``: nothing, only say how it is.
    """

    do: Wish


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is.

    Attributes:
        run_id: Name of its folder.
        process: Its number.
        mode: ``dry_run`` or ``live``.
        state: In words, such as ``quoting``.
        orders: Orders that may still trade.
        error: Why it did not do what it was told; empty if it did.
    """

    run_id: str
    process: int
    mode: str
    state: str
    orders: int
    error: str = ""


class Controlled(Protocol):
    """A run that can be told things."""

    def wish(self, wish: Wish) -> Standing:
        """Do it, or begin to, and say how it is then."""


_ASKED = msgspec.json.Decoder(Asked)


@contextlib.asynccontextmanager
async def controlled(folder: Path, run: Controlled) -> AsyncIterator[None]:
    """Listen to what the run is told until the block ends.

    Raises:
        RunError: if the socket cannot be made.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
                while line := await reader.readline():
                    try:
                        standing = run.wish(_ASKED.decode(line).do)
                    except msgspec.MsgspecError as error:
                        standing = msgspec.structs.replace(run.wish("state"), error=str(error))
                    writer.write(msgspec.json.encode(standing) + b"\n")
                    await writer.drain()
        except asyncio.CancelledError:
            # The loop ends, and with it this. Python 3.11 logs a connection that ends canceled as an error, with a traceback.
            return
        finally:
            # With the run, not with the process, which may have to wait for a terminal to take its last words.
            writer.close()

    with _socket() as listening:
        try:
            with _short(folder) as near:
                listening.bind(near)
            os.chmod(folder / SOCKET, stat.S_IRUSR | stat.S_IWUSR)
            listening.listen()
        except OSError as error:
            raise RunError(
                f"{folder / SOCKET}: the run cannot be told to stop from elsewhere: {error}; name another "
                "folder with '--userdir'"
            ) from error
        server = await asyncio.start_unix_server(serve, sock=listening)
        try:
            yield
        finally:
            server.close()
            (folder / SOCKET).unlink(missing_ok=True)


class Running:
    """A run that goes on, or hangs.

    Args:
        folder: Of the run.
        connection: To its socket.
    """

    def __init__(self, folder: Path, connection: socket.socket) -> None:
        self.folder, self._connection = folder, connection
        self.process = _process_behind(connection)

    def ask(self, wish: Wish, within_s: float = 3.0) -> Standing | None:
        """Tell it something; return its answer, `None` if there is none in time."""
        self._connection.settimeout(within_s)
        try:
            self._connection.sendall(msgspec.json.encode(Asked(wish)) + b"\n")
            with self._connection.makefile("rb") as answers:
                line = answers.readline()
        except OSError:
            return None
        return msgspec.json.decode(line, type=Standing) if line.endswith(b"\n") else None

    def ended(self, within_s: float) -> bool:
        """Wait for its end; return whether it came."""
        self._connection.settimeout(within_s)
        try:
            while self._connection.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass  # reset: there is nobody any more
        return True

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def running(userdir: Path, run_id: str | None = None) -> list[Running]:
    """Return the runs that go on, or hang, the newest first; only that of a name if one is given."""
    found = []
    for path in sorted((userdir / "results").glob(f"{run_id or '*'}/{SOCKET}"), reverse=True):
        connection = _socket()
        connection.settimeout(1.0)
        try:
            with _short(path.parent) as near:
                connection.connect(near)
        except OSError:
            # Left by a process that was killed.
            connection.close()
            continue
        found.append(Running(path.parent, connection))
    return found


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Give a name of the folder's socket that is short enough: the system takes no more than 107 bytes."""
    path = str(folder / SOCKET)
    if len(os.fsencode(path)) < 100 or not Path("/proc/self/fd").is_dir():
        yield path
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def _process_behind(connection: socket.socket) -> int | None:
    """Return the number of the process that listens; `None` where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    process: int = struct.unpack("3i", credentials)[0]
    return process or None
