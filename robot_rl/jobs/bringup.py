"""Which processes a job needs: described once, started by `robot-rl` as processes and by ``ros2 launch`` as nodes."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware.scene import LOOK
from hardware.teleop import TELEOP_DEVICES
from robot_rl.contract.files import write_atomically
from robot_rl.contract.ranges import shown
from robot_rl.contract.settings import ConfigError, nearest
from robot_rl.data.store import StoreReader
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import EXPERT, PAGE, job_of, sources
from robot_rl.jobs.locks import RunLock
from robot_rl.jobs.policies import TOPIC, check_evaluated, identity
from robot_rl.jobs.processes import kind_of
from robot_rl.jobs.progress import asked_classifiers, ends_freely, schema_of, view_of
from robot_rl.jobs.remote import check_peers, discovery, patience_of
from robot_rl.jobs.run import Run, policy_file
from robot_rl.jobs.vla import check_improved, vla_base
from robot_rl.rewards.preferred import Card
from robot_rl.rewards.saved import Saved
from robot_rl.ros import topics
from robot_rl.session.judge import check_judge, classifiers_in, with_absolute_paths
from robot_rl.tasks import make_task
from robot_rl.tasks.base import expert_of, scene_of

EXECUTABLE = "robot-rl"
READ_TERMINAL = frozenset({"teleop", "teach"})
RESTARTED = ("learner", "policy", "camera", "force", "encoder", "reward", "teleop", "expert", "console")
OF_LEARNER = (topics.POLICY_PARAMETERS, topics.LEARNER_DEBT, topics.LEARNER_PHASE)  # what policy and session hear of it


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph.

    Attributes:
        name: of the node.
        arguments: after the executable.
        required: the job ends when it ends.
        respawn: it is started again when it crashes; the graph goes on meanwhile.
        optional: the job goes on without it, however it ends.
        terminal: it reads the keys that are typed into the terminal.
        talks: all that it logs is shown at the terminal, not its warnings alone.
        namespace: of its topics.
        remappings: of topics that are not there: (name, topic).
        environment: variables that let it be discovered by the peers, and no others: (name, value).
    """

    name: str
    arguments: tuple[str, ...]
    required: bool = True
    respawn: bool = False
    optional: bool = False
    terminal: bool = False
    talks: bool = False
    namespace: str = ""
    remappings: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    executable: str = EXECUTABLE


def node_names(job: str, config: RunConfig) -> list[str]:
    """Processes of a job, in the order in which they are started; they are stopped in the opposite order."""
    spec = job_of(job)
    if config.source not in spec.sources and config.source not in TELEOP_DEVICES:
        raise ConfigError(
            f"source={shown(config.source)} is unknown; choose from {TELEOP_DEVICES.listed(*spec.sources)}"
            f"{nearest(config.source, (*spec.sources, *TELEOP_DEVICES.names()))}"
        )
    names = ["sim"] if config.arm == "sim" and config.simulator == "own" else []
    if config.remote or config.arm == "sim" or not spec.only_cameras:
        names.append("link" if config.remote else "arm")
    if config.cameras and not config.remote:
        names += ["camera"] if config.arm == "sim" else [f"camera-{name}" for name in config.cameras]
    if spec.only_cameras:
        return [*names, spec.node]
    if config.force.sensor and not config.remote:
        names.append("force")
    if asked_classifiers(job, config):
        names.append("reward")
    if not spec.node:
        return names
    if config.encoder and spec.node == "session":
        names.append("encoder")
    if spec.learns and not config.learner.shared:
        names.append("learner")
    if spec.asks_policy and not (spec.deterministic and config.policy == TOPIC):
        names.append("policy")
    if config.source not in spec.sources:
        names.append("teleop")
    elif config.source == EXPERT and spec.person_drives:
        names.append("expert")
    if shows_page(config):
        names.append("console")
    return [*names, spec.node]


def shows_page(config: RunConfig) -> bool:
    """Whether the operator's page belongs to a job. Raises `ConfigError` when it shall be there and cannot."""
    show = config.console.show
    with_person = config.source != EXPERT or config.arm != "sim"
    wanted = show == "always" or config.source == PAGE
    if show == "never" and config.source == PAGE:
        raise ConfigError("source=console drives from the page, so leave out console.show=never")
    if wanted:
        check_page()
    return wanted or (show == "auto" and with_person and has_page())


def has_page() -> bool:
    """Whether what the page needs is installed."""
    return importlib.util.find_spec("viser") is not None


def check_page() -> None:
    """Raises `ConfigError` where `has_page` is false."""
    if not has_page():
        raise ConfigError("the page needs viser: .venv/bin/pip install -c constraints.txt -e '.[console]'")


