"""``robot-rl pretrain --vla``: a SmallVLA that imitates the demonstrations of several tasks.

In training with such a policy as ``learner.base``, what learns is its improvement.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from robot_rl.contract import INSTRUCTION, AgentView, ContractError, View
from robot_rl.contract.files import write_atomically
from robot_rl.contract.settings import ConfigError
from robot_rl.data.parameters import ParameterError
from robot_rl.data.store import StoreReader
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.locks import RunLock
from robot_rl.jobs.logs import tell
from robot_rl.jobs.progress import domain_of, schema_of, view_of
from robot_rl.jobs.run import Run
from robot_rl.jobs.threads import CONTROL_CORES
from robot_rl.policies.vla.card import check, digest_of, is_vla
from robot_rl.tasks import make_task
from robot_rl.tasks.base import Task

if TYPE_CHECKING:
    from robot_rl.policies.vla.aloe import AloeLoop
    from robot_rl.policies.vla.card import Card
    from robot_rl.policies.vla.examples import Episode

LOGGER = logging.getLogger(__name__)
# Settings of the learner that say how an agent learns, and mean nothing for a SmallVLA.
OF_AGENTS = (
    *("agent", "settings", "utd", "batch_size", "demo_share", "shaping", "interventions", "online_weights"),
    *("capacity", "demo_capacity", "imitate", "pretrain"),
)


class Recorded(NamedTuple):
    """A store of demonstrations: number, path, its task, and that as the policy sees it."""

    number: int
    path: Path
    task: Task
    view: AgentView


def vla_base(config: RunConfig) -> bytes | None:
    """The SmallVLA that ``learner.base`` names; None where it is another clone, or none. Raises `ConfigError`."""
    base = config.learner.base
    if not base:
        return None
    try:
        data = Path(base).read_bytes()
        return data if is_vla(data) else None
    except OSError as error:
        raise ConfigError(f"learner.base={base} cannot be read: {error.strerror}") from error
    except ParameterError as error:
        raise ConfigError(f"learner.base={base} cannot be started from: {error}") from error


def check_improved(config: RunConfig, policy: bytes, checkpoints: Path | None = None) -> None:
    """Raises `ConfigError` where the SmallVLA ``policy`` cannot be improved in a run with these settings.

    ``checkpoints``: of the run, which it would go on from.
    """
    base, defaults = config.learner.base, RunConfig()
    for key in OF_AGENTS:
        given, unset = getattr(config.learner, key), getattr(defaults.learner, key)
        if given != unset:
            _refuse(config, f"learner.{key}", given)
    if config.preference:
        _refuse(config, "preference", config.preference)
    task = make_task(config.task)
    schema, view = schema_of(task, config), view_of(task, config)
    try:
        check(policy, view, view.images(schema.seen), schema.encoder)
    except ParameterError as error:
        raise ConfigError(f"learner.base={base} cannot be started from: {error}") from error
    if checkpoints is not None:
        from robot_rl.learner.checkpoint import CheckpointError, load_latest

        try:
            found = load_latest(checkpoints)
        except CheckpointError as error:
            raise ConfigError(f"cannot go on from this run's checkpoint, {error}; another run starts anew") from error
        if found is not None and found.meta.get("base") != digest_of(policy):
            raise ConfigError(
                f"cannot go on from this run's checkpoint, {found.path}: it is not of the policy that learner.base="
                f"{base} holds; another run starts anew"
            )


def _refuse(config: RunConfig, key: str, given: object) -> NoReturn:
    raise ConfigError(
        f"{key}={given} is for agents, and learner.base={config.learner.base} is a SmallVLA; leave it out"
    )


def make_improver(run: Run, config: RunConfig, policy: bytes) -> AloeLoop:
    """The loop that improves the SmallVLA ``policy`` on the run's stores. Raises `ConfigError` where it misfits."""
    from robot_rl.policies.vla.aloe import AloeLoop
    from robot_rl.policies.vla.feed import Feed

    check_improved(config, policy)
    task = make_task(config.task)
    schema, domain = schema_of(task, config), domain_of(task, config)
    card, _ = check(policy, domain.view, domain.view.images(schema.seen), schema.encoder)
    online = (run.online, *(run.root / name for name in config.learner.online_stores))
    for path in online[1:]:
        if not path.exists():
            LOGGER.warning("%s is not there (yet): nothing to learn from", path)

    def feed(path: Path, shown: bool) -> Feed:
        return Feed(path, domain.observe, config.session.instruction or task.instruction, shown)

    return AloeLoop(
        card,
        policy,
        domain,
        demos=[feed(run.root / name, True) for name in config.demo_stores],
        online=[feed(path, False) for path in online],
        config=config.aloe,
        start_after=config.learner.start_after,
        checkpoints=run.checkpoints,
        keep=config.learner.keep_checkpoints,
        seed=config.seed,
        threads=config.learner.threads or max(1, (os.cpu_count() or 1) - CONTROL_CORES),
    )


