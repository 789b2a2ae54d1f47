"""A run's folder: one configuration, one store of demonstrations and one of online episodes, logs, status, results.

runs/<time>-<task>/    or <time>-<namespace>-<task>, of one arm of several; -2, -3, … of the same second
    job.lock        held by the one job that writes (`robot_rl.jobs.locks`)
    config.yaml     the resolved configuration, read by every process
    task.yaml       the task, where it is a file (with its scene's file): what happens to the original does not matter
    demos/ online/ evaluation/    episode stores
    checkpoints/ policy.params    learner: the newest
    clone.params    learner: the imitation of the demonstrations that it started from
    vla.params      a SmallVLA, from `robot-rl pretrain --vla`
    imitation.png   what clone or SmallVLA does along a held-out demonstration, from `robot-rl pretrain`
    champion.params gate.json     learner: what the improvement gate handed on (see `robot_rl.jobs.promotion`)
    status/*.json   what each process last said, replaced atomically
    logs/*.log      output of each process
    tensorboard/    metrics
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.force.tool import ToolError
from hardware.force.tool_file import read_tool
from robot_rl.contract.files import write_atomically
from robot_rl.contract.settings import ConfigError
from robot_rl.data.schema import StoreError
from robot_rl.data.store import StoreReader
from robot_rl.jobs.config import RunConfig, load_config, save_config, with_tool
from robot_rl.tasks import is_file
from robot_rl.tasks.file import KEPT, keep_task

SIMULATOR, CONSOLE, LINK, SHEET = "sim", "console", "link", "sheet"  # what they call themselves in their status


@dataclass(frozen=True)
class Run:
    """Paths of a run."""

    root: Path

    @staticmethod
    def create(config: RunConfig, root: Path | None = None, take: Callable[[Path], None] | None = None) -> Run:
        """Make (or take over) a run's folder and write its configuration; default: a new one in ``runs``.

        ``take`` is called with the folder before anything is written there.

        Raises `ConfigError` when it cannot be made.
        """
        try:
            run = Run((root or _new_folder(config)).absolute())
            run.root.mkdir(parents=True, exist_ok=True)
            if take is not None:
                take(run.root)
            for folder in (run.status_folder, run.logs):
                folder.mkdir(exist_ok=True)
            for gone in (SIMULATOR, CONSOLE, LINK, SHEET):  # those of an earlier job
                (run.status_folder / f"{gone}.json").unlink(missing_ok=True)
            if is_file(config.task):
                config = dataclasses.replace(config, task=keep_task(Path(config.task), run.root).name)
            if config.force.tool:
                config = with_tool(config, run.keep_tool(Path(config.force.tool)).name)
            config = dataclasses.replace(config, camera_calibrations=run.keep_calibrations(config))
            save_config(config, run.config_file)
        except OSError as error:
            raise ConfigError(f"the run's folder cannot be made: {error}") from error
        return run

    @staticmethod
    def open(root: Path) -> tuple[Run, RunConfig]:
        """An existing run and its configuration. Raises `ConfigError`."""
        run = Run(root.absolute())
        if not run.config_file.exists():
            raise ConfigError(f"{root} is not a run: it has no {run.config_file.name}")
        return run, load_config(run.config_file)

    @property
    def config_file(self) -> Path:
        return self.root / "config.yaml"

    @property
    def task_file(self) -> Path:
        """The run's own copy of its task, where that is a file."""
        return self.root / KEPT

    @property
    def taught(self) -> Path:
        """The task that `robot-rl task teach` has made."""
        return self.root / "taught.yaml"

    @property
    def tool_readings(self) -> Path:
        """Readings that `robot-rl calibrate tool` identifies a tool from."""
        return self.root / "tool-readings.csv"

    def keep_tool(self, file: Path) -> Path:
        """Copy the file of the tool on the force–torque sensor into the folder; returns the copy's path.

        Raises `ConfigError` when it is none.
        """
        kept = self.root / "tool.yaml"
        try:
            read_tool(file)
        except ToolError as error:
            raise ConfigError(f"force.tool={file}: {error}") from error
        if file.absolute() != kept:
            write_atomically(kept, file.read_bytes())
        return kept

    def keep_calibrations(self, config: RunConfig) -> tuple[str, ...]:
        """Copy the files of calibrated cameras into the folder; returns the copies' names. Raises `ConfigError`."""
        if not config.camera_calibrations:
            return ()
        from hardware.cameras.calibration import CalibrationError
        from hardware.cameras.calibration_file import read_calibration

        kept = []
        for camera, name in zip(config.cameras, config.camera_calibrations, strict=True):
            file, copy = Path(name), self.root / f"camera-{camera}.yaml"
            try:
                read_calibration(file)
            except CalibrationError as error:
                raise ConfigError(f"camera_calibrations: {error}") from error
            if file.absolute() != copy:
                write_atomically(copy, file.read_bytes())
            kept.append(copy.name)
        return tuple(kept)

    @property
    def demos(self) -> Path:
        return self.root / "demos"

    @property
    def online(self) -> Path:
        return self.root / "online"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def parameters(self) -> Path:
        """The newest published policy, as packed by `robot_rl.data.parameters`."""
        return self.root / "policy.params"

    @property
    def clone(self) -> Path:
        """The policy that imitates the demonstrations, with which learning began."""
        return self.root / "clone.params"

    @property
    def vla(self) -> Path:
        """The SmallVLA that `robot-rl pretrain --vla` has trained."""
        return self.root / "vla.params"

    @property
    def imitation_picture(self) -> Path:
        """The clone's actions beside those recorded."""
        return self.root / "imitation.png"

    @property
    def champion(self) -> Path:
        """The policy that the improvement gate handed on last."""
        return self.root / "champion.params"

    @property
    def gate(self) -> Path:
        """The judgements of the improvement gate."""
        return self.root / "gate.json"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def console_token(self) -> Path:
        """The token that the page asks for; there once a page was served to other computers."""
        return self.root / "console.token"

    @property
    def served_token(self) -> Path:
        """The token that `robot-rl serve` asks for; there once a policy was served to other computers."""
        return self.root / "serve.token"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def status_folder(self) -> Path:
        return self.root / "status"

    def say(self, who: str, status: dict[str, Any]) -> None:
        """Replace the status of ``who``."""
        write_atomically(self.status_folder / f"{who}.json", json.dumps(status).encode())

    def status_of(self, who: str) -> dict[str, Any]:
        """The status that ``who`` said last; empty when there is none yet."""
        try:
            status: dict[str, Any] = json.loads((self.status_folder / f"{who}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return status


def _new_folder(config: RunConfig) -> Path:
    """A folder that no other job has, started however close to this one."""
    task = Path(config.task).stem if is_file(config.task) else config.task.rpartition(":")[2]
    parts = [time.strftime("%Y%m%d-%H%M%S"), config.namespace.strip("/").replace("/", "-"), task]
    name = "-".join(filter(None, parts))
    for number in itertools.count(1):
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


@contextlib.contextmanager
def settings_kept(root: Path | None, records: str, looks: bool = False) -> Iterator[None]:
    """Meanwhile a job is done in the run at ``root``, which may be none yet, and steps go into its store ``records``.

    When it fails before an episode of it was recorded, the run's settings are put back as they were. Those of one that
    was interrupted, or failed later, are the run's: what it has recorded came of them. A job that only ``looks`` leaves
    them as they were, however it ends, in a run that was there.
    """
    if root is None:
        yield
        return
    run = Run(root.absolute())
    files = (run.config_file, run.task_file)
    before = {path: path.read_bytes() if path.is_file() else None for path in files}
    episodes = _episodes(run.root / records)
    try:
        yield
    except Exception:
        if not records or _episodes(run.root / records) == episodes:
            _put_back(before)
        raise
    finally:
        if looks and before[run.config_file] is not None:
            _put_back(before)


def _put_back(before: Mapping[Path, bytes | None]) -> None:
    """Have files be as ``before``; None: not there."""
    with contextlib.suppress(OSError):  # the disk, of which the job's error tells
        for path, data in before.items():
            if data is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != data:
                write_atomically(path, data)


def _episodes(store: Path) -> int:
    """How many episodes a store holds; 0 where there is none that can be read."""
    with contextlib.suppress(StoreError):
        return len(StoreReader(store).episodes())
    return 0


def settings_of(given: Path | None, root: Path | None, overrides: Sequence[str]) -> RunConfig:
    """A job's settings: ``overrides`` over the file ``given``, or over those of the run at ``root`` that it takes up.

    A run remembers all of them but the ``policy`` of an evaluation. Raises `ConfigError`.
    """
    if given is None and root is not None and Run(root).config_file.exists():
        return load_config(Run(root).config_file, ["policy=", *overrides])
    return load_config(given, list(overrides))


def policy_file(run: Run, config: RunConfig) -> Path:
    """The policy to evaluate: the one named, else the run's champion, else its newest."""
    return Path(config.policy) if config.policy else run.champion if run.champion.exists() else run.parameters


def read_parameters(run: Run, config: RunConfig) -> bytes:
    """The bytes of the policy to evaluate. Raises `ConfigError` when there is no such file."""
    path = policy_file(run, config)
    if not path.is_file():
        raise ConfigError(
            f"no policy at {path}; train one first (robot-rl train), or name a file or a class: "
            "policy=FILE or policy=MODULE:CLASS"
        )
    return path.read_bytes()
