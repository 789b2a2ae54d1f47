"""``robot-rl``: the jobs on the command line."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from hardware.registry import look_here
from robot_rl.contract import Registry
from robot_rl.jobs.calibrate_camera import calibrate_camera
from robot_rl.jobs.calibrate_commands import add_calibrate_parser, calibrate_tool
from robot_rl.jobs.cameras_command import add_cameras_parser, look_at_cameras
from robot_rl.jobs.interrupt import LAUNCHED, quits_at_once, stopped
from robot_rl.jobs.job import COMMANDS, EXPERT, JobSpec, job_of, sources
from robot_rl.jobs.logs import configure
from robot_rl.jobs.reward_commands import add_reward_parser, reward
from robot_rl.jobs.serve_command import add_serve_parser, serve_policy
from robot_rl.jobs.task_commands import add_task_parser, check_task, teach_task
from robot_rl.learner.config import AGENTS
from robot_rl.perception.encoders import ENCODERS
from robot_rl.tasks import TASKS

LOGGER = logging.getLogger(__name__)
EXIT_USAGE = 2
OTHERS = Registry("command", {"inspect": "demos.inspect:inspect"})  # of packages that this one cannot import


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="robot-rl",
        description="Train a Franka arm by reinforcement learning with a person in the loop.",
        epilog="Settings are key=value, e.g.: robot-rl train --task peg_insertion seed=1 learner.utd=8. "
        "All keys: robot-rl config",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for job in map(job_of, COMMANDS):
        parser_of_job = _common(commands.add_parser(job.name, help=job.help, description=_description(job)))
        if job.fast:
            parser_of_job.add_argument(
                "--fast", action="store_true", help="in process, without ROS, faster than real time"
            )
    text = "imitate a run's demonstrations, and nothing else; its clone.params can be evaluated, or be learner.base"
    pretrain = _common(commands.add_parser("pretrain", help=text, description=text))
    pretrain.add_argument(
        "--vla",
        action="store_true",
        help="train a SmallVLA on demo_stores, of one task or several, in place of learner.agent: DIR/vla.params "
        "(docs/VLA.md)",
    )
    text = "record, train and evaluate on the simulated arm, from nothing"
    demo = commands.add_parser("demo", help=text, description=text)
    _common(demo).add_argument("--fast", action="store_true", help="in process, in a few minutes")
    _gym_options(
        commands.add_parser(
            "gym",
            help="learn in any Gymnasium environment, with the learner that robots have",
            description="Learn in a Gymnasium environment. Demonstrations are imitated first, and the clone acts until "
            "what is learnt from then on does better. Before the first step and after every evaluation, one JSON line "
            "is appended to FILE: env, agent, seed, step, wall_s (of training), return_mean, return_std, success_rate "
            "(null where info never tells), eval_episodes, episodes, updates (of the critics), utd (of them for each "
            "step), actor_utd (of the actor's), updates_per_s. An environment that executes another action than it "
            'was told says so in info["executed_action"]. The folder DIR keeps the newest policy, and a run that is '
            "there goes on from its last evaluation.",
        )
    )
    for name, text in (
        ("sim", "serve a simulated FR3, or several (arms=2), on loopback addresses"),
        ("config", "print all settings with their values, those of the chosen algorithm included"),
    ):
        parser_of_command = _common(commands.add_parser(name, help=text, description=text))
        if name == "config":
            parser_of_command.epilog = "KEY without a value explains that setting, e.g.: robot-rl config learner.utd"
    inspect = commands.add_parser("inspect", help="list the episodes of a run, or of one of its stores")
    inspect.add_argument("folder", type=Path, metavar="DIR", help="runs/<run>, or runs/<run>/demos")
    check = commands.add_parser(
        "rt-check",
        help="is this computer fit to control the arm at 1 kHz?",
        description="Looks at the computer, listens to the arm at robot_ip and measures a loop. Exit status: 0 when "
        "ready or working with a caveat, 1 when not ready, 2 when the check cannot be made.",
    )
    _common(check).add_argument(
        "--move", action="store_true", help="hold the arm by torque control while measuring: its brakes open"
    )
    check.add_argument("--seconds", type=float, default=10.0, help="length of the measured loop (default 10)")
    plot = commands.add_parser("rt-plot", help="draw the telemetry of a fault or a run (logs/*.npz)")
    plot.add_argument("file", type=Path, metavar="FILE")
    plot.add_argument("--out", type=Path, metavar="PNG", help="the picture; default: beside FILE")
    text = "open the operator's page beside the job that runs in a run's folder"
    page = commands.add_parser("console", help=text, description=text)
    page.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder of the run")
    page.add_argument("--host", help="address that serves it; all but this computer's own ask for a token")
    page.add_argument("--port", type=int, help="TCP port; default: the run's console.port")
    add_serve_parser(commands, _common)
    add_task_parser(commands)
    add_calibrate_parser(commands)
    add_cameras_parser(commands, _common)
    add_reward_parser(commands, _common)
    node = commands.add_parser("node", help="run one process of a job (bringup does this)")
    node.add_argument("name")
    node.add_argument("--run", type=Path, required=True)
    node.add_argument("--job", required=True)
    node.add_argument(LAUNCHED, action="store_true", help="speak as processes of ros2 launch do")
    return parser


def _description(job: JobSpec) -> str:
    return f"{job.help}; source={sources(EXPERT)}" if job.person_drives else job.help


def _common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--task", help=f"{TASKS.listed()}, or a YAML file")
    parser.add_argument("--seed", type=int, help="of starts, exploration and learning")
    parser.add_argument("--run", type=Path, metavar="DIR", help="folder of the run; default runs/<time>-<task>")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, e.g. learner.utd=8")
    return parser


def _gym_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--env", required=True, metavar="ID", help="e.g. Hopper-v5 or robot_rl/PegInsertion-v0")
    parser.add_argument(
        "--module", nargs="+", action="extend", default=[], metavar="PKG", help="import first; it registers the env"
    )
    parser.add_argument("--agent", metavar="NAME", help=f"{AGENTS.listed()}; default: the setting learner.agent")
    parser.add_argument(
        "--steps",
        type=int,
        default=100_000,
        help="environment steps (default 100000); 0: imitate the demonstrations, and evaluate that",
    )
    parser.add_argument("--seed", type=int, default=0, help="of environment, exploration and learning (default 0)")
    parser.add_argument("--demos", type=Path, metavar="PATH", help="an episode store or a robomimic HDF5 file")
    parser.add_argument(
        "--demo-keys",
        default="",
        metavar="KEY,…",
        help="of the HDF5 file's observations, where the environment's is one vector; default: all, alphabetically",
    )
    parser.add_argument(
        "--encoder",
        default="",
        metavar="NAME",
        help=f"frozen network whose features an agent sees in place of images: {ENCODERS.listed()}; default: none",
    )
    parser.add_argument("--eval-episodes", type=int, default=10, metavar="M", help="of each evaluation (default 10)")
    parser.add_argument(
        "--eval-every", type=int, default=0, metavar="N", help="steps between evaluations; default: a twentieth of all"
    )
    parser.add_argument(
        "--eval-acting", action="store_true", help="evaluate also with the noise by which it acts while it learns"
    )
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="what is kept, and to go on from; default runs/<time>-<env>"
    )
    parser.add_argument("--env-kwargs", default="{}", metavar="JSON", help="given to the environment")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the lines are appended to it")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="of the learner, e.g. learner.utd=1 learner.settings.discount=0.99",
    )


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments of a command line; key=value may stand anywhere after the command. Raises `SystemExit`."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)  # argparse takes only the first group of positional arguments
    settings = [word for word in rest if "=" in word and not word.startswith("-")]
    if hasattr(arguments, "overrides"):
        arguments.overrides += settings
        rest = [word for word in rest if word not in settings]
    if arguments.command == "config":
        arguments.keys = [word for word in arguments.overrides if "=" not in word]
        arguments.overrides = [word for word in arguments.overrides if "=" in word]
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}; see robot-rl {arguments.command} --help")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, 2 for anything the user can put right, 130 after Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    if "--ros-args" in argv:
        argv = argv[: argv.index("--ros-args")]
    with quits_at_once():
        look_here()  # own environments as well as what has a registry
        arguments = parse(argv)
        launched = getattr(arguments, "launched", False)
        configure(arguments.name if arguments.command == "node" else "", launched)
        from robot_rl.jobs.errors import USER_ERRORS, is_of_files, one_line, shortened

        if arguments.command != "node":
            from robot_rl.jobs import commands  # noqa: F401
    try:
        return _dispatch(arguments)
    except USER_ERRORS as error:
        if launched:
            LOGGER.error("%s", error)
        else:
            sys.stderr.write(f"robot-rl: {one_line(error)}\n")
        return EXIT_USAGE
    except OSError as error:
        if not is_of_files(error):
            raise
        sys.stderr.write(f"robot-rl: {shortened(error)}\n")
        return EXIT_USAGE
    except KeyboardInterrupt:
        sys.stderr.write("robot-rl: stopped\n")
        return stopped()


def _dispatch(arguments: argparse.Namespace) -> int:
    if arguments.command == "node":
        from robot_rl.jobs.processes import run_process

        return run_process(arguments.name, arguments.run, arguments.job)
    if arguments.command == "gym":
        from robot_rl.jobs.gym_command import gym_command

        return gym_command(arguments)
    from robot_rl.jobs import commands

    if arguments.command == "inspect":
        sys.stdout.write(OTHERS.load("inspect")(arguments.folder))
        return 0
    if arguments.command == "rt-plot":
        return commands.plot_realtime(arguments.file, arguments.out)
    if arguments.command == "console":
        given = {key: value for key in ("host", "port") if (value := getattr(arguments, key)) is not None}
        return commands.show_page(arguments.run, given)
    if arguments.command == "task" and arguments.action == "check":
        return check_task(arguments.name)
    if arguments.command == "task":
        return teach_task(arguments)
    if arguments.command == "calibrate":
        return calibrate_tool(arguments) if arguments.action == "tool" else calibrate_camera(arguments)
    if arguments.command == "reward" and hasattr(arguments, "work"):
        return reward(arguments)
    from robot_rl.jobs.run import settings_of

    overrides = list(arguments.overrides)
    overrides += [f"{key}={value}" for key in ("task", "seed") if (value := getattr(arguments, key)) is not None]
    config = settings_of(arguments.config, arguments.run, overrides)
    if hasattr(arguments, "listen"):
        return look_at_cameras(config, arguments.run, arguments.out, arguments.listen)
    match arguments.command:
        case "config":
            explained = [commands.explain_key(config, key) for key in arguments.keys]
            sys.stdout.write("".join(explained) or commands.describe(config))
            return 0
        case "sim":
            return commands.simulate(config)
        case "rt-check":
            return commands.check_realtime(config, arguments.move, arguments.seconds)
        case "serve":
            return serve_policy(arguments, config)
        case "pretrain":
            if arguments.vla:
                from robot_rl.jobs.vla import pretrain_vla

                return pretrain_vla(config, arguments.run)
            return commands.pretrain(config, arguments.run)
        case "demo":
            return commands.run_demo(config, arguments.run, fast=arguments.fast)
    job = getattr(arguments, "job", arguments.command)
    commands.run_job(job, config, arguments.run, fast=getattr(arguments, "fast", False))
    return 0
