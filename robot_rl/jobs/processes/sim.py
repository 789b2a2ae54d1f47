"""The simulated arm with the task's scene, speaking the robot's own protocol."""

from __future__ import annotations

from hardware.sim.fci.server import arm_addresses, serve
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.logs import tell
from robot_rl.jobs.run import SIMULATOR, Run
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of

LINGER = 3.0  # [s] `ros2 launch` ends all processes of a job at once; the simulated robot shall be the last one


def main(run: Run, config: RunConfig, job: str) -> int:
    addresses = ", ".join(arm_addresses(config.robot_ip, config.arms))

    def ready() -> None:
        tell(f"simulated FR3 with task {config.task} at {addresses}")
        run.say(SIMULATOR, {"ready": True})

    scene = scene_of(make_task(config.task)).side_by_side(config.arms)
    serve(scene, config.robot_ip, config.scene_port, ready, linger=LINGER)
    return 0