def specs(job: str, run: Run, config: RunConfig) -> list[NodeSpec]:
    """The processes of ``job`` for an existing run."""
    learner = f"/{config.learner.shared.strip('/')}".rstrip("/")
    remappings = tuple((topic, f"{learner}/{topic}") for topic in OF_LEARNER) if config.learner.shared else ()
    environment = tuple(discovery(config).items()) if config.peers else ()
    return [
        dataclasses.replace(
            node_spec(name, job, run),
            namespace=config.namespace,
            remappings=remappings if name in ("policy", "session") else (),
            environment=environment,
        )
        for name in node_names(job, config)
    ]


def node_spec(name: str, job: str, run: Run) -> NodeSpec:
    """The process ``name`` of ``job``, by itself."""
    respawn = kind_of(name)[0] in RESTARTED
    arguments = ("node", name, "--run", str(run.root), "--job", job)
    return NodeSpec(
        name,
        arguments,
        required=not respawn,
        respawn=respawn,
        optional=name == "console",
        terminal=name in READ_TERMINAL,
        talks=name == "link" or (name == "arm" and not job_of(job).node),
    )


def opening(job: str, run: Run, config: RunConfig) -> list[str]:
    """The lines that tell a person what begins."""
    spec, lines = job_of(job), [f"{job}: {config.task}, run {run.root}"]
    if spec.deterministic:
        lines.append(f"policy: {policy_file(run, config)}")
    if config.remote:
        lines.append(f"the arm is one that {', '.join(config.peers) or 'another job of this computer'} serves")
    if not spec.node and config.peers:
        lines.append(f"the arm is served to sessions at {', '.join(config.peers)}, with arm=remote; Ctrl-C ends it")
    elif not spec.node:
        service = f"{config.namespace.strip('/')}/start".lstrip("/")
        patience = max(patience_of(config, job), config.controller.first_after, config.controller.damp_after)
        lines.append(f"torque control begins with the service /{service}; Ctrl-C ends it")
        lines.append(f"once started, the arm holds its pose for {patience:g} s until the first setpoint comes")
    return lines


def check_learner(config: RunConfig, root: Path | None) -> None:
    """Raises `ConfigError` when the algorithm cannot work with the settings, or not go on from what the run has learnt.

    Before an arm moves, not after.
    """
    from robot_rl.jobs.learning import check_run
    from robot_rl.learner.factory import make_loop_config

    if (policy := vla_base(config)) is not None:
        check_improved(config, policy, None if root is None else Run(root.absolute()).checkpoints)
        return
    make_loop_config(config.learner, config.seed, images=bool(config.cameras))
    if root is not None:
        check_run(Run(root.absolute()), config)


def check_drawn(cameras: Sequence[str]) -> None:
    """Raises `ConfigError` for a camera that simulated scenes have not."""
    if not cameras:
        return
    from hardware.scene import CAMERAS

    for name in cameras:
        if name not in CAMERAS:
            raise ConfigError(
                f"cameras={shown(tuple(cameras))}: the simulated scene has no camera {shown(name)}; choose from "
                f"{', '.join(CAMERAS)}"
            )


