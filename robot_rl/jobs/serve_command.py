"""``robot-rl serve``: a policy of ours for clients of openpi, without an arm."""

from __future__ import annotations

import argparse
import dataclasses
import ipaddress
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from robot_rl.contract import check_policy, warm_up
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.config import RunConfig, is_loopback
from robot_rl.jobs.logs import tell
from robot_rl.jobs.run import Run
from robot_rl.jobs.threads import act_on_processor
from robot_rl.tasks import make_task

if TYPE_CHECKING:
    from robot_rl.policies.wire.server import Offer

PORT = 8000  # openpi's
TOKEN_BYTES = 24


def add_serve_parser(commands: Any, common: Callable[[argparse.ArgumentParser], argparse.ArgumentParser]) -> None:
    """Add the command to ``commands``; ``common`` adds the arguments that all jobs have."""
    text = "serve a policy to clients of openpi, without an arm"
    serve = common(
        commands.add_parser(
            "serve",
            help=text,
            description=f"{text}: the run's champion, or what policy= names, until Ctrl-C. The metadata say by which "
            "names and units observations are wanted and actions come. docs/YOUR_POLICY.md",
        )
    )
    serve.add_argument(
        "--host", default="127.0.0.1", help="address that serves it; all but this computer's own ask for a token"
    )
    serve.add_argument("--port", type=int, default=PORT, help=f"TCP port (default {PORT})")
    serve.add_argument(
        "--names", type=Path, metavar="FILE", help="YAML file with other names, as policy=openpi:FILE has"
    )
    serve.add_argument("--show", action="store_true", help="print the names as such a file, and end")


def serve_policy(arguments: argparse.Namespace, config: RunConfig) -> int:
    """Serve until Ctrl-C. Raises the errors of `robot_rl.jobs.errors`."""
    from robot_rl.policies.wire.remote import check_libraries

    check_libraries("openpi")
    if not 1 <= arguments.port <= 65535:
        raise ConfigError(f"--port {arguments.port} must be from 1 to 65535")
    act_on_processor()
    offer = make_offer(arguments, config)
    from robot_rl.policies.wire.file import plain_names
    from robot_rl.policies.wire.server import PolicyServer

    if arguments.show:
        address = {"address": f"ws://{arguments.host}:{arguments.port}"}
        tell(yaml.safe_dump({**address, **plain_names(offer.file)}, sort_keys=False).rstrip())
        return 0
    token = "" if is_loopback(arguments.host) else _token(arguments)
    with PolicyServer(offer, token).at(arguments.host, arguments.port) as server:
        tell(f"policy for {config.task} at ws://{arguments.host}:{arguments.port}; Ctrl-C ends it")
        if token:
            tell(f"clients show the token, as api_key of openpi's: {token}")
        server.serve_forever()
    return 0


def make_offer(arguments: argparse.Namespace, config: RunConfig) -> Offer:
    """The policy by its names, compiled. Raises the errors of `robot_rl.jobs.errors`."""
    from robot_rl.jobs.job import TOPIC
    from robot_rl.jobs.policies import make_evaluated
    from robot_rl.jobs.progress import schema_of, view_of
    from robot_rl.policies import served
    from robot_rl.policies.wire.columns import Columns
    from robot_rl.policies.wire.file import read_file
    from robot_rl.policies.wire.observing import Observing
    from robot_rl.policies.wire.server import Offer, names_of

    if arguments.run is None and not config.policy:
        raise ConfigError("which policy? name a run (--run DIR), a file (policy=FILE) or a class (policy=MODULE:CLASS)")
    if config.policy == TOPIC or served(config.policy) is not None:
        raise ConfigError(f"policy={config.policy} is another program's; serve a file or a class")
    task = make_task(config.task)
    config = dataclasses.replace(config, cameras=tuple(task.views(config.cameras)))
    view, schema = view_of(task, config), schema_of(task, config)
    file = names_of(view, schema.seen) if arguments.names is None else read_file(arguments.names)
    observing = Observing(file, view.fields, schema.seen)
    columns = Columns(file, view.action, task.control_period, view.fields)
    run = Run((arguments.run or Path()).absolute())
    try:
        policy = make_evaluated(run, config, task, schema)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"this policy cannot be used: {error}") from error
    check_policy(policy)
    words = config.session.instruction or task.instruction
    offer = Offer(policy, file, observing, columns, words, {"task": task.name, "served_by": "robot_rl"})
    if not arguments.show:
        warm_up(policy, view.state_size, schema.seen, words)
    return offer


def _token(arguments: argparse.Namespace) -> str:
    """The token of the run, kept there; a new one where there is no run."""
    try:
        ipaddress.ip_address(arguments.host)
    except ValueError as error:
        raise ConfigError(
            f"--host {arguments.host} must be an IP address of this computer, or 0.0.0.0 for all"
        ) from error
    if arguments.run is None:
        return secrets.token_urlsafe(TOKEN_BYTES)
    from robot_rl.console.guard import token_at

    return token_at(Run(arguments.run).served_token)
