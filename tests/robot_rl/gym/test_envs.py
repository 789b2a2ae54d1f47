from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from hardware.franka.collision import CollisionThresholds
from robot_rl.contract import AgentView, ContractError, Reading
from robot_rl.gym.envs import IDS, RobotEnv
from robot_rl.session.errors import SessionError
from robot_rl.session.reset import ResetMotion, ResetStep
from robot_rl.tasks import TASKS, make_task


@pytest.fixture
def reach() -> Iterator[RobotEnv]:
    env = RobotEnv("reach", horizon=6)
    yield env
    env.close()


def rollout(env: gymnasium.Env, seed: int, steps: int = 25) -> list[np.ndarray]:
    """States and rewards of ``steps`` random steps, over the ends of episodes."""
    rng = np.random.default_rng(seed)
    state, _ = env.reset(seed=seed)
    seen = [state]
    for _ in range(steps):
        action = rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)
        state, reward, terminated, truncated, _ = env.step(action)
        seen += [state, np.array(reward)]
        if terminated or truncated:
            state, _ = env.reset()
            seen.append(state)
    return seen


def test_all_tasks_are_registered_and_can_be_made() -> None:
    names = {"".join(part.title() for part in task.split("_")): task for task in TASKS.builtin}
    assert {f"robot_rl/{name}-v0": task for name, task in names.items()} == IDS
    env = gymnasium.make("robot_rl.gym.envs:robot_rl/Reach-v0")
    try:
        state, _ = env.reset(seed=0)
        assert state in env.observation_space
        check_env(env.unwrapped, skip_render_check=True)
    finally:
        env.close()


