"""Agents that see: the encoder in RLPD's losses, who teaches it, and that what is seen decides what is done."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout, Observation
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent
from robot_rl.learner.algorithms import lagrangian, rlpd
from robot_rl.learner.algorithms.lagrangian import LagrangianConfig
from robot_rl.learner.algorithms.rlpd import RlpdConfig
from robot_rl.learner.networks import encoder, mlp
from robot_rl.policies.base import ActorPolicy
from robot_rl.policies.serving import AgentActor

TINY = RlpdConfig(hidden=(5, 4), critics=3, subset=2, discount=0.9, initial_temperature=0.3)
COSTLY = LagrangianConfig(hidden=(5, 4), critics=3, subset=2, initial_multiplier=2.0)
SIZE = (9, 6)
N, A = 6, 2


def layout_of(state_size: int) -> Layout:
    return Layout(state_size, A, {"front": SIZE})


def tiny(state_size: int = 3, config: RlpdConfig = TINY) -> rlpd.RlpdState:
    """A small agent whose targets differ from what they follow."""
    state = rlpd.create(jax.random.PRNGKey(0), layout_of(state_size), config)
    rng = np.random.default_rng(0)
    stirred = jax.tree.map(
        lambda p: p + jnp.asarray(0.1 * rng.normal(size=p.shape), p.dtype),
        (state.actor, state.encoder, state.critics, state.target_encoder, state.target_critics),
    )
    actor, encoder_params, critics, target_encoder_params, target_critics = stirred
    return state._replace(
        actor=actor,
        encoder=encoder_params,
        critics=critics,
        target_encoder=target_encoder_params,
        target_critics=target_critics,
    )


def batch_of(*lead: int, state_size: int = 3, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    images = [{"front": rng.integers(0, 256, (*lead, *SIZE, 3), dtype=np.uint8)} for _ in range(2)]
    return Batch(
        state=rng.normal(size=(*lead, state_size)).astype(np.float32),
        action=rng.uniform(-1, 1, (*lead, A)).astype(np.float32),
        reward=rng.normal(size=lead).astype(np.float32),
        mask=(rng.random(lead) < 0.7).astype(np.float32),
        next_state=rng.normal(size=(*lead, state_size)).astype(np.float32),
        images=images[0],
        next_images=images[1],
        columns={
            "cost": rng.random(lead).astype(np.float32),
            "recent_cost": np.full(lead[:-1], 0.03, np.float32),
        },
    )


step = jax.jit(partial(rlpd.critic_step, config=TINY))


def one(batch: Batch, index: int) -> Batch:
    return jax.tree.map(lambda column: column[index], batch)


def largest(tree) -> float:
    return max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("state_size", [3, 0], ids=["both", "images only"])
def test_the_critic_step_differentiates_the_encoder_against_a_target_by_the_target_encoder(state_size: int) -> None:
    """Adam's first moment is 0.1 times the first gradient, which shows what was differentiated, and by what."""
    state, batch = tiny(state_size), batch_of(1, N, state_size=state_size)

    @jax.jit
    def reference(state: rlpd.RlpdState, first: Batch):
        key = jax.random.split(state.key, 3)[2]
        seen = encoder.augment(jax.random.fold_in(key, 2), first)
        following = encoder.features(state.target_encoder, seen.next_state, seen.next_images)
        target = rlpd.critic_target(key, state, seen._replace(next_state=following), TINY)

        def loss(encoder_params, critics):
            features = encoder.features(encoder_params, seen.state, seen.images)
            return ((mlp.critics_apply(critics, features, seen.action) - target) ** 2).mean()

        return jax.value_and_grad(loss, (0, 1))(state.encoder, state.critics), target.mean()

    (loss, wanted), target = reference(state, one(batch, 0))
    after, info = rlpd.update(state, batch, config=TINY)
    for slopes, moments in zip(wanted, after.critic_optimiser[0].mu, strict=True):
        for name, slope in slopes.items():
            np.testing.assert_allclose(moments[name], 0.1 * slope, rtol=1e-3, atol=1e-6, err_msg=name)
    assert largest(wanted[0]["front/k0"]) > 1e-5
    np.testing.assert_allclose(info["critic/loss"], loss, rtol=1e-4)
    np.testing.assert_allclose(info["critic/target_mean"], target, rtol=1e-4)
    for name, old in state.target_encoder.items():
        expected = old + TINY.target_rate * (after.encoder[name] - old)
        np.testing.assert_allclose(after.target_encoder[name], expected, rtol=1e-5, atol=1e-7)
    assert np.isfinite(info["encoder/norm"]) and info["encoder/norm"] > 1.0


def test_the_actor_takes_the_features_of_the_last_critic_step_and_teaches_the_encoder_nothing() -> None:
    state, batch = tiny(), batch_of(2, N)
    after, _ = rlpd.update(state, batch, config=TINY)
    keys = jax.random.split(state.key, 4)
    before_last, _ = step(state, keys[2], one(batch, 0))
    last, (seen, _) = step(before_last, keys[3], one(batch, 1))
    images = encoder.augment(jax.random.fold_in(keys[3], 2), one(batch, 1)).images
    features = encoder.features(before_last.encoder, batch.state[1], images)
    np.testing.assert_allclose(seen.state, features, atol=1e-5)
    assert seen.images is None and seen.next_images is None

    slopes = jax.jit(jax.grad(rlpd.actor_loss, has_aux=True))
    for name, slope in slopes(state.actor, keys[1], last.critics, state.log_alpha, seen)[0].items():
        np.testing.assert_allclose(after.actor_optimiser[0].mu[name], 0.1 * slope, rtol=1e-3, atol=1e-6)
    for mine, theirs in zip(
        jax.tree.leaves((after.encoder, after.critic_optimiser)),
        jax.tree.leaves((last.encoder, last.critic_optimiser)),
        strict=True,
    ):  # the actor's step leaves both as the critic steps did
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_terminal_step_is_worth_its_reward_whatever_comes_after_is_seen() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(1)
    other = batch_of(N, seed=1).next_images
    ended, cut = (batch._replace(mask=np.full(N, m, np.float32)) for m in (0, 1))
    target = lambda b: float(step(state, key, b)[1][1]["critic/target_mean"])  # noqa: E731
    assert target(ended) == pytest.approx(batch.reward.mean(), rel=1e-6)
    assert target(ended._replace(next_images=other)) == target(ended)
    assert abs(target(cut) - target(ended)) > 1e-4
    assert target(cut._replace(next_images=other)) != target(cut)