def prepare(job: str, config: RunConfig, root: Path | None, fast: bool = False, lock: RunLock | None = None) -> Run:
    """Check that ``job`` can be done, in process when ``fast``, and make its run's folder, which ``lock`` takes.

    Raises:
        ConfigError: something is missing or does not fit, or another job writes there; the message says what to do.
    """
    if lock is not None and root is not None and Run(root).config_file.exists():
        lock.take(root)
    check_peers(config)
    task = make_task(config.task)
    check_judge(config.judge or task.judge)
    config = dataclasses.replace(config, cameras=tuple(task.views(config.cameras)))
    view_of(task, config)  # raises where it does not fit
    judge = with_absolute_paths(config.judge or task.judge)
    if classifiers_in(judge) and not ends_freely(job, config):
        config = dataclasses.replace(config, judge=judge)
        for folder in classifiers_in(judge):
            Saved.read(folder).check(folder, task.name, task.views(config.cameras))
    if config.preference:
        folder = Path(config.preference).expanduser().absolute()
        config = dataclasses.replace(config, preference=str(folder))
        Card.read(folder).check(folder, task)
    if job_of(job).marks and not config.cameras:
        raise ConfigError(f"a reward classifier sees cameras, and task={config.task} has none; choose cameras=NAME,…")
    schema = schema_of(task, config)  # the same
    node_names(job, config)
    spec = job_of(job)
    if not spec.node and config.remote:
        raise ConfigError(f"robot-rl {job} serves an arm of this computer; choose arm=sim, arm=fr3 or arm=crisp")
    if config.source == EXPERT and spec.person_drives:
        if not config.knows_scene and not config.remote:  # whose computer says so when it answers
            why = "a blind one" if config.blind else f"arm={config.arm}"
            raise ConfigError(
                f"source=expert drives only the simulated arm, which knows where things are; with {why} choose source="
                f"{sources()}"
            )
        expert_of(task)
        stages = config.session.stages
        if spec.marks and stages and len(stages) != len(task.stages):
            known = f"session.stages={','.join(task.stages)}" if task.stages else "success alone; leave them out"
            raise ConfigError(f"session.stages={','.join(stages)}: the script of task={config.task} marks {known}")
    if task.needs and spec.has_episodes and not (fast or config.knows_scene or config.remote):
        raise ConfigError(
            f"task={config.task} needs the pose of {', '.join(task.needs)}, which only a simulator knows, and here "
            f"{'blind=true' if config.blind else f'arm={config.arm}'}; choose another, or make your own "
            "(docs/YOUR_TASK.md)"
        )
    if fast and config.blind:
        raise ConfigError("blind=true rehearses a robot, which nothing is faster than; leave out --fast or blind=true")
    if fast and config.session.doubt_wait:
        raise ConfigError(
            f"session.doubt_wait={config.session.doubt_wait:g} asks a person, and in process there is none; "
            "leave out --fast, or say session.doubt_wait=0"
        )
    if fast and config.force.sensor:
        raise ConfigError(f"force.sensor={config.force.sensor} measures in real time; leave out --fast or force.sensor")
    if fast and spec.person_drives and config.source != EXPERT:
        raise ConfigError(f"{job} --fast needs source=expert, not {config.source}: a person is not as fast")
    if fast or config.arm == "sim":
        check_drawn(config.cameras)
        if config.camera_variation and LOOK not in scene_of(task).objects:
            raise ConfigError(
                f"camera_variation={config.camera_variation:g}: the scene of task={config.task} has but one look; "
                "those of pick_cube_images and peg_insertion_images have many"
            )
    learns = spec.learns and not config.learner.shared
    if fast and spec.learns and not learns:
        raise ConfigError(f"{job} --fast has a learner of its own; leave out learner.shared={config.learner.shared}")
    if learns:
        check_learner(config, root)
    if learns and config.demo_stores:
        if root is None and not all(Path(name).is_absolute() for name in config.demo_stores):
            raise ConfigError(
                "no demonstrations: which run has them? Record some and train in the same run, e.g. "
                f"robot-rl record --task {config.task} --run runs/first, then robot-rl train --run runs/first"
            )
        check_demos(config, root or Path())
    if spec.deterministic:
        if root is None and not config.policy:
            raise ConfigError(
                "which policy? name a run (--run DIR), a file (policy=FILE) or a class (policy=MODULE:CLASS)"
            )
        try:
            check_evaluated(Run((root or Path()).absolute()), config, task, schema, fast)
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"this policy cannot be used: {error}") from error
    run = Run.create(config, root, lock.take if lock is not None else None)
    if spec.deterministic and root is not None:
        set_aside_other_evaluation(run, config)
    return run


def set_aside_other_evaluation(run: Run, config: RunConfig) -> None:
    """Episodes of another policy must not count for this one: rename their folder. Those of the same one are kept."""
    digest = hashlib.sha256(identity(run, config)).hexdigest()
    mark = run.evaluation / "policy.sha256"
    if run.evaluation.exists() and not (mark.exists() and mark.read_text(encoding="utf-8") == digest):
        until = f"evaluation-until-{time.strftime('%Y%m%d-%H%M%S')}"
        names = itertools.chain([until], (f"{until}-{number}" for number in itertools.count(2)))
        run.evaluation.rename(next(path for path in map(run.evaluation.with_name, names) if not path.exists()))
    run.evaluation.mkdir(parents=True, exist_ok=True)
    write_atomically(mark, digest.encode())


def check_demos(config: RunConfig, root: Path) -> None:
    """Raises `ConfigError` unless every store of demonstrations exists, holds episodes, and is of this task."""
    schema = schema_of(make_task(config.task), config)
    for name in config.demo_stores:
        path = Path(os.path.normpath(root.absolute() / name))  # ``root`` may not be there yet
        reader = StoreReader(path)
        held = reader.schema
        if held is None or not any(episode.success for episode in reader.episodes()):
            raise ConfigError(
                f"no successful demonstrations at {path}; record some first: "
                f"robot-rl record --task {config.task} --run {root}"
            )
        if difference := held.difference(schema):
            raise ConfigError(
                f"demonstrations at {path} do not fit task {config.task!r}: they are of task {held.task!r} "
                f"with {difference}"
            )
