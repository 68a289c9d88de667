"""A real HTTP server on 127.0.0.1 that keeps what it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """What has arrived.

    Attributes:
        url: As apprise has it, with a user, a password and a token in its path.
        secrets: The parts of it that nobody may see.
        messages: As apprise sent them.
        status: What is answered from now on.
        slow: Nothing is answered before this is set.
    """

    def __init__(self, port: int) -> None:
        self.secrets = ("p4ssw0rd", "t0kenOfMine", "us3rname")
        self.url = f"json://us3rname:p4ssw0rd@127.0.0.1:{port}/hooks/t0kenOfMine"
        self.messages: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status = 200
        self.slow = threading.Event()
        self.slow.set()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Listen until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.paths.append(self.path)
            kept.messages.append(json.loads(body))
            kept.slow.wait(10)
            self.send_response(kept.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield kept
    finally:
        kept.slow.set()
        server.shutdown()
        thread.join()
        server.server_close()
