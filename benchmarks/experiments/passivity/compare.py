"""Passivity-aware against passivity-agnostic training, with the filter off and on at deployment.

As in Zhang, Solak, Hjorth, Ajoudani (arXiv 2503.00287): both learn with the filter off. The aware agent
(`robot_rl.learner.algorithms.lagrangian`) is told as a cost what the filter would have held back, the agnostic one
(`rlpd`) is not. Each is then deployed without the filter and with it.

The default tank is never short in this task, so a tight one is used throughout, and the arm begins each reset and each
episode with a full one. The networks are smaller than the defaults, alike for both agents, so that all seeds can be
trained on one processor core.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiments.passivity.record import RecordedWorld
from controllers.core import ControllerConfig
from controllers.passivity import TankConfig
from controllers.state import Mode
from robot_rl.contract import AgentView, Ending, Policy
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore, StoreReader
from robot_rl.learner.agent import Agent
from robot_rl.learner.domain import TaskDomain
from robot_rl.learner.factory import make_agent
from robot_rl.learner.loop import LearnerLoop, LoopConfig
from robot_rl.policies.loading import load_actor
from robot_rl.session.config import SessionConfig
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks import make_task
from robot_rl.tasks.base import expert_of, scene_of

TASK = make_task("peg_insertion")
SCHEMA = StoreSchema.of(TASK)
DOMAIN = TaskDomain(AgentView(TASK), SCHEMA)
TIGHT = TankConfig(capacity=0.25, reserve=0.02, valve_width=0.05, budget=0.1)
SMALL: dict[str, Any] = {"hidden": [128, 128], "critics": 4}
BATCH = 128
COST_LIMIT = 0.1  # mean share of a step that the aware agent may be held back
DEMOS = 20
IMITATION = 3000  # steps of imitation at most
PUBLISH_EVERY = 10  # update calls between two policies that act, as in a run
EVALUATION_SEED = 1_000_000  # starts that training never saw
ROUNDING = 1e-9  # [J]
FIGURES = {
    "success": "Success",
    "steps": "Steps",
    "violating_episodes": "Episodes with a violation",
    "violating_steps": "Violating steps an episode",
    "activity": "Filter activity",
    "energy": "Energy an episode [J]",
    "force": "Peak force [N]",
}


def make_agents() -> dict[str, Agent]:
    """The two, by the names of the table."""
    return {
        "agnostic": make_agent("rlpd", SMALL),
        "aware": make_agent("rlpd_lagrangian", {**SMALL, "cost_limit": COST_LIMIT}),
    }


class FullTankWorld(RecordedWorld):
    """Begins each reset and each episode with a new motion, hence a full tank: no debt outlives the one who made it."""

    def begin_episode(self) -> None:
        if self.read().mode in (Mode.TRACK, Mode.HOLD):
            self.stop()
            self.start()
        super().begin_episode()


def record(store: Path, seed: int) -> None:
    """`DEMOS` demonstrations of the task's script, with the filter off."""
    with EpisodeStore.create_or_open(store, SCHEMA) as sink, _unfiltered() as world:
        world.start()
        session = Session(TASK, SessionConfig(ask_policy=False, wait_for_person=True), sink, seed)
        rollout = Rollout(session, world, expert_of(TASK))
        while session.episodes < DEMOS:
            rollout.step()


def train(agent: Agent, seed: int, steps: int, demos: Path, online: Path) -> bytes:
    """``steps`` online steps with the filter off; returns the actor's parameters.

    Steps go to the store ``online``, a line an episode to a file of that name with ``.jsonl``.
    """
    learner = LearnerLoop(
        agent,
        DOMAIN,
        demos=[StoreReader(demos, observe=DOMAIN.observe, successes_only=True)],
        online=[StoreReader(online, observe=DOMAIN.observe)],
        config=LoopConfig(utd=float(agent.updates_per_call), imitate=IMITATION, batch_size=BATCH, seed=seed),
    )
    learner.poll()
    with EpisodeStore.create_or_open(online, SCHEMA) as sink, _unfiltered() as world:
        world.start()
        session = Session(TASK, SessionConfig(), sink, seed)
        rollout = Rollout(session, world)
        policy, done = _policy(learner), 0
        costs: list[float] = []
        successes: list[bool] = []
        while done < steps:
            directive = rollout.step(policy)
            if directive.step is not None:
                done += 1
                costs.append(directive.step.cost)
                while learner.step():
                    if learner.version % PUBLISH_EVERY == 0:
                        policy = _policy(learner)
            if directive.ended is not None:
                successes.append(directive.ended.ending is Ending.SUCCESS)
                row = {"steps": done, "success": _mean(successes[-20:]), "cost": _mean(costs[-400:])}
                row |= {key: value for key, value in learner.metrics().items() if key.startswith("cost/")}
                _append(online.with_suffix(".jsonl"), row)
    return learner.parameters()


