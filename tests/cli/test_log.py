import logging
import re

import pytest

from mmkit.log import set_up_log


@pytest.mark.parametrize(
    ("verbose", "level", "shown"),
    [
        (0, "info", ["info", "error"]),
        (0, "error", ["error"]),
        (1, "error", ["debug", "info", "error"]),
        (2, "info", ["debug", "info", "error", "wire"]),
    ],
)
def test_the_log_shows_what_was_asked_for(
    verbose: int, level: str, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_log(verbose, level)
    logger = logging.getLogger("mmkit.example")
    logger.debug("debug")
    logger.info("info")
    logger.error("error")
    logging.getLogger("websockets.client").debug("wire")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in lines] == shown
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ +[a-z.]+ [a-z]+"
    assert all(re.fullmatch(form, line) for line in lines)
