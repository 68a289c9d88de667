"""Every key misspelt and every type wrong, one after the other, in the configuration that ships."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmkit.config import load_config
from mmkit.errors import ConfigError, Mistake

SHIPPED = Path(__file__).resolve().parents[2] / "user_data" / "config.yml"
PLAIN: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
Place = tuple[str | int, ...]


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every key and list item, from the top down."""
    steps = (
        list(value)
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else []
    )
    for step in steps:
        yield (*at, step)
        yield from places(value[step], (*at, step))


PLACES = list(places(PLAIN))
KEYS = [place for place in PLACES if isinstance(place[-1], str)]
LEAVES = [place for place in PLACES if not any(other[:-1] == place for other in PLACES)]
WRONG: dict[str, Any] = {
    "a list": [1],
    "keys and values": {"a": 1},
    "true": True,
    "'nonsense, surely'": "nonsense, surely",
}
# Where such a value is right.
FREE = {
    (("sim", "partial_fills"), "true"),
    (("instrument", "venue"), "'nonsense, surely'"),
    (("plugins", "disabled"), "a list"),
}


def dotted(place: Place) -> str:
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in place).lstrip(".")


def holder(data: Any, place: Place) -> Any:
    for step in place[:-1]:
        data = data[step]
    return data


def line_of(text: str, place: Place) -> int:
    """The line of a key, by PyYAML's own account."""
    node, line = yaml.compose(text), 0
    for step in place:
        if isinstance(node, yaml.MappingNode):
            key, node = next((k, v) for k, v in node.value if k.value == step)
            line = key.start_mark.line + 1
        else:
            assert isinstance(node, yaml.SequenceNode)
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def mistakes_of(data: Any, path: Path) -> tuple[str, tuple[Mistake, ...]]:
    text = yaml.safe_dump(data, sort_keys=False)
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_config([path])
    return text, raised.value.mistakes


def test_the_configuration_that_ships_has_no_mistakes() -> None:
    config = load_config([SHIPPED])
    assert (config.strategy.name, config.venue.name) == ("skewed", "paper")


@pytest.mark.parametrize("place", KEYS, ids=dotted)
def test_a_misspelt_key_is_named_with_its_line_and_the_nearest_name(
    place: Place, tmp_path: Path
) -> None:
    data = copy.deepcopy(PLAIN)
    inside, key = holder(data, place), str(place[-1])
    misspelt = key[:-1] + "_" + key[-1]
    entries = [(misspelt if name == key else name, value) for name, value in inside.items()]
    inside.clear()
    inside.update(entries)

    text, mistakes = mistakes_of(data, tmp_path / "config.yml")

    there = (*place[:-1], misspelt)
    assert len(mistakes) == 1, [str(mistake) for mistake in mistakes]
    assert mistakes[0].where == f"{tmp_path / 'config.yml'}:{line_of(text, there)}"
    assert mistakes[0].path == dotted(there)
    assert f"did you mean '{key}'?" in str(mistakes[0])


@pytest.mark.parametrize(
    ("place", "wrong"),
    [(place, wrong) for place in LEAVES for wrong in WRONG if (place, wrong) not in FREE],
    ids=lambda value: value if isinstance(value, str) else dotted(value),
)
def test_a_value_of_the_wrong_type_is_named_with_its_line_what_was_expected_and_what_found(
    place: Place, wrong: str, tmp_path: Path
) -> None:
    data = copy.deepcopy(PLAIN)
    holder(data, place)[place[-1]] = WRONG[wrong]

    text, mistakes = mistakes_of(data, tmp_path / "config.yml")

    first, said = mistakes[0], str(mistakes[0])
    assert first.path.startswith(dotted(place)), said
    assert first.where == f"{tmp_path / 'config.yml'}:{line_of(text, place)}"
    if first.path == dotted(place):
        assert len(mistakes) == 1, [str(mistake) for mistake in mistakes]
        assert "expected" in said or " named " in said, said
        assert wrong in said, said
    else:  # a risk check may be given as keys and values: it is these that are wrong
        assert place[0] == "risk"
        assert {m.path for m in mistakes} == {f"{dotted(place)}.a", f"{dotted(place)}.limit"}
    assert "Input" not in said, "pydantic's words"


@pytest.mark.parametrize("place", [place for place in PLACES if len(place) == 1], ids=dotted)
def test_a_section_of_the_wrong_type_is_one_mistake(place: Place, tmp_path: Path) -> None:
    data = {**PLAIN, place[-1]: 7}
    _, mistakes = mistakes_of(data, tmp_path / "config.yml")
    assert [mistake.path for mistake in mistakes] == [place[-1]]
    assert "found 7" in mistakes[0].message


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    data = copy.deepcopy(PLAIN)
    data["instrument"]["market"] = "spto"
    data["strategy"]["plugin"] = "skewd"
    data["sim"]["queue"]["model"] = "pwoer"
    data["sim"]["fees"]["makr"] = data["sim"]["fees"].pop("maker")
    data["risk"]["stale_after"] = 5
    data["servces"] = data.pop("services")
    _, mistakes = mistakes_of(data, tmp_path / "config.yml")
    assert sorted(mistake.path for mistake in mistakes) == [
        "instrument.market",
        "risk.stale_after",
        "servces",
        "sim.fees.makr",
        "sim.queue.model",
        "strategy.plugin",
    ]
