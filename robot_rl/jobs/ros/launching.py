"""The node graph of a job, for ``ros2 launch``. The graph itself is described once, in `robot_rl.jobs.bringup`.

The ROS 2 wheels of PyPI hold no ``launch``: this module needs a ROS 2 installation. ``robot-rl <job>`` does not. The
two agree on which end of a process is started again, and how often (`robot_rl.jobs.supervisor.end_of`). A job that
fails leaves ``ros2 launch`` with an exit status other than 0, because an exception is all that launch has for that.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, TimerAction
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import Node

try:
    from hardware.registry import look_here
    from robot_rl.contract.settings import ConfigError
    from robot_rl.jobs.arguments import LAUNCH_ARGUMENTS, check_arguments, prepare_launch
    from robot_rl.jobs.bringup import NodeSpec, node_spec, opening, specs
    from robot_rl.jobs.config import RunConfig
    from robot_rl.jobs.errors import USER_ERRORS, one_line
    from robot_rl.jobs.front_end import as_launched
    from robot_rl.jobs.interrupt import LAUNCHED
    from robot_rl.jobs.job import job_of
    from robot_rl.jobs.run import Run
    from robot_rl.jobs.supervisor import DEFAULT_PATIENCE, PATIENCE, RESTARTS, End, JobFailed, end_of
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}: the interpreter of ros2, {sys.executable}, has not what robot_rl needs; activate its .venv, "
        "in which make setup has put a ros2 that has them",
        name=error.name,
    ) from error

PACKAGE = "robot_rl"
RESPAWN_DELAY = 1.0  # [s]
# [s] from the end of a process to the verdict on it, below `RESPAWN_DELAY`: Ctrl-C ends all processes at once, and the
# news of that may come after the first of them has ended.
VERDICT_DELAY = 0.3
REPORT = "report"


class JobLaunch:
    """The processes of a job as actions, and the meaning of their ends.

    Args:
        job: its name.
        run, config: a run that is there.
    """

    def __init__(self, job: str, run: Run, config: RunConfig) -> None:
        self._job, self._run, self._config = job, run, config
        self._done = False

    def actions(self) -> list[Node]:
        return [self.node(spec) for spec in specs(self._job, self._run, self._config)]

    def node(self, spec: NodeSpec) -> Node:
        """The action that starts ``spec``. Nodes keep their own names: a process may hold several."""
        restarts = 0

        def on_exit(event: ProcessExited, context: LaunchContext) -> list[Any]:
            nonlocal restarts
            if context.is_shutdown or (self._done and spec.name != REPORT):
                return []
            if spec.optional:
                return [
                    LogInfo(msg=f"{spec.name} ended with exit status {event.returncode}; the job goes on without it")
                ]
            match end_of(spec, event.returncode, restarts):
                case End.DONE:
                    return self._finish()
                case End.AGAIN:
                    restarts += 1
                    words = f"{spec.name} ended with exit status {event.returncode}; starting it again"
                    return [LogInfo(msg=f"{words} ({restarts} of {RESTARTS} times)")]
            in_vain = f" (started {restarts} times again, in vain)" if restarts else ""
            words = f"{spec.name} ended with exit status {event.returncode}{in_vain}; its last words are above"
            return [TimerAction(period=VERDICT_DELAY, actions=[OpaqueFunction(function=_fail, args=[words])])]

        return Node(
            package=PACKAGE,
            executable=spec.executable,
            exec_name=spec.name,
            namespace=spec.namespace,
            remappings=list(spec.remappings),
            arguments=[*spec.arguments, LAUNCHED],
            additional_env={"PYTHONUNBUFFERED": "1", **dict(spec.environment)},
            output="screen",
            respawn=spec.respawn and not spec.optional,
            respawn_delay=RESPAWN_DELAY,
            respawn_max_retries=RESTARTS,
            sigterm_timeout=str(PATIENCE.get(spec.name, DEFAULT_PATIENCE)),
            on_exit=on_exit,
        )

    def _finish(self) -> list[Any]:
        """Write the report, then end the launch."""
        job = job_of(self._job)
        if (job.learns or job.deterministic) and not self._done:
            self._done = True
            return [self.node(node_spec(REPORT, self._job, self._run))]
        return [EmitEvent(event=Shutdown(reason=f"{self._job} is done"))]


def _fail(context: LaunchContext, words: str) -> None:
    """Have launch shut down and return a failure. Raises `JobFailed`."""
    raise JobFailed(words)


def job_description(job: str) -> LaunchDescription:
    """The launch description of ``job`` (see `robot_rl.jobs.job`) with its launch arguments declared."""

    def actions(context: LaunchContext) -> list[Any]:
        look_here()
        chosen = {name: context.launch_configurations[name] for name in LAUNCH_ARGUMENTS}
        try:
            if is_launched_itself(job, sys.argv):
                check_arguments(word.partition(":=")[0] for word in context.argv if ":=" in word)
            run, config = prepare_launch(job, chosen)
        except USER_ERRORS as error:
            raise ConfigError(as_launched(one_line(error))) from error
        domain = int(os.environ.get("ROS_DOMAIN_ID", "0"))
        run.say("job", {"arm": config.arm, "job": job, "domain": domain, "began": time.time()})
        said = [LogInfo(msg=as_launched(line)) for line in opening(job, run, config)]
        return [*said, *JobLaunch(job, run, config).actions()]

    declared = [
        DeclareLaunchArgument(name, default_value="", description=as_launched(description))
        for name, description in LAUNCH_ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=actions)])


def is_launched_itself(job: str, argv: Sequence[str]) -> bool:
    """Whether the command line ``argv`` launches the file of ``job``; a file that includes it has its own arguments."""
    file = f"{job}.launch.py"
    places = [place for place, word in enumerate(argv) if Path(word).name == file]
    return any(argv[place] != file or argv[place - 1] == PACKAGE for place in places)