def pretrain_vla(config: RunConfig, root: Path | None) -> int:
    """Train on ``demo_stores``, and write the run's ``vla.params``. Raises the errors of `robot_rl.jobs.errors`."""
    if root is None:
        raise ConfigError("which demonstrations? name the run that holds some, or shall learn from others': --run DIR")
    config = dataclasses.replace(config, cameras=tuple(make_task(config.task).views(config.cameras)))
    with RunLock("pretrain") as lock:
        if Run(root).config_file.exists():
            lock.take(root)
        stores = _stores(config, root)
        if config.vla.weights and len(config.vla.weights) != len(stores):
            raise ConfigError(
                f"vla.weights={list(config.vla.weights)} needs a number for each of "
                f"demo_stores={list(config.demo_stores)}"
            )
        card = _card(config, stores[0].task)
        run = Run.create(config, root, lock.take)
        tell(f"pretrain: SmallVLA, {', '.join(one.task.name for one in stores)}, run {run.root}")
        _train(run, config, card, stores)
    where, file = shlex.quote(str(run.root)), shlex.quote(str(run.vla))
    tell(f"next: robot-rl eval --run {where} --fast policy={file}")
    return 0


def _stores(config: RunConfig, root: Path) -> list[Recorded]:
    """The stores, whose tasks have states, actions and cameras alike. Raises `ConfigError`."""
    if not config.demo_stores:
        raise ConfigError("demo_stores is empty; name the stores to learn from")
    own, found = make_task(config.task), list[Recorded]()
    for number, name in enumerate(config.demo_stores):
        path = Path(os.path.normpath(root.absolute() / name))
        reader = StoreReader(path)
        if reader.schema is None or not any(episode.success for episode in reader.episodes()):
            raise ConfigError(f"demo_stores: no successful demonstrations at {path}; record some: robot-rl record")
        try:
            task = own if reader.schema.task == own.name else make_task(reader.schema.task)
            view = AgentView(task, config.learner.without, task.views(config.cameras))
        except ContractError as error:
            raise ConfigError(f"demo_stores: the task of {path}: {error}") from error
        for camera, size in _sizes(config, task).items():
            if reader.schema.images.get(camera) != (size, size):
                had = dict(reader.schema.images) or "none"
                raise ConfigError(
                    f"demo_stores: {path} has no images of camera {camera} of size {size}, but {had}; choose cameras="
                )
        found.append(Recorded(number, path, task, view))
    first = found[0]
    for one in found[1:]:
        for what, mine, theirs in (
            ("fields", first.view.fields, one.view.fields),
            ("actions", first.task.action, one.task.action),
            ("rate", first.task.rate, one.task.rate),
            ("cameras", _views(config, first.task), _views(config, one.task)),
        ):
            if mine != theirs:
                raise ConfigError(
                    f"demo_stores: {one.path} is of task {one.task.name}, whose {what} are not those of "
                    f"{first.task.name}; one policy has one kind of state, action and camera"
                )
    return found


def _views(config: RunConfig, task: Task) -> dict[str, View]:
    """The views of the cameras that the policy sees, by name."""
    return {name: view for name, view in task.views(config.cameras).items() if name not in config.learner.without}


def _sizes(config: RunConfig, task: Task) -> dict[str, int]:
    """Camera → size of its images [pixels]."""
    return {name: view.size for name, view in _views(config, task).items()}


