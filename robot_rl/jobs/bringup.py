"""Which processes a job needs: described once, started by `robot-rl` as processes and by ``ros2 launch`` as nodes."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware.teleop import TELEOP_DEVICES
from robot_rl.contract.files import write_atomically
from robot_rl.contract.ranges import shown
from robot_rl.contract.settings import ConfigError, nearest
from robot_rl.data.store import StoreReader
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import EXPERT, PAGE, job_of, sources
from robot_rl.jobs.policies import TOPIC, check_evaluated, identity
from robot_rl.jobs.progress import schema_of, view_of
from robot_rl.jobs.run import Run, settings_of
from robot_rl.ros import topics
from robot_rl.session.judge import JUDGES
from robot_rl.tasks import TASKS, make_task
from robot_rl.tasks.base import expert_of

EXECUTABLE = "robot-rl"
READ_TERMINAL = ("teleop", "teach")
OF_LEARNER = (topics.POLICY_PARAMETERS, topics.LEARNER_DEBT)  # what policy and session hear of it

# Launch argument → description. None has a default of its own: what is not given is as in the run, or in `RunConfig`.
LAUNCH_ARGUMENTS: dict[str, str] = {
    "task": f"{TASKS.listed()}, or a YAML file; default {RunConfig.task}",
    "arm": "sim (default; the simulated arm over its own protocol), fr3 (a robot) or crisp (under CRISP's controllers)",
    "robot_ip": "address of the arm; default 127.0.0.1",
    "simulator": "own (default; started with the job) or running (one that robot-rl sim serves at robot_ip)",
    "seed": "of starts, exploration and learning; default 0",
    "source": f"who drives, of {sources(EXPERT)}; default {RunConfig.source}",
    "run": "folder of the run, whose settings are then the defaults; default: a new one, runs/<time>-<task>",
    "config": "YAML file with settings, in place of the run's",
    "namespace": "of the topics, e.g. left; each arm of several has its own; default: none",
    "overrides": "further settings, e.g. 'learner.utd=8 steps=6000'",
}


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
        namespace: of its topics.
        remappings: of topics that are not there: (name, topic).
    """

    name: str
    arguments: tuple[str, ...]
    required: bool = True
    respawn: bool = False
    optional: bool = False
    terminal: bool = False
    namespace: str = ""
    remappings: tuple[tuple[str, str], ...] = ()
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
    names.append("arm")
    if config.cameras:
        names.append("camera")
    if not spec.node:
        return names
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
    return [
        NodeSpec(
            name,
            ("node", name, "--run", str(run.root), "--job", job),
            required=name in ("sim", "arm", "session", "teach"),
            respawn=name in ("learner", "policy", "camera", "teleop", "expert", "console"),
            optional=name == "console",
            terminal=name in READ_TERMINAL,
            namespace=config.namespace,
            remappings=remappings if name in ("policy", "session") else (),
        )
        for name in node_names(job, config)
    ]


def check_learner(config: RunConfig, root: Path | None) -> None:
    """Raises `ConfigError` when the algorithm cannot work with the settings, or not go on from what the run has learnt.

    Before an arm moves, not after.
    """
    from robot_rl.jobs.learning import check_run
    from robot_rl.learner.factory import make_loop_config

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
            raise ConfigError(f"the simulated scene has no camera {name!r}; choose from {', '.join(CAMERAS)}")


def prepare(job: str, config: RunConfig, root: Path | None, fast: bool = False) -> Run:
    """Check that ``job`` can be done, in process when ``fast``, and make its run's folder.

    Raises:
        ConfigError: something is missing or does not fit; the message says what to do.
    """
    task = make_task(config.task)
    JUDGES.check(config.judge or task.judge)
    config = dataclasses.replace(config, cameras=tuple(task.views(config.cameras)))
    view_of(task, config)  # raises where it does not fit
    node_names(job, config)
    spec = job_of(job)
    if config.source == EXPERT and spec.person_drives:
        if not config.knows_scene:
            why = "a blind one" if config.blind else f"arm={config.arm}"
            raise ConfigError(
                f"source=expert drives only the simulated arm, which knows where things are; with {why} choose source="
                f"{sources()}"
            )
        expert_of(task)
    if fast and config.blind:
        raise ConfigError("blind=true rehearses a robot, which nothing is faster than; leave out --fast or blind=true")
    if fast and spec.person_drives and config.source != EXPERT:
        raise ConfigError(f"{job} --fast needs source=expert, not {config.source}: a person is not as fast")
    if fast or config.arm == "sim":
        check_drawn(config.cameras)
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
            check_evaluated(Run((root or Path()).absolute()), config, task, schema_of(task, config).images, fast)
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"this policy cannot be used: {error}") from error
        if root is not None:
            set_aside_other_evaluation(Run(root.absolute()), config)
    return Run.create(config, root)


def set_aside_other_evaluation(run: Run, config: RunConfig) -> None:
    """Episodes of another policy must not count for this one: rename their folder. Those of the same one are kept."""
    digest = hashlib.sha256(identity(run, config)).hexdigest()
    mark = run.evaluation / "policy.sha256"
    if run.evaluation.exists() and not (mark.exists() and mark.read_text(encoding="utf-8") == digest):
        run.evaluation.rename(run.evaluation.with_name(f"evaluation-until-{time.strftime('%Y%m%d-%H%M%S')}"))
    run.evaluation.mkdir(parents=True, exist_ok=True)
    write_atomically(mark, digest.encode())


def check_demos(config: RunConfig, root: Path) -> None:
    """Raises `ConfigError` unless every store of demonstrations exists, holds episodes, and is of this task."""
    schema = schema_of(make_task(config.task), config)
    for name in config.demo_stores:
        path = root.absolute() / name
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


def nodes(job: str, arguments: Mapping[str, str]) -> list[NodeSpec]:
    """The processes of ``job`` for launch arguments (see `LAUNCH_ARGUMENTS`), with the run's folder made."""
    known = {field.name for field in dataclasses.fields(RunConfig)}
    overrides = [f"{key}={value}" for key, value in arguments.items() if key in known and value != ""]
    overrides += arguments.get("overrides", "").split()
    config_file, folder = arguments.get("config", ""), arguments.get("run", "")
    root = Path(folder) if folder else None
    config = settings_of(Path(config_file) if config_file else None, root, overrides)
    run = prepare(job, config, root)
    return specs(job, run, Run.open(run.root)[1])