def evaluate(
    parameters: bytes, tank: TankConfig, count: int, world_type: type[RecordedWorld] = RecordedWorld
) -> dict[str, float]:
    """Figures of the table, by name: ``count`` episodes of the deterministic policy with ``tank``."""
    policy = load_actor(parameters, TASK, seed=0, deterministic=True)
    rows: list[tuple[float, ...]] = []
    with world_type(scene_of(TASK), ControllerConfig(tank=tank, workspace=TASK.workspace)) as world:
        world.start()
        world.recording = False
        rollout = Rollout(Session(TASK, SessionConfig(), None, EVALUATION_SEED), world)
        parts: list[tuple[float, float, float]] = []
        costs: list[float] = []
        while len(rows) < count:
            directive = rollout.advance()
            if directive.step is not None:
                costs.append(directive.step.cost)
            if directive.ended is not None:
                energy, least, force = np.array(parts).T
                success = directive.ended.ending is Ending.SUCCESS
                short = int((least < tank.reserve - ROUNDING).sum())
                rows.append((success, len(parts), short > 0, short, _mean(costs), energy.sum(), force.max()))
                parts, costs = [], []
            if directive.observation is not None:
                world.recording = True
                rollout.act(policy.act([directive.observation]))
                world.recording = False
                if len(trace := world.take()):
                    parts.append((float(trace.delivered[-1]), float(trace.tank.min()), float(trace.felt.max())))
    return dict(zip(FIGURES, np.mean(rows, axis=0).tolist(), strict=True))


def compare(out: Path, seeds: Sequence[int], steps: int, count: int) -> str:
    """Train and deploy both agents with every seed; the table, in Markdown.

    Entries that are in ``out/results.json`` already are not computed again.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    results: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    known = {(row["agent"], row["seed"]) for row in results}
    for seed in seeds:
        for name, agent in make_agents().items():
            if (name, seed) in known:
                continue
            demos, online = out / f"demos-{seed}", out / f"online-{name}-{seed}"
            trained = out / f"{name}-{seed}.params"
            if len(StoreReader(demos).episodes()) < DEMOS:
                shutil.rmtree(demos, ignore_errors=True)
                record(demos, seed)
            if not trained.exists():
                shutil.rmtree(online, ignore_errors=True)  # of a training that was interrupted
                trained.write_bytes(train(agent, seed, steps, demos, online))
            parameters = trained.read_bytes()
            for filtered in (False, True):
                tank = dataclasses.replace(TIGHT, filter=filtered)
                figures = evaluate(parameters, tank, count, FullTankWorld)
                results.append({"agent": name, "seed": seed, "filter": filtered, **figures})
            path.write_text(json.dumps(results, indent=1) + "\n")
    return table(results)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Mean ± standard deviation over the seeds, a line for each agent and filter."""
    lines = [f"| Training | Filter | Seeds | {' | '.join(FIGURES.values())} |", "|---" * (3 + len(FIGURES)) + "|"]
    for agent, filtered in dict.fromkeys((row["agent"], row["filter"]) for row in results):
        rows = [row for row in results if (row["agent"], row["filter"]) == (agent, filtered)]
        cells = [f"{np.mean(v):.3g} ± {np.std(v):.2g}" for v in ([row[name] for row in rows] for name in FIGURES)]
        lines.append(f"| {agent} | {'on' if filtered else 'off'} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _unfiltered() -> FullTankWorld:
    """With the tight tank, its filter off; nothing is recorded."""
    tank = dataclasses.replace(TIGHT, filter=False)
    world = FullTankWorld(scene_of(TASK), ControllerConfig(tank=tank, workspace=TASK.workspace))
    world.recording = False
    return world


def _policy(learner: LearnerLoop) -> Policy:
    """Acts, and explores, by the learner's present parameters."""
    return load_actor(learner.parameters(), TASK, learner.config.seed, deterministic=False)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _append(path: Path, row: Mapping[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({key: round(value, 4) for key, value in row.items()}) + "\n")
