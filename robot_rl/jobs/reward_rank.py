"""``robot-rl reward rank``: a person's preferences → a model of what they prefer, for the setting ``preference``."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from pathlib import Path

from robot_rl.contract.files import write_atomically
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.logs import tell
from robot_rl.jobs.reward_snippets import Recorded
from robot_rl.rewards.answers import FILE, Answer, read
from robot_rl.rewards.config import PreferenceConfig
from robot_rl.rewards.preferred import Card, columns_of, layout_of
from robot_rl.rewards.saved import digest_of
from robot_rl.rewards.snippets import split
from robot_rl.tasks.base import Task


def rank(root: Path, out: Path, recorded: Recorded, task: Task, config: PreferenceConfig) -> int:
    """Learn from the answers of the run at ``root`` and write the preference to ``out``; returns the exit status.

    Raises `PreferenceError` for too few answers, `ConfigError` without any or without torch.
    """
    answers = read(root / FILE)
    if not answers:
        raise ConfigError(f"no preferences at {root / FILE}; give some first: robot-rl reward prefer --run {root}")
    layout = layout_of(task)
    columns = columns_of(layout, config.fields)
    if find_spec("torch") is None:
        raise ConfigError("a preference needs torch to be learnt: pip install 'robot_rl[vision]'")
    from robot_rl.rewards.preference import Compared, fit, save, weights

    parts = split(recorded.episodes, config.stopping, config.judging)
    sorted_by_part: tuple[list[Compared], ...] = tuple([] for _ in parts)

    def compared(answer: Answer) -> Compared:
        first, *others = (recorded.states(span)[:, columns] for span in answer.spans)
        return Compared(first, others[0] if others else None, answer.answer)

    unused = 0
    for answer in answers:
        part = parts.of(answer.spans) if all(map(recorded.has, answer.spans)) else None
        if part is None:
            unused += 1
            continue
        sorted_by_part[parts.index(part)].append(compared(answer))
    learning, stopping, judging = sorted_by_part
    counts = len(learning), len(stopping), len(judging)
    tell(f"rank: {counts[0]} answers to learn from, {counts[1]} to stop by, {counts[2]} to judge by")
    if unused:
        tell(f"rank: {unused} more are of episodes that are gone, or of two parts of them")
    fitted = fit(learning, stopping, judging, config.rank, lambda line: tell(f"rank: {line}"))
    data = weights(fitted.model)
    card = Card(task.name, layout, config.fields, digest_of(data), counts, fitted.agreement, fitted.error, *parts)
    if out.exists():
        out.rename(out.with_name(f"{out.name}-until-{time.strftime('%Y%m%d-%H%M%S')}"))
    save(out, card, data)
    write_atomically(
        out / "training.jsonl", "".join(f"{json.dumps(look._asdict())}\n" for look in fitted.looks).encode()
    )
    if fitted.agreement is not None:
        tell(f"rank: agrees with {fitted.agreement:.0%} of the judging pairs, of episodes that had no say in it")
    if fitted.error is not None:
        tell(f"rank: off by {fitted.error:.2f} in the judging scores, of episodes that had no say in it")
    tell(f"written: {out}")
    tell(f"use it: robot-rl train --run {root} preference={out}")
    return 0
