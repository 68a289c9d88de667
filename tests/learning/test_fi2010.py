from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mmkit.errors import DataError
from mmkit.learning import read_fi2010
from mmkit.learning.fi2010 import HORIZONS

Table = npt.NDArray[np.float64]


def a_table(columns: int = 300, seed: int = 1) -> Table:
    """149 rows in the form of the data set; labels follow from the mids as its authors describe."""
    dice = np.random.default_rng(seed)
    table = dice.random((149, columns))
    mid = 20 + np.cumsum(dice.normal(0, 0.05, columns))
    table[0], table[2] = mid + 0.01, mid - 0.01
    for row, events in enumerate(HORIZONS):
        for column in range(columns):
            ahead = mid[column + 1 : column + 1 + events // 10]
            move = ahead.mean() / mid[column] - 1 if len(ahead) else 0.0
            table[144 + row, column] = 1 if move > 0.002 else 3 if move < -0.002 else 2
    return table


def written(tmp_path: Path, table: Table) -> Path:
    path = tmp_path / "Train_Dst_NoAuction_DecPre_CF_1.txt"
    np.savetxt(path, table, fmt="%.7e", delimiter="   ")
    return path


def test_a_file_gives_features_by_sample_and_classes_in_our_order(tmp_path: Path) -> None:
    table = a_table()
    found = read_fi2010(written(tmp_path, table))
    np.testing.assert_allclose(found.values, table[:144].T, rtol=1e-7)
    assert found.values.flags.c_contiguous
    assert found.names[:5] == (
        "ask_price_1",
        "ask_size_1",
        "bid_price_1",
        "bid_size_1",
        "ask_price_2",
    )
    assert found.names[39:41] == ("bid_size_10", "f41")
    assert len(found.names) == len(set(found.names)) == 144
    ours = {1: 2, 2: 1, 3: 0}
    for row, events in enumerate(HORIZONS):
        assert found.horizon(events).tolist() == [ours[int(one)] for one in table[144 + row]]
        assert found.drift(events) > 0


def test_a_file_with_up_and_down_exchanged_is_seen_by_its_drift(tmp_path: Path) -> None:
    table = a_table()
    table[144:] = 4 - table[144:]
    assert read_fi2010(written(tmp_path, table)).drift(10) < 0


def test_a_file_that_is_not_of_the_form_is_refused(tmp_path: Path) -> None:
    table = a_table(20)
    wrong_label, infinite = table.copy(), table.copy()
    wrong_label[146, 4], infinite[7, 3] = 4, np.inf
    for bad, words in (
        (table[:148], "149 lines were expected, 144 features and 5 of labels; found 148"),
        (np.vstack((table, table[:1])), ":150: 149 lines were expected; found more"),
        (wrong_label, r"line 147, column 5: a label of 1 \(up\).*found 4"),
        (infinite, ":8: a finite number was expected in column 4; found 'inf'"),
    ):
        with pytest.raises(DataError, match=words):
            read_fi2010(written(tmp_path, bad))
    path = written(tmp_path, table)
    text = path.read_text().splitlines()
    for line, words in (
        (
            text[3].rsplit(maxsplit=1)[0],
            ":4: 20 numbers were expected, as in the first line; found 19",
        ),
        (text[3].replace("e", "x", 1), ":4: a number was expected in column 1; found"),
    ):
        path.write_text("\n".join([*text[:3], line, *text[4:]]))
        with pytest.raises(DataError, match=words):
            read_fi2010(path)
    with pytest.raises(DataError, match="No such file"):
        read_fi2010(tmp_path / "none.txt")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="text was expected"):
        read_fi2010(path)


def test_a_horizon_that_is_not_in_the_files_is_refused(tmp_path: Path) -> None:
    found = read_fi2010(written(tmp_path, a_table(9)))
    with pytest.raises(DataError, match="10, 20, 30, 50, 100 events was expected; found 1"):
        found.horizon(1)
    with pytest.raises(DataError, match="more than 10 columns were expected; found 9"):
        found.drift(100)
