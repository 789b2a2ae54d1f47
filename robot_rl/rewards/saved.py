"""A reward classifier as it lies on disk, without its network: what it sees, what it was made of, how it decides.

A folder:

    classifier.json       this module's `Saved`
    weights.safetensors   of the head, by `robot_rl.rewards.classifier`; never a pickle
    drift.safetensors     distribution of the features that it was learnt from; none without an alarm

A session reads ``classifier.json`` alone, so that it needs no torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save as bytes_of

from robot_rl.contract import ContractError, Ending, Reading, View
from robot_rl.contract.files import write_atomically
from robot_rl.contract.ranges import Count, Positive
from robot_rl.contract.settings import make_settings, plain
from robot_rl.perception.encoders import Encoder, make_encoder
from robot_rl.rewards.drift import DriftAlarm
from robot_rl.rewards.filtering import FilterSettings, Thresholds
from robot_rl.rewards.guards import Guards
from robot_rl.rewards.promise import Chance

FORMAT = "robot_rl reward classifier 1"
CARD, WEIGHTS, DRIFT = "classifier.json", "weights.safetensors", "drift.safetensors"
PROBABILITY, NAMED = "success-", 8  # beginning of a signal that is a probability, and digits that follow
STAGE = "stage-"  # beginning of a signal that is the probability of a stage before success
PARTS = {"wrench": 6, "pose": 7}  # of a reading that may be seen beside pictures, and their sizes


class ClassifierError(ContractError):
    """A classifier that cannot be used: a file is missing or damaged, or it does not fit; the message names which."""


@dataclass(frozen=True)
class Seen:
    """The part of a reading that a classifier sees.

    Attributes:
        views: camera → crop and size of its picture.
        state: of `PARTS`: ``wrench`` [N, N·m], ``pose`` of the TCP [xyz m, quat_xyzw with w ≥ 0], both in base axes.

    Raises `ClassifierError` without a camera, and for a part that there is not.
    """

    views: Mapping[str, View]
    state: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.views:
            raise ClassifierError("a classifier sees one camera at least; name some, e.g. cameras=front,wrist")
        unknown = [part for part in self.state if part not in PARTS]
        if unknown:
            raise ClassifierError(f"state={unknown[0]!r} is nothing that a classifier sees; choose {', '.join(PARTS)}")

    @property
    def state_size(self) -> int:
        return sum(PARTS[part] for part in self.state)

    def pictures(self, reading: Reading) -> dict[str, np.ndarray]:
        """Camera → ``(size, size, 3)`` uint8. Raises `ClassifierError` for one that is missing or of another size."""
        found = {}
        for camera, view in self.views.items():
            picture = reading.images.get(camera)
            if picture is None:
                had = ", ".join(reading.images) or "none"
                raise ClassifierError(f"camera {camera}, which the classifier sees, has no picture (there is: {had})")
            if picture.shape != (view.size, view.size, 3):
                sizes = f"{picture.shape[:2]}, and the classifier sees {(view.size, view.size)}"
                raise ClassifierError(f"camera {camera}: a picture of {sizes}")
            found[camera] = picture
        return found

    def numbers(self, reading: Reading) -> np.ndarray:
        """State ``(state_size,)`` float32."""
        quat = reading.pose.quat_xyzw * (-1.0 if reading.pose.quat_xyzw[3] < 0.0 else 1.0)
        parts = {"wrench": reading.wrench, "pose": np.concatenate((reading.pose.translation, quat))}
        chosen = [np.asarray(parts[part], np.float32) for part in self.state]
        return np.concatenate(chosen) if chosen else np.zeros(0, np.float32)

    def misfit(self, views: Mapping[str, View]) -> str:
        """Why pictures of ``views`` are not what is seen, in words; "" when they are."""
        missing = [camera for camera in self.views if camera not in views]
        if missing:
            needed, given = ",".join(self.views), ", ".join(views) or "none"
            return f"it sees the cameras {needed}, and here are {given}; choose cameras={needed}"
        for camera, view in self.views.items():
            given_view = views[camera]
            if view != given_view:
                return (
                    f"of camera {camera} it sees crop={list(view.crop)} at size={view.size}, and here is "
                    f"crop={list(given_view.crop)} at size={given_view.size}"
                )
        return ""


@dataclass(frozen=True)
class Drift:
    """The drift alarm without its distribution.

    Attributes:
        threshold: distance above which it is raised.
        window: frames in a row that a distance has to last for.
        rate: of false alarms, by the episode.
        arrays: digest of the file with the distribution.
    """

    threshold: Positive
    window: Count
    rate: Chance
    arrays: str


@dataclass(frozen=True)
class Stage:
    """A stage of the task, as the classifier tells whether it has been reached.

    Attributes:
        name: as it was marked.
        temperature, offset: T and b of p = σ(z / T + b), with z of the head.
        thresholds: of its decisions; None until it has been evaluated.
        promise: what the evaluation says of them, in words.
    """

    name: str
    temperature: float
    offset: float
    thresholds: Thresholds | None = None
    promise: str = ""


@dataclass(frozen=True)
class Saved:
    """All that is known of a classifier beside its weights.

    Attributes:
        task: its name.
        period: [s] between the frames that it was made of.
        encoder: name of the frozen encoder, as in the setting ``encoder``.
        digest: of that encoder.
        seen: of a reading.
        weights: digest of the head's weights, hexadecimal.
        temperature, offset: of success, as in `Stage`.
        learning, stopping: names of the episodes that it was learnt from, and that stopped the training.
        filter: over time.
        guards: beside it.
        thresholds, promise: the same.
        versions: of the policies in the episodes that the promise was measured on.
        drift: of the alarm; None without one.
        earlier: stages before success, in their order. Thresholds never fall from one to the next, and probabilities
            never rise: so no stage is above its own where one before it is not.
        called: name of the success, as it was marked.
    """

    task: str
    period: float
    encoder: str
    digest: str
    seen: Seen
    weights: str
    temperature: float
    offset: float
    learning: tuple[str, ...]
    stopping: tuple[str, ...]
    filter: FilterSettings
    guards: Guards = field(default_factory=Guards)
    thresholds: Thresholds | None = None
    promise: str = ""
    versions: tuple[int, ...] = ()
    drift: Drift | None = None
    earlier: tuple[Stage, ...] = ()
    called: str = Ending.SUCCESS.value

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in their order; the last one is success."""
        success = Stage(self.called, self.temperature, self.offset, self.thresholds, self.promise)
        return (*self.earlier, success)

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the probabilities of all stages among the signals of a reading."""
        named = self.weights[:NAMED]
        return (*(f"{STAGE}{number}-{named}" for number in range(1, len(self.earlier) + 1)), self.signal)

    @property
    def signal(self) -> str:
        """Name of its probability among the signals of a reading; another one's is never taken for it."""
        return f"{PROBABILITY}{self.weights[:NAMED]}"

    @property
    def stamp_signal(self) -> str:
        """Name of the stamp of the picture [s] that the probability is of."""
        return f"{self.signal}-at"

    @property
    def drift_signal(self) -> str:
        """Name of the distance of a picture from those that were learnt from, in units of the alarm's threshold."""
        return f"{self.signal}-drift"

    @staticmethod
    def read(folder: Path) -> Saved:
        """The classifier in ``folder``. Raises `ClassifierError` where there is none, or it cannot be read."""
        path = folder / CARD
        if not path.is_file():
            raise ClassifierError(
                f"no reward classifier at {folder}: it has no {CARD}; make one: robot-rl reward train --run DIR"
            )
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("format") != FORMAT:
                raise ClassifierError(f"{path} is of another version; train anew")
            views = {name: View(tuple(view["crop"]), view["size"]) for name, view in values.pop("cameras").items()}
            seen = Seen(views, tuple(values.pop("state")))
            for name in ("learning", "stopping", "versions"):
                values[name] = tuple(values[name])
            values["filter"] = make_settings(FilterSettings, values["filter"])
            values["guards"] = make_settings(Guards, values.get("guards", {}))
            drift = values.pop("drift", None)
            values["drift"] = make_settings(Drift, drift) if drift else None
            thresholds = values.pop("thresholds")
            values["thresholds"] = make_settings(Thresholds, thresholds) if thresholds else None
            values["earlier"] = tuple(_stage(stage) for stage in values.get("earlier", ()))
            return Saved(seen=seen, **values)
        except ClassifierError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ClassifierError(f"{path} is damaged: {str(error) or type(error).__name__}") from error

    def write(self, folder: Path) -> None:
        """Replace the description in ``folder``."""
        values: dict[str, Any] = {"format": FORMAT}
        values |= {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name != "seen"}
        values["cameras"] = {name: plain(view) for name, view in self.seen.views.items()}
        values["state"] = self.seen.state
        values["filter"], values["guards"] = plain(self.filter), plain(self.guards)
        values["thresholds"] = plain(self.thresholds) if self.thresholds is not None else None
        values["drift"] = plain(self.drift) if self.drift is not None else None
        values["earlier"] = [plain(stage) for stage in self.earlier]
        if not self.earlier:
            del values["earlier"], values["called"]
        write_atomically(folder / CARD, json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n")

    def check(self, folder: Path, task: str, views: Mapping[str, View]) -> None:
        """Raises `ClassifierError` unless it can judge ``task`` by pictures of ``views``."""
        who = f"judge=classifier:{folder}"
        if self.task != task:
            raise ClassifierError(f"{who} was made for the task {self.task!r}, not for {task!r}")
        if misfit := self.seen.misfit(views):
            raise ClassifierError(f"{who}: {misfit}")
        weights_of(folder, self)
        alarm_of(folder, self)
        encoder_of(folder, self)
        if self.thresholds is None:
            raise ClassifierError(f"{who} has no threshold yet; find one: robot-rl reward eval --run DIR")


def _stage(values: dict[str, Any]) -> Stage:
    thresholds = values.pop("thresholds")
    return Stage(**values, thresholds=make_settings(Thresholds, thresholds) if thresholds else None)


def is_probability(signal: str) -> bool:
    """Whether a signal of that name is the probability of a classifier, and nothing beside it."""
    return signal.startswith(PROBABILITY) and len(signal) == len(PROBABILITY) + NAMED


def weights_of(folder: Path, saved: Saved) -> bytes:
    """The content of the file of weights. Raises `ClassifierError` when it is missing, or belongs to another one."""
    return _content(folder, WEIGHTS, saved.weights)


def alarm_of(folder: Path, saved: Saved) -> DriftAlarm | None:
    """The drift alarm; None without one. Raises `ClassifierError` as `weights_of` does."""
    if saved.drift is None:
        return None
    arrays = arrays_of(_content(folder, DRIFT, saved.drift.arrays))
    try:
        mean, whitening, shrinkage = (arrays[name] for name in ("mean", "whitening", "shrinkage"))
    except KeyError as error:
        raise ClassifierError(f"{folder / DRIFT} lacks {error}; evaluate the classifier anew") from error
    return DriftAlarm(mean, whitening, float(shrinkage[0]), saved.drift.threshold, saved.drift.window, saved.drift.rate)


def keep_alarm(folder: Path, alarm: DriftAlarm) -> Drift:
    """Write the distribution of ``alarm`` into ``folder``; returns the rest of it."""
    arrays = {"mean": alarm.mean, "whitening": alarm.whitening, "shrinkage": np.array([alarm.shrinkage])}
    data: bytes = bytes_of({name: np.ascontiguousarray(value) for name, value in arrays.items()})
    write_atomically(folder / DRIFT, data)
    return Drift(alarm.threshold, alarm.window, alarm.rate, digest_of(data))


def _content(folder: Path, name: str, digest: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise ClassifierError(f"the reward classifier at {folder} has no {name}; train it anew, or copy it whole")
    data = path.read_bytes()
    if digest_of(data) != digest:
        raise ClassifierError(f"{path} is damaged, or of another classifier than {CARD} beside it; copy both anew")
    return data


def encoder_of(folder: Path, saved: Saved) -> Encoder:
    """The encoder of the classifier in ``folder``. Raises `ClassifierError` when this computer's has other features."""
    encoder = make_encoder(saved.encoder)
    if encoder.digest != saved.digest:
        raise ClassifierError(
            f"the reward classifier at {folder} was made on features {saved.digest} of encoder={saved.encoder}, and "
            f"this computer's are {encoder.digest}: other weights or another version; take those, or train anew"
        )
    return encoder


def digest_of(data: bytes) -> str:
    """Digest of a file of weights."""
    return hashlib.sha256(data).hexdigest()[:16]
