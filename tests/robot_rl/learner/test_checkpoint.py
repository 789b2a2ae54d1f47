"""Checkpoints: atomic, checksummed, and clear about what does not fit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.learner.algorithms import rlpd
from robot_rl.learner.checkpoint import (
    CheckpointError,
    leaves_to_tree,
    load,
    load_latest,
    save,
    tree_to_leaves,
)

TREE = {"a": jnp.arange(3.0), "b": (jnp.int32(4), jnp.ones((2, 2)))}


def same(one, two) -> bool:
    return jax.tree.all(jax.tree.map(lambda x, y: x.dtype == y.dtype and bool((x == y).all()), one, two))


def test_an_agent_survives_the_round_trip_bit_for_bit(tmp_path) -> None:
    state = rlpd.create(jax.random.PRNGKey(3), Layout(4, 2), rlpd.RlpdConfig(hidden=(8, 8)))
    save(tmp_path, 7, state, {"note": "x"})
    found = load_latest(tmp_path)
    assert found.meta == {"note": "x"} and found.skipped == ()
    blank = rlpd.create(jax.random.PRNGKey(0), Layout(4, 2), rlpd.RlpdConfig(hidden=(8, 8)))
    assert not same(blank, state)
    assert same(leaves_to_tree(blank, found.leaves), state)


def test_only_the_newest_are_kept(tmp_path) -> None:
    for number in range(5):
        save(tmp_path, number, TREE, {"number": number}, keep=2)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["000000000003.checkpoint", "000000000004.checkpoint"]
    assert load_latest(tmp_path).meta["number"] == 4


def test_what_lies_beyond_the_point_fallen_back_to_is_removed_and_so_is_what_a_killed_writer_left(tmp_path) -> None:
    for number in (1, 5, 6):
        save(tmp_path, number, TREE, {"number": number})
    for path in tmp_path.glob("*[56].checkpoint"):
        path.write_bytes(b"damaged")
    (tmp_path / ".000000000007.checkpoint.1-1").write_bytes(b"half")
    assert load_latest(tmp_path).meta["number"] == 1
    save(tmp_path, 2, TREE, {"number": 2}, keep=1)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["000000000002.checkpoint"]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_newest_falls_back_with_a_message(tmp_path, damage) -> None:
    save(tmp_path, 1, TREE, {"number": 1})
    path = save(tmp_path, 2, TREE, {"number": 2})
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes({"flip": bytes(data), "cut": bytes(data[:-9]), "empty": b""}[damage])
    found = load_latest(tmp_path)
    assert found.meta["number"] == 1
    assert len(found.skipped) == 1
    assert "000000000002.checkpoint" in found.skipped[0] and "falling back" in found.skipped[0]
    (tmp_path / "000000000001.checkpoint").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint can be read"):
        load_latest(tmp_path)


def test_a_half_written_file_is_not_a_checkpoint(tmp_path) -> None:
    assert load_latest(tmp_path / "nowhere") is None
    (tmp_path / ".000000000009.checkpoint.1-1").write_bytes(b"half")
    assert load_latest(tmp_path) is None


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ({"a": jnp.zeros(4), "b": TREE["b"]}, r"\['a'\] is float32 \(3,\) in the checkpoint, float32 \(4,\)"),
        ({"a": jnp.zeros(3, jnp.int32), "b": TREE["b"]}, r"\['a'\] is float32"),
        ({"a": TREE["a"], "b": TREE["b"], "c": TREE["a"]}, r"lacks \['c'\]"),
        ({"a": TREE["a"]}, r"has \['b'\]\[0\]"),
    ],
)
def test_the_leaf_that_differs_is_named(template, named) -> None:
    with pytest.raises(CheckpointError, match=named):
        leaves_to_tree(template, tree_to_leaves(TREE))


def test_a_directory_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="not written"):
        save(tmp_path / "file", 1, TREE, {})
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(tmp_path / "nothing")


def test_leaves_are_copies() -> None:
    leaves = tree_to_leaves(TREE)
    leaves["['a']"][0] = 9.0
    assert np.array_equal(TREE["a"], [0.0, 1.0, 2.0])