def _card(config: RunConfig, task: Task) -> Card:
    """Settings, encoders and cameras of the policy. Raises `ConfigError` where one is not there, or does not fit."""
    from robot_rl.perception.encoders import make_encoder
    from robot_rl.policies.vla.card import Card
    from robot_rl.policies.vla.seeing import cell_shape
    from robot_rl.policies.vla.words import make_words

    sizes = _sizes(config, task)
    if not sizes:
        raise ConfigError(f"a SmallVLA sees by cameras, and task={task.name} has none; choose cameras=NAME,…")
    try:
        encoder, words = make_encoder(config.vla.encoder), make_words()
        for size in sizes.values():
            cell_shape(encoder, size)
    except ContractError as error:
        raise ConfigError(f"vla: {error}") from error
    return Card(config.vla, encoder, words, sizes)


def _train(run: Run, config: RunConfig, card: Card, stores: list[Recorded]) -> None:
    from robot_rl.policies.vla.card import packed
    from robot_rl.policies.vla.training import Look, fit, split

    episodes = _read(card, stores)
    learning, held_out = split(episodes, card.config.held_out, config.seed)
    steps = sum(len(one.actions) for one in learning)
    said = len({one.instruction for one in learning})
    tell(f"pretrain: {len(learning)} episodes ({steps} steps, {said} instructions), {len(held_out)} held out")

    def say(look: Look) -> None:
        told = f"step {look.step} of {card.config.steps}: loss {look.learning:.4f}, held out {look.held_out:.4f}"
        run.say("learner", {"phase": f"imitating {look.step} of {card.config.steps}"})
        tell(f"pretrain: {told}")

    threads = max(1, len(os.sched_getaffinity(0)) - 1)
    fitted = fit(card.config, learning, held_out, card.words, config.seed, say, threads)
    params = {name: value.numpy() for name, value in fitted.network.state_dict().items()}
    tasks = list(dict.fromkeys(one.task.name for one in stores))
    write_atomically(run.vla, packed(params, stores[0].view, tasks, card.images, card.config))
    lines = [f"step {look.step}: {look.learning:.4f} {look.held_out:.4f}" for look in fitted.looks]
    write_atomically(run.logs / "pretrain-vla.log", "\n".join(lines).encode())
    if held_out:
        tell(f"picture: {_picture(run, config, stores, held_out[0])}")
    tell(str(run.vla))


def _read(card: Card, stores: list[Recorded]) -> list[Episode]:
    """All successful episodes of ``stores``, encoded.

    Raises `ConfigError` for an episode of which nobody has said what was asked for.
    """
    from robot_rl.policies.vla.examples import Episode
    from robot_rl.policies.vla.seeing import cells_of

    found: list[Episode] = []
    for store in stores:
        reader = StoreReader(store.path, observe=store.view.state, successes_only=True)
        said = {info.index: str(info.meta.get(INSTRUCTION, "")) for info in reader.episodes()}
        for part in reader.poll().new:
            instruction = said.get(part.episode) or store.task.instruction
            if not instruction:
                raise ConfigError(
                    f"demo_stores: episode {part.episode} of {store.path} says not what was asked for, nor does its "
                    "task; record anew, with session.instruction=… where the task has no words"
                )
            count = len(part)
            cells = {name: cells_of(card.encoder, part.images[name][:count]) for name in card.images}
            states, actions = part["state"][:count], part["action"]
            found.append(Episode(store.number, part.episode, instruction, cells, states, actions))
        tell(f"pretrain: {store.path} is encoded")
    return found


def _picture(run: Run, config: RunConfig, stores: list[Recorded], episode: Episode) -> Path:
    """Draw what the policy does along ``episode``, which was held out."""
    from robot_rl.jobs.imitated import along, draw_actions
    from robot_rl.policies.vla.policy import load_vla

    store = stores[episode.store]
    images = StoreReader(store.path).load_episode(episode.number).images
    pictures = {name: picture[: len(episode.actions)] for name, picture in images.items() if name in episode.cells}
    sizes = {name: picture.shape[1:3] for name, picture in pictures.items()}
    policy = load_vla(run.vla.read_bytes(), store.view, config.seed, sizes)
    policy.begin(episode.instruction)
    predicted, asked = along(policy.actor, episode.states, pictures)
    figure = draw_actions(episode.actions, predicted, asked, store.task.action.axes, store.task.control_period)
    figure.suptitle(f"{store.task.name}, “{episode.instruction}”: a demonstration that was held out", fontsize="medium")
    figure.savefig(run.imitation_picture, dpi=120)
    return run.imitation_picture