def test_the_costs_do_not_teach_the_encoder() -> None:
    state = lagrangian.create(jax.random.PRNGKey(0), layout_of(3), COSTLY)
    batch = batch_of(2, N)
    changed = (batch, batch._replace(columns=batch.columns | {"cost": 0 * batch.columns["cost"]}))
    dear, cheap = (lagrangian.update(state, b, config=COSTLY)[0] for b in changed)
    assert jax.tree.all(jax.tree.map(np.array_equal, dear.rlpd.critic_optimiser, cheap.rlpd.critic_optimiser))
    assert not np.array_equal(dear.cost_optimiser[0].mu["w0"], cheap.cost_optimiser[0].mu["w0"])
    assert dear.cost_critics["w0"].shape[1] == 3 + encoder.EMBEDDING + A  # and yet they see


def test_one_seed_one_result() -> None:
    state, batch = tiny(), batch_of(2, N)
    first, second = (rlpd.update(state, batch, config=TINY)[0] for _ in range(2))
    assert jax.tree.all(jax.tree.map(np.array_equal, first, second))
    other, _ = rlpd.update(state._replace(key=jax.random.PRNGKey(7)), batch, config=TINY)
    assert not np.array_equal(first.encoder["front/k0"], other.encoder["front/k0"])


# A dot at p, uniform in [−0.8, 0.8]², in an image; reward 1 − ‖a − p‖², one step. Who sees it earns 1. Who does not
# earns at most 1 − E‖p‖² = 1 − 2 · 0.8²/3 = 0.573, by a = 0.
SIDE, REACH = 16, 0.8
BLIND = 1.0 - 2.0 * REACH**2 / 3.0


def dots(rng: np.random.Generator, *lead: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions ``(…, 2)`` (right, down) and images ``(…, SIDE, SIDE, 3)`` of them."""
    position = rng.uniform(-REACH, REACH, (*lead, 2)).astype(np.float32)
    grid = (np.arange(SIDE) + 0.5) / SIDE * 2.0 - 1.0
    across, down = (grid - position[..., i, None] for i in range(2))
    glow = np.exp(-(across[..., None, :] ** 2 + down[..., :, None] ** 2) / (2 * 0.15**2))
    return position, (40 + 200 * glow[..., None] * [1.0, 0.4, 0.1]).astype(np.uint8)


def earned(agent: Agent, updates: int, blind: bool) -> float:
    """Mean reward of the deterministic policy, as it is served, on dots that it has never seen."""
    layout = Layout(0, 2, {"front": (SIDE, SIDE)})
    state = agent.create(jax.random.PRNGKey(0), layout)
    rng = np.random.default_rng(0)
    lead = agent.updates_per_call, 64
    nothing, ones = np.zeros((*lead, 0), np.float32), np.ones(lead, np.float32)
    for _ in range(updates):
        position, image = dots(rng, *lead)
        action = rng.uniform(-1, 1, (*lead, 2)).astype(np.float32)
        images = {"front": np.full_like(image, 128) if blind else image}
        batch = Batch(
            state=nothing,
            action=action,
            reward=1 - ((action - position) ** 2).sum(-1),
            mask=0 * ones,
            next_state=nothing,
            valid=ones,
            images=images,
            next_images=images,
            columns={
                "cost": 0 * ones,
                "recent_cost": np.zeros(lead[0], np.float32),
                "previous_action": action,
            },
        )
        state, info = agent.update(state, batch)
    assert all(np.isfinite(float(value)) for value in info.values())
    policy = ActorPolicy(AgentActor(agent, layout, agent.actor(state), (0,)), 0, True)
    position, image = dots(np.random.default_rng(1), 300)
    if blind:
        image = np.full_like(image, 128)
    seen = (Observation(0, 0, nothing[0, 0], {"front": one}) for one in image)
    acted = np.stack([policy.act([observation]).actions[0] for observation in seen])
    return float(1 - ((acted - position) ** 2).sum(-1).mean())


SEEING = RlpdConfig(hidden=(32, 32), critics=2, learning_rate=2e-3, target_entropy=-4.0, critic_steps=4)


@pytest.mark.slow
def test_who_sees_the_dot_reaches_it_and_who_does_not_cannot() -> None:
    agent = rlpd.make_agent(SEEING)
    seeing, blind = (earned(agent, 200, blind) for blind in (False, True))
    assert seeing > 0.95
    assert blind < BLIND + 0.04  # three standard errors of a mean of 300


@pytest.mark.slow
@pytest.mark.parametrize("agent", [rlpd.make_agent(SEEING), lagrangian.make_agent(LagrangianConfig(**vars(SEEING)))])
def test_the_dot_is_reached_closely(agent: Agent) -> None:
    assert earned(agent, 1500, blind=False) > 0.99
