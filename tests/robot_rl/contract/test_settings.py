"""Settings: read by their annotations, refused in one line that says what would fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Gt, Le
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.contract.ranges import Count, Positive, RangeError, Share, Widths, check
from robot_rl.contract.settings import (
    ConfigError,
    make_settings,
    nested,
    plain,
    put_over,
    read_mapping,
    read_yaml,
    write_yaml,
)
from robot_rl.jobs.config import RunConfig, load_config, save_config


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A constructor of its own, without annotated bounds, as those of the controller."""

    radius: float = 0.1

    def __post_init__(self) -> None:
        if not self.radius > 0.0:
            raise ValueError(f"radius must be positive, not {self.radius}")


@dataclasses.dataclass(frozen=True)
class Cart:
    name: str = "cart"
    wheels: Count = 4
    load: Positive | None = None
    slope: Annotated[float, Gt(-1), Le(1)] = 0.0
    kind: Literal["steel", "wood"] = "wood"
    share: Share | Literal["rest"] = "rest"
    widths: Widths = (3,)
    braked: bool = False
    wheel: Wheel = dataclasses.field(default_factory=Wheel)
    spares: tuple[Wheel, ...] = ()

    def __post_init__(self) -> None:
        check(self)
        if self.wheels > 8:
            raise RangeError(f"wheels={self.wheels} must be at most 8")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("wheels=3", 3),
        ("wheels=6e0", 6),
        ("wheels=2.0", 2),
        ("wheels='5'", 5),
        ("load=1e-3", 1e-3),
        ("load=2", 2.0),
        ("load=null", None),
        ("share=rest", "rest"),
        ("share=1", 1.0),
        ("widths=4,2", (4, 2)),
        ("widths=[4, 2]", (4, 2)),
        ("widths=7", (7,)),
        ("name=12", "12"),
        ("name=030522070123", "030522070123"),
        ("name=2020-01-01", "2020-01-01"),
        ("braked=true", True),
    ],
)
def test_values_are_read_as_their_annotations_say(override: str, value: Any) -> None:
    found = getattr(put_over(Cart(), nested([override])), override.partition("=")[0])
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("wheels=0", "wheels=0 must be an integer from 1 to 2147483647"),
        ("wheels=1.5", "wheels=1.5 must be an integer from 1 to 2147483647"),
        ("wheels=true", "wheels=True must be an integer from 1 to 2147483647"),
        ("wheels=1e400", "wheels=inf must be an integer from 1 to 2147483647"),
        ("wheels=9", "wheels=9 must be at most 8"),
        ("load=.nan", "load=nan must be a number above 0 or null"),
        ("load=nan", "load='nan' must be a number above 0 or null"),
        ("slope=-1", "slope=-1 must be a number above -1 and at most 1"),
        ("kind=iron", "kind='iron' must be one of steel, wood"),
        ("share=2", "share=2 must be a number from 0 to 1 or rest"),
        ("widths=", "widths='' must be one or more values, each an integer from 1 to 2147483647"),
        ("widths=4,x", "widths='4,x' must be one or more values, each an integer from 1 to 2147483647"),
        ("braked=1", "braked=1 must be true or false"),
        ("name=[a]", "name=['a'] must be text"),
        ("wheel=3", "wheel is a group of keys (wheel.<key>=value), not 3"),
        ("wheel.radius=-1", "wheel: radius must be positive, not -1.0"),
        ("wheel.radus=1", "unknown key wheel.radus; did you mean wheel.radius? (valid: radius)"),
        ("spares=3", "spares is a list of groups of keys, not 3"),
        ("spares=[{radius: 0}]", "spares[0]: radius must be positive, not 0.0"),
        ("whels=1", "unknown key whels; did you mean wheels? (valid: "),
        ("=1", "unknown key '' (valid: "),
        ("wheels=[1", "wheels=[1 has a value that is no YAML: expected ',' or ']'"),
        ("name=@", "name=@ has a value that is no YAML: found character '@'"),
        ("name=&a [*a]", "name=&a [*a] has a value that is no YAML: Circular reference"),
        ("wheels", "override 'wheels' must have the form key=value"),
    ],
)
def test_a_refusal_names_key_and_value_and_says_what_would_fit(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        put_over(Cart(), nested([override]))
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("length", [400, 5000])
def test_a_value_of_any_length_is_cut_short_in_the_message(length: int) -> None:
    for key in ("wheels", "load", "name.x", "wheel.radius"):
        with pytest.raises(ConfigError) as refused:
            put_over(Cart(), nested([f"{key}={'9' * length}"]))
        assert key.partition(".")[0] in str(refused.value) and len(str(refused.value)) < 400


def test_a_group_within_a_list_is_made_of_its_keys() -> None:
    assert put_over(Cart(), nested(["spares=[{radius: 0.2}, {}]"])).spares == (Wheel(0.2), Wheel())
    assert make_settings(Cart, {"wheel": {"radius": 1}}).wheel == Wheel(1.0)


@pytest.mark.parametrize("changes", [{"wheels": 0}, {"load": float("inf")}, {"kind": "iron"}, {"widths": ()}])
def test_code_cannot_make_settings_that_the_command_line_refuses(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(RangeError, match=f"^{name}="):
        Cart(**changes)


def test_text_that_looks_like_a_number_survives_a_file(tmp_path: Path) -> None:
    values = {"a": ["0123", "1e4", "1:30", "2020-01-01", "0x1f", "12", ".5", "null", "true"], "b": [1e-7, 12, 1e300]}
    write_yaml(tmp_path / "a" / "values.yaml", values)
    assert read_mapping(tmp_path / "a" / "values.yaml") == values


def keys(value: Any, prefix: str = "") -> list[str]:
    if not isinstance(value, dict):
        return [prefix]
    return [prefix, *(key for name, item in value.items() for key in keys(item, f"{prefix}.{name}".lstrip(".")))]


KEYS = [*keys(plain(RunConfig())), "learner.settings.discount", "learner.settings.a.b", "session.horizon.x", "..", "x"]
PIECES = ["1", "-", "e400", ".", "nan", ".inf", "[", "]", "{", "}", ":", ",", "&a ", "*a", "!!set ", "!!int ", "@", "a"]
TEXT = st.lists(st.sampled_from([*PIECES, "9" * 400, '"', "'", "\t", "\0", "é", "true", "null", "?", "%", "#"])).map(
    "".join
)


@given(st.lists(st.tuples(st.sampled_from(KEYS), TEXT | st.text(max_size=8)), min_size=1, max_size=3))
def test_no_value_of_any_key_ends_in_anything_but_a_configuration_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, given_values: list[tuple[str, str]]
) -> None:
    try:
        config = load_config(None, [f"{key}={text}" for key, text in given_values])
    except ConfigError as error:
        assert len(str(error)) < 1500 and "\n" not in str(error)
        return
    path = tmp_path_factory.getbasetemp() / "accepted.yaml"
    save_config(config, path)
    assert repr(plain(load_config(path))) == repr(plain(config)), "what is accepted is read back as it was"


@given(st.binary(max_size=60) | TEXT.map(str.encode))
def test_no_file_ends_in_anything_but_a_configuration_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        load_config(path)
    except ConfigError as error:
        assert str(path) in str(error)


def test_yaml_keeps_its_words() -> None:
    assert read_yaml("{a: null, b: true, c: [1, 0x10, -2.5e3, .inf]}") == {
        "a": None,
        "b": True,
        "c": [1, 16, -2500.0, float("inf")],
    }
