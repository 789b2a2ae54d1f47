"""SmallVLA: its loss computed by hand, its gradients against differences, its words, and what it refuses."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from websockets.sync.client import connect

from robot_rl.contract import ActionSpec, Field, Memory, Observation, Planned
from robot_rl.contract.ranges import RangeError
from robot_rl.data.parameters import ParameterError, pack, unpack
from robot_rl.perception.encoders import make_encoder
from robot_rl.policies.vla.card import check, is_vla, packed
from robot_rl.policies.vla.config import VlaConfig
from robot_rl.policies.vla.examples import Episode, Examples, padded
from robot_rl.policies.vla.network import Context, Seen, SmallVla
from robot_rl.policies.vla.policy import VlaPolicy, load_vla
from robot_rl.policies.vla.seeing import cell_shape, cells_of
from robot_rl.policies.vla.training import chance_of_each, drawn_loss, fit, split, unread
from robot_rl.policies.vla.words import SIZE, make_words
from robot_rl.policies.wire import packing as wire
from robot_rl.policies.wire.columns import Columns
from robot_rl.policies.wire.observing import Observing
from robot_rl.policies.wire.server import Offer, PolicyServer, names_of
from tests.robot_rl.recording import Felt

SMALL = VlaConfig(horizon=4, width=16, heads=2, layers=1, blocks=1, unread=0.0, draws=2, steps=3, every=3)
CELLS = {"wrist": (4, 6)}
TASK = Felt()
IMAGES = {"wrist": (32, 32)}


def network(config: VlaConfig = SMALL, cells: Mapping[str, tuple[int, int]] = CELLS, seed: int = 0) -> SmallVla:
    torch.manual_seed(seed)
    return SmallVla(config, cells, 5, 2)


def grown(made: SmallVla) -> SmallVla:
    """The same with none of its weights 0, as after some steps."""
    with torch.no_grad():
        for value in made.parameters():
            value.add_(0.1 * torch.randn(value.shape))
    return made


def seen(count: int = 3, text: str = "touch the red cube", seed: int = 0) -> Seen:
    rng = torch.Generator().manual_seed(seed)
    words, read = padded([make_words().encode(text)] * count)
    cells = {name: torch.randn(count, *shape, generator=rng) for name, shape in CELLS.items()}
    return Seen(cells, words, read, torch.randn(count, 5, generator=rng))


def context(count: int = 1) -> Context:
    return Context(torch.randn(count, 3, SMALL.width), torch.ones(count, 3, dtype=torch.bool))


def test_the_flow_loss_is_the_one_computed_by_hand() -> None:
    made = network()
    with torch.no_grad():
        made.expert.outputs.bias.copy_(torch.tensor([0.5, -1.0]))  # v = (0.5, −1) whatever is asked
    chunk, noise = torch.zeros(1, 4, 2), torch.zeros(1, 4, 2)
    chunk[0, 0], noise[0, 0] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    chunk[0, 1] = torch.tensor([3.0, 3.0])
    time = torch.rand(1, 4)
    first = made.loss(context(), chunk, torch.tensor([[1.0, 0.0, 0.0, 0.0]]), noise, time)
    assert first.item() == pytest.approx(((0.5 - 1.0) ** 2 + (-1.0 + 2.0) ** 2) / 2)
    both = made.loss(context(), chunk, torch.tensor([[1.0, 1.0, 0.0, 0.0]]), noise, time)
    assert both.item() == pytest.approx((0.25 + 1.0 + 6.25 + 16.0) / 4)
    assert made.loss(context(), chunk, torch.zeros(1, 4), noise, time).item() == 0.0


def test_a_known_field_is_integrated_from_noise_to_actions() -> None:
    made = network()
    with torch.no_grad():
        made.expert.outputs.bias.copy_(torch.tensor([0.5, -2.0]))
    noise = torch.full((1, 4, 2), 0.25)
    chunk = made.sample(context(), noise)
    assert chunk[0, :, 0].tolist() == pytest.approx([0.75] * 4)
    assert chunk[0, :, 1].tolist() == [-1.0] * 4, "clipped"
    given = torch.full((1, 2, 2), 0.1)
    assert torch.equal(made.sample(context(), noise, given)[:, :2], given)
    assert made.sample(context(), noise, given)[0, 2:, 0].tolist() == pytest.approx([0.75] * 2)


def test_gradients_are_those_of_finite_differences_and_reach_everything_that_learns() -> None:
    made, look = grown(network()).double(), seen(2)
    look = Seen({k: v.double() for k, v in look.cells.items()}, look.words.double(), look.read, look.state.double())
    rng = torch.Generator().manual_seed(1)
    chunk, noise = (torch.randn(4, 4, 2, generator=rng, dtype=torch.float64) for _ in range(2))
    time, weight = torch.rand(4, 4, generator=rng, dtype=torch.float64), torch.ones(4, 4, dtype=torch.float64)

    def loss() -> torch.Tensor:
        return made.loss(made.context(look), chunk, weight, noise, time)

    loss().backward()
    silent = [name for name, value in made.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []
    for name in ("words.weight", "cells.wrist.weight", "expert.blocks.0.own.weight", "expert.time.weight"):
        value = made.get_parameter(name)
        with torch.no_grad():
            place = np.unravel_index(int(value.grad.abs().argmax()), tuple(value.shape))
            slopes = []
            for step in (1e-6, -1e-6):
                value[place] += step
                slopes.append(loss().item())
                value[place] -= step
        assert value.grad[place].item() == pytest.approx((slopes[0] - slopes[1]) / 2e-6, rel=1e-4), name


def test_chunks_with_a_context_in_common_are_as_those_that_have_it_each() -> None:
    made, look = grown(network()).eval(), seen(2)
    x, time = torch.randn(4, 4, 2), torch.rand(4, 4)
    shared = made.context(look)
    each = Context(*(part.repeat_interleave(2, 0) for part in shared))
    assert torch.allclose(made.expert(shared, x, time), made.expert(each, x, time), atol=1e-6)


def test_an_action_has_a_time_of_its_own() -> None:
    made, x, time = grown(network()).eval(), torch.randn(1, 4, 2), torch.full((1, 4), 0.3)
    before = made.expert(context_ := context(), x, time)
    time[0, 1] = 1.0
    after = made.expert(context_, x, time)
    assert (before - after).abs().amax(2)[0].argmax().item() == 1


def test_what_is_read_decides_and_what_is_unread_does_not() -> None:
    made = grown(network()).eval()
    noise = torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(0))
    red, blue, silent = (
        made.sample(made.context(seen(1, text)), noise) for text in ("touch the red cube", "touch the blue cube", "")
    )
    assert not torch.allclose(red, blue, atol=1e-3) and not torch.allclose(red, silent, atol=1e-3)
    look = seen(1)
    with torch.no_grad():
        hidden = look._replace(read=torch.zeros_like(look.read))
        assert torch.allclose(made.sample(made.context(hidden), noise), silent, atol=1e-5)
    assert made.features(look).shape == (1, SMALL.width)


def test_words_are_vectors_that_nobody_normalises_twice() -> None:
    words = make_words()
    found = words.encode("  Touch the RED cube ")
    assert np.array_equal(found, words.encode("touch the red cube"))
    assert found.shape == (4, SIZE) and found.dtype == np.float32
    assert np.allclose(found.mean(1), 0.0, atol=1e-5) and np.allclose(found.std(1), 1.0, atol=1e-2)
    assert words.encode("").shape == (0, SIZE)
    assert len(words.encode("cube " * 100)) == 32
    assert len(words.encode("ж")) > 0, "any text has pieces"


def test_a_cell_has_features_and_the_colours_of_its_quarters() -> None:
    encoder = make_encoder("efficientnet_lite0")
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, :8, 24:] = (255, 0, 0)  # the right upper quarter of the right upper cell
    cells = cells_of(encoder, image)
    assert cells.shape == (1, *cell_shape(encoder, 32)) == (1, 4, 124)
    colours = cells[0, :, -12:].reshape(4, 4, 3)
    assert colours[1, 1].tolist() == [1.0, -1.0, -1.0]
    assert (np.delete(colours.reshape(16, 3), 5, 0) == -1.0).all()
    assert np.array_equal(cells[..., :112].reshape(1, 2, 2, 112), encoder.encode(image))
    assert not any(value.requires_grad for value in encoder._layers.parameters())


def episodes(store: int = 0, count: int = 4, length: int = 6) -> list[Episode]:
    """The same pictures and states each time; where to go, only the words say."""
    rng = np.random.default_rng(7)
    cells = rng.normal(size=(length, *CELLS["wrist"])).astype(np.float16)
    states = rng.normal(size=(length, 5)).astype(np.float32)
    found = []
    for number in range(count):
        side = (-1.0, 1.0)[number % 2]
        actions = np.tile(np.array([[0.8 * side, 0.2]], np.float32), (length, 1))
        said = "go left" if side < 0 else "move to the right"
        found.append(Episode(store, number, said, {"wrist": cells}, states, actions))
    return found


def test_chunks_end_with_their_episode() -> None:
    given = episodes(count=2, length=3)
    given[1].actions[:] = [[0.1, 0.0], [0.2, 0.0], [0.3, 0.0]]
    batch = Examples(given, make_words(), 4).take(torch.tensor([1, 4]))
    assert batch.weight.tolist() == [[1.0, 1.0, 0.0, 0.0]] * 2
    assert batch.chunk[1, :, 0].tolist() == pytest.approx([0.2, 0.3, 0.3, 0.3])
    assert batch.seen.read.sum(1).tolist() == [2, 4]
    assert batch.seen.words.shape == (2, 4, SIZE)


def test_it_learns_to_do_as_it_is_told() -> None:
    config = dataclasses.replace(SMALL, width=32, steps=150, batch=16, learning_rate=5e-3, warm_up=5, every=75)
    fitted = fit(config, episodes(), episodes(count=2), make_words(), seed=0)
    assert [look.step for look in fitted.looks] == [75, 150]
    assert fitted.looks[-1].held_out < 0.2, "of noise alone the loss is 1.3"
    shown = Examples(episodes(count=2), make_words(), 4).take(torch.tensor([0, 6]))
    context = fitted.network.context(shown.seen)
    chunk = fitted.network.sample(context, torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0)))
    assert chunk[:, :, 0].mean(1).tolist() == pytest.approx([-0.8, 0.8], abs=0.25)


def test_given_actions_do_not_count_and_words_may_be_left_out() -> None:
    made, batch = grown(network()), Examples(episodes(), make_words(), 4).take(torch.arange(4))
    none, some = (
        drawn_loss(made, batch, dataclasses.replace(SMALL, prefix=d), torch.Generator().manual_seed(0)).item()
        for d in (0, 3)
    )
    assert none != some
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(unread(batch, 0.0, generator).seen.read, batch.seen.read)
    assert not unread(batch, 0.999999, generator).seen.read.any()


def test_stores_are_drawn_by_their_weights_and_each_holds_out_one() -> None:
    stores = np.array([0, 0, 0, 1])
    assert chance_of_each(stores, ()).tolist() == pytest.approx([1 / 6] * 3 + [1 / 2])
    assert chance_of_each(stores, (3.0, 1.0)).tolist() == pytest.approx([1 / 4] * 4)
    learning, held_out = split(episodes(0, 3) + episodes(1, 20) + episodes(2, 1), 0.1, seed=0)
    assert [one.store for one in held_out] == [0, 1, 1]
    assert len(learning) == 24 - 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 20, "heads": 4}, "width=20 must be a multiple of twice heads=4"),
        ({"executed": 9}, "executed=9 must be at most horizon=8"),
        ({"prefix": 8}, "prefix=8 must be less than horizon=8"),
        ({"unread": 1.0}, "unread=1.0 must be"),
        ({"weights": (0.0, 0.0)}, r"weights=\[0.0, 0.0\] must not all be 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RangeError, match=said):
        VlaConfig(**settings)


@pytest.fixture(scope="module")
def data() -> bytes:
    """A policy for `Felt` that has learnt nothing, but has no weight that is 0."""
    cells = {"wrist": cell_shape(make_encoder("efficientnet_lite0"), 32)}
    params = {name: value.numpy() for name, value in grown(network(cells=cells)).state_dict().items()}
    return packed(params, TASK, ["reach", "press"], {"wrist": 32}, SMALL)


def test_a_loaded_policy_acts_by_what_it_is_told(data: bytes) -> None:
    assert is_vla(data)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 32, 3), np.uint8)
    look = Observation(5, 1, rng.normal(size=5).astype(np.float32), {"wrist": image})
    answers = {}
    for text in ("touch the red cube", "touch the red cube ", "lift it", ""):
        policy, memory = load_vla(data, TASK, 3, IMAGES), Memory()
        memory.see(policy, look, 0, text)
        answers[text] = memory.ask(policy)
    chunk = answers["lift it"]
    assert chunk.actions.shape == (2, 2) and chunk.stamp_ns == 5 and chunk.version == SMALL.steps
    assert np.array_equal(answers["touch the red cube"].actions, answers["touch the red cube "].actions)
    assert not np.allclose(answers["lift it"].actions, answers["touch the red cube"].actions, atol=1e-4)
    assert not np.allclose(answers["lift it"].actions, answers[""].actions, atol=1e-4)
    assert policy.vla.features(look.state, look.images).shape == (SMALL.width,)
    with pytest.raises(ParameterError, match=r"camera wrist: the policy needs an image \(32, 32, 3\), not none"):
        policy.act([Observation(0, 0, look.state)])
    with pytest.raises(ParameterError, match=r"state has shape \(4,\); the policy is for \(5,\)"):
        policy.act([Observation(0, 0, look.state[:4], look.images)])


def test_new_words_begin_anew_in_the_midst_of_an_episode(data: bytes) -> None:
    policy, memory, said = load_vla(data, TASK, 0, IMAGES), Memory(), list[str]()

    class Heard(VlaPolicy):
        def begin(self, instruction: str) -> None:
            said.append(instruction)

    heard = Heard(policy.vla, 0)
    for seq, text in enumerate(("lift it", "lift it", "push it"), start=1):
        memory.see(heard, Observation(seq, seq, np.zeros(5, np.float32)), 0, text)
    assert said == ["lift it", "push it"]


def test_a_plan_is_taken_up_by_a_policy_that_learnt_to(data: bytes) -> None:
    found = unpack(data)
    meta = found.meta | {"settings": found.meta["settings"] | {"prefix": 2, "executed": 4}}
    policy = load_vla(pack(found.params, 1, meta), TASK, 0, IMAGES)
    planned = Planned(np.full((3, 2), 0.3, np.float32), 2)
    look = Observation(0, 0, np.zeros(5, np.float32), {"wrist": np.zeros((32, 32, 3), np.uint8)}, planned)
    assert policy.act([look]).actions[:2].tolist() == [pytest.approx([0.3, 0.3])] * 2


def test_openpis_client_tells_it_what_to_do_by_the_prompt(data: bytes) -> None:
    names, policy = names_of(TASK, IMAGES), load_vla(data, TASK, 0, IMAGES)
    observing = Observing(names, TASK.fields, IMAGES)
    offer = Offer(policy, names, observing, Columns(names, TASK.action, TASK.control_period, TASK.fields))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    seen = {"observation/image/wrist": image, "observation/position": np.zeros(3), "observation/force": np.zeros(2)}
    answers = []
    with PolicyServer(offer).at("127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with connect(f"ws://127.0.0.1:{server.socket.getsockname()[1]}", compression=None, proxy=None) as client:
                client.recv(30.0)
                for prompt in ("lift the red cube", "push the blue one away"):
                    client.send(wire.pack({**seen, "prompt": prompt}, wire.OPENPI))
                    answers.append(wire.unpack(client.recv(30.0), wire.OPENPI)["actions"])
        finally:
            server.shutdown()
            thread.join()
    assert answers[0].shape == (2, 2)
    assert np.abs(answers[0] - answers[1]).max() > 1e-6, "of at most 0.01 m"
    policy = load_vla(data, TASK, 0, IMAGES)
    policy.begin("lift the red cube")
    alone = policy.act([Observation(0, 0, np.zeros(5, np.float32), {"wrist": image})])
    np.testing.assert_allclose(answers[0], 0.01 * alone.actions, atol=1e-6)


class Other(Felt):
    pass


def other(**changes: Any) -> Felt:
    task = Other()
    for name, value in changes.items():
        setattr(task, name, value)
    return task


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "lift"}, "it has learnt the tasks reach, press, but this run has task 'lift'"),
        ({"fields": Felt.fields[::-1]}, "trained with fields .* but this run has fields"),
        ({"fields": (Field("position", 3, 1.0), Felt.fields[1])}, "trained with fields"),
        ({"action": ActionSpec(("x", "z"), (0.01, 0.01))}, r"trained with axes \['x', 'y'\]"),
        ({"action": ActionSpec(("x", "y"), (0.01, 0.02))}, "trained with scale"),
        ({"control_period": 0.05}, "trained with control_period 0.1, but this run has control_period 0.05"),
    ],
)
def test_a_task_that_it_does_not_fit_is_refused(data: bytes, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        check(data, other(**changes), IMAGES)


def test_another_task_that_it_has_learnt_fits(data: bytes) -> None:
    check(data, other(name="press"), IMAGES)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder": "abc"}, "trained by image encoder abc, and this computer's is"),
        ({"words": "abc"}, "trained by text encoder abc"),
        ({"settings": {"width": 7}}, "no SmallVLA of this version acts by them: .*width=7"),
        ({"settings": {"wide": 7}}, "no SmallVLA of this version acts by them: .*wide"),
        ({"tasks": None}, "no SmallVLA of this version acts by them: .*not iterable"),
    ],
)
def test_what_was_made_by_others_is_refused(data: bytes, change: dict[str, Any], said: str) -> None:
    found = unpack(data)
    with pytest.raises(ParameterError, match=said):
        check(pack(found.params, 1, found.meta | change), TASK, IMAGES)


def test_other_images_and_features_in_their_place_are_refused(data: bytes) -> None:
    with pytest.raises(ParameterError, match=r"it needs images of wrist; this run has cameras=\['front'\]"):
        check(data, TASK, {"front": (32, 32)})
    with pytest.raises(ParameterError, match=r"camera wrist: it needs images of \(32, 32\), not \(64, 64\)"):
        check(data, TASK, {"wrist": (64, 64)})
    with pytest.raises(ParameterError, match="leave out encoder="):
        check(data, TASK, {"wrist": (2, 2, 112)}, "digest")
    with pytest.raises(ParameterError, match="checksum"):
        is_vla(data[:-1] + b"\0")


def test_parameters_of_other_shapes_or_not_finite_are_refused_by_name(data: bytes) -> None:
    found = unpack(data)
    params = dict(found.params)
    params["felt"], params["more"] = np.full((1, 16), np.nan, np.float32), np.zeros(1, np.float32)
    params["words.bias"] = np.zeros(3, np.float32)
    del params["order"]
    said = r"felt is not finite, more is unknown, order is missing, words.bias is \(3,\), not \(16,\)"
    with pytest.raises(ParameterError, match=said):
        load_vla(pack(params, 1, found.meta), TASK, 0, IMAGES)