def test_same_seed_gives_the_same_bits_in_one_environment_and_in_another(reach: RobotEnv) -> None:
    first = rollout(reach, seed=3)
    again = rollout(reach, seed=3)
    with_another = RobotEnv("reach", horizon=6)
    try:
        rollout(with_another, seed=4, steps=3)  # a past must not matter
        elsewhere = rollout(with_another, seed=3)
    finally:
        with_another.close()
    for one, two, three in zip(first, again, elsewhere, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_other_seeds_start_elsewhere(reach: RobotEnv) -> None:
    starts = [reach.reset(seed=seed)[0] for seed in (1, 2)]
    next_start, _ = reach.reset()
    assert np.abs(starts[0] - starts[1]).max() > 0.1
    assert np.abs(next_start - starts[1]).max() > 0.1


def test_time_limit_truncates_and_does_not_terminate(reach: RobotEnv) -> None:
    reach.reset(seed=1)
    for step in range(6):
        _, reward, terminated, truncated, info = reach.step(np.zeros(3))
        assert (reward, terminated, truncated) == (0.0, False, step == 5)
        assert np.abs(info.pop("executed_action")).max() < 1e-6
    assert info == {"success": False, "ending": "timeout"}
    with pytest.raises(SessionError, match="observation"):
        reach.step(np.zeros(3))


def test_reaching_the_goal_terminates_with_a_reward() -> None:
    env = RobotEnv("reach")
    try:
        state, _ = env.reset(seed=2)
        done = False
        while not done:
            to_goal = state[:3] / 10.0  # undo the scale of the field
            state, reward, terminated, truncated, info = env.step(np.clip(to_goal / 0.01, -1.0, 1.0))
            done = terminated or truncated
        assert (reward, terminated, truncated) == (1.0, True, False)
        assert info["success"]
    finally:
        env.close()


def test_a_reflex_is_a_failure_and_the_next_episode_begins() -> None:
    env = RobotEnv("peg_insertion", collision=CollisionThresholds(force=(8.0,) * 6))
    try:
        before, _ = env.reset(seed=0)
        terminated = False
        while not terminated:
            state, reward, terminated, truncated, info = env.step(np.array([1.0, 1.0, -1.0, 0.0], np.float32))
            assert not truncated
            before = before if terminated else state
        assert (reward, info["success"], info["ending"]) == (0.0, False, "failure")
        assert "cartesian_reflex" in info["reason"] and not np.array_equal(state, before)
        env.reset()
        *_, truncated, info = env.step(np.zeros(4, np.float32))
        assert not truncated and info.keys() == {"executed_action"}
    finally:
        env.close()


def test_the_action_that_the_workspace_left_is_told() -> None:
    env = RobotEnv("reach")
    try:
        env.reset(seed=0)
        told = [env.step(np.array([0.5, 0.0, -1.0], np.float32))[4]["executed_action"] for _ in range(40)]
        np.testing.assert_allclose(told[0], [0.5, 0.0, -1.0], atol=1e-5)
        assert told[-1][2] > -0.5, "the workspace ends below"
    finally:
        env.close()


def test_an_arm_that_does_not_recover_from_short_episodes_is_put_back_with_a_warning() -> None:
    env = RobotEnv("peg_insertion", collision=CollisionThresholds(force=(0.5,) * 6))
    try:
        env.reset(seed=0)
        with pytest.warns(UserWarning, match="attempts to recover the arm.*put where it was at the beginning"):
            for _ in range(6):
                terminated = truncated = False
                while not (terminated or truncated):
                    *_, terminated, truncated, _ = env.step(np.array([1.0, 1.0, -1.0, 0.0], np.float32))
                env.reset()
        assert "executed_action" in env.step(np.zeros(4, np.float32))[4]
    finally:
        env.close()


def test_an_arm_that_cannot_be_reset_is_put_back_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    env = RobotEnv("reach")
    try:
        env.reset(seed=0)
        for _ in range(10):
            env.step(np.ones(3, np.float32))
        monkeypatch.setattr(ResetMotion, "step", jammed(ResetMotion.step, times=1))
        with pytest.warns(UserWarning, match="in the way.*put where it was at the beginning"):
            state, _ = env.reset()
        assert env.observation_space.contains(state) and not env.step(np.zeros(3, np.float32))[2]
        monkeypatch.setattr(ResetMotion, "step", jammed(ResetMotion.step, times=1))
        with pytest.raises(SessionError, match="in the way"):
            env.reset(seed=1)
    finally:
        env.close()


def jammed(step: Callable[..., ResetStep], times: int) -> Callable[..., ResetStep]:
    """``ResetMotion.step`` that gives up ``times`` times first."""
    left = iter(range(times))

    def give_up(motion: ResetMotion, reading: Reading) -> ResetStep:
        taken = step(motion, reading)
        return taken if next(left, None) is None else taken._replace(failure="is something in the way?")

    return give_up


def test_images_belong_to_the_observation_and_the_scene_can_be_drawn() -> None:
    env = RobotEnv("reach", cameras=("front",), image_size=32, render_mode="rgb_array")
    try:
        observation, _ = env.reset(seed=0)
        assert observation in env.observation_space
        assert np.ptp(observation["front"]) > 0
        picture = env.render()
        assert picture.shape == (480, 640, 3)
    finally:
        env.close()


def test_fields_of_the_state_can_be_hidden() -> None:
    with contextlib.closing(gymnasium.make("robot_rl/Reach-v0", without=("linear_spring", "tank"))) as env:
        state, _ = env.reset(seed=0)
        task = make_task("reach")
        assert state.shape == env.observation_space.shape == (AgentView(task, ("linear_spring", "tank")).state_size,)
        assert env.step(np.zeros(3, np.float32))[0] in env.observation_space
    with pytest.raises(ContractError, match=r"no field 'springs'; .* did you mean 'linear_spring'"):
        gymnasium.make("robot_rl/Reach-v0", without=("springs",))


def test_cameras_of_a_task_can_be_hidden() -> None:
    with contextlib.closing(gymnasium.make("robot_rl/PickCubeImages-v0", without=("wrist",))) as env:
        assert set(env.observation_space.spaces) == {"state", "front"}
    with contextlib.closing(gymnasium.make("robot_rl/PickCubeImages-v0", without=("wrist", "front"))) as env:
        assert env.reset(seed=0)[0] in env.observation_space and env.observation_space.shape is not None
    with pytest.raises(ContractError, match=r"no field or camera 'wirst'; .* did you mean 'wrist'"):
        gymnasium.make("robot_rl/PickCubeImages-v0", without=("wirst",))
