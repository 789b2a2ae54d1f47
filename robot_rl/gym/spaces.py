"""A Gymnasium environment's spaces → a `Layout`, and back: what an agent sees and does in it.

Observations: every box of shape (height, width, 3) that is of uint8, or of floats from 0 to 1 or to 255, is an image;
all other boxes are flattened and concatenated into the state, in the alphabetical order of their names. A box of floats
that looks like an image otherwise is refused: as thousands of numbers of a state it would teach nothing. A box in a
Dict has its key for a name, in a Dict within it ``outer.inner``; an image that is the whole observation is called
``image``. With an encoder, its grid of features stands for each image.

Actions: the numbers of the box, flattened, each brought from its bounds to [−1, 1]. A discrete part follows as the last
axis, its n values evenly spaced from −1 to 1 (`Layout.options`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from robot_rl.contract import AgentView, ContractError, FrameSize, Layout
from robot_rl.contract.settings import ConfigError
from robot_rl.data.schema import StoreSchema
from robot_rl.gym.envs import IDS
from robot_rl.perception.encoders import Encoder, EncoderError, encode_views
from robot_rl.tasks import make_task

WHOLE = "image"  # name of an image that is the whole observation
LEAST_SIDE = 8  # [pixels] of what is taken for an image of floats
TOLERANCE = 1e-3  # of a demonstration's action beyond its bounds, as a share of half the range: rounding, not an error


class EnvError(ConfigError):
    """An environment that cannot be made or learnt in; the message names it, what is wrong and what would fit."""


def own_task(env_id: str) -> str | None:
    """The task of one of our own environments; None: it is somebody else's."""
    return IDS.get(env_id.rpartition(":")[2])


class Observations:
    """Observations of ``space`` as a state vector and images.

    Attributes:
        sizes: name → numbers in the state, in their order.
        pictures: name → (height, width).
        images: the same, or with ``encoder`` name → (rows, columns, channels): what an agent sees.
        encoder: makes features of the images, or None.

    Raises `EnvError` for a space that is no Box, nor a Dict of them, and for images that the encoder does not take.
    """

    def __init__(self, space: spaces.Space, encoder: Encoder | None = None) -> None:
        boxes = self._boxes = dict(sorted(_boxes(space, "")))
        self.pictures = {name or WHOLE: box.shape[:2] for name, box in boxes.items() if _is_image(name, box)}
        self.encoder = encoder
        self.images = {name: _seen_size(name, size, encoder) for name, size in self.pictures.items()}
        if encoder is not None and not self.images:
            raise EnvError(f"--encoder {encoder.name} encodes images, and this environment observes none")
        self.sizes = {
            name: int(np.prod(box.shape)) for name, box in boxes.items() if (name or WHOLE) not in self.images
        }
        if not boxes:
            raise EnvError("the observation space is empty; there is nothing to learn from")

    @property
    def state_size(self) -> int:
        return sum(self.sizes.values())

    def __call__(self, observation: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The state ``(d,)`` float32 and the images, name → ``(h, w, 3)`` uint8, or features of them, name →
        ``(rows, columns, channels)`` float16; copies, for some environments write each observation over the last.

        Raises `EnvError` for an observation that is not of the space.
        """
        parts, images = [], {}
        for name, box in self._boxes.items():
            found = _part(observation, name) if name else observation
            value = _checked(found, name or "the observation", box)
            key = name or WHOLE
            if key in self.images:
                images[key] = _picture(value, box)
            else:
                parts.append(value.astype(np.float32).reshape(-1))
        if self.encoder is not None:
            images = encode_views(self.encoder, images)
        return np.concatenate(parts) if parts else np.zeros(0, np.float32), images


class Actions:
    """Actions ``(a,)`` in [−1, 1] as the environment's own. A *row* is its numbers in a line: the box, flattened, then
    the discrete part.

    Attributes:
        size: a.
        options: values of the last axis, or 0.

    Raises `EnvError` for a space that is not a Box, a Discrete, or a Tuple or Dict of one of each; for a box without
    bounds; and for a Discrete with a single value.
    """

    def __init__(self, space: spaces.Space) -> None:
        self._box, self._discrete, self._join = _parts(space)
        low = high = np.zeros(0)
        if self._box is not None:
            low, high = (np.asarray(bound, np.float64).reshape(-1) for bound in (self._box.low, self._box.high))
            _check_bounds(self._box, low, high)
        self._low, self._high = low, high
        self._centre, self._half = 0.5 * (low + high), 0.5 * (high - low)
        self.options = 0 if self._discrete is None else int(self._discrete.n)
        if self.options == 1:
            raise EnvError(f"the action space has {self._discrete}, which leaves nothing to decide")
        self.size = len(low) + (self.options > 0)

    def decode(self, action: np.ndarray) -> Any:
        """The environment's action for ``action (a,)``; beyond [−1, 1] is clipped, between two options the nearest."""
        numbers, option = None, None
        if self._box is not None:
            flat = self._centre + self._half * action[: len(self._low)]
            flat = np.minimum(np.maximum(flat, self._low), self._high)
            numbers = flat.astype(self._box.dtype).reshape(self._box.shape)
        if self._discrete is not None:
            last = self.options - 1
            index = min(max(int(np.rint(0.5 * (float(action[-1]) + 1.0) * last)), 0), last)
            option = self._discrete.dtype.type(index + int(self._discrete.start))
        return self._join(numbers, option)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Actions ``(n, a)`` float32 in [−1, 1] for ``rows (n, a)`` of the environment's own.

        Raises ValueError for rows of another length and for values that the environment's spaces do not hold.
        """
        rows = np.asarray(rows, np.float64)
        if rows.shape[1:] != (self.size,):
            raise ValueError(f"actions have shape {rows.shape}; this environment's have {self.size} numbers each")
        count = len(self._low)
        coded = np.zeros(rows.shape, np.float64)
        # A bound above and below at the same value leaves no choice: 0 stands for it.
        coded[:, :count] = (rows[:, :count] - self._centre) / np.where(self._half > 0.0, self._half, np.inf)
        if self._discrete is not None:
            index = rows[:, -1] - int(self._discrete.start)
            if (index != np.rint(index)).any():
                raise ValueError(f"the last number of an action must be one of {self._discrete}")
            coded[:, -1] = 2.0 * index / (self.options - 1) - 1.0
        beyond = ~(np.abs(coded) <= 1.0 + TOLERANCE)
        if beyond.any():
            row, axis = np.argwhere(beyond)[0]
            bounds = self._discrete if axis >= count else f"[{self._low[axis]:g}, {self._high[axis]:g}]"
            raise ValueError(f"action {row} has {rows[row, axis]:g} on axis {axis}, where only {bounds} is allowed")
        return np.clip(coded, -1.0, 1.0).astype(np.float32)


class EnvDomain:
    """The environment ``env_id`` as a `LearnerLoop` learns it; see `robot_rl.learner.domain.Domain`.

    Args:
        without: fields of the state and cameras that one of our own environments was made without.
    """

    def __init__(
        self, env_id: str, observations: Observations, actions: Actions, without: tuple[str, ...] = ()
    ) -> None:
        self.env_id = env_id
        self.without = without
        self.encoder = observations.encoder
        self._pictures = observations.pictures
        self._task = own_task(env_id)
        # The box of our own environments does not tell that a gripper is open or closed; their task does.
        own = AgentView(make_task(self._task)).layout() if self._task else Layout(0, 0)
        options = actions.options or own.options
        self.layout = Layout(observations.state_size, actions.size, observations.images, options, own.least_spread)

    @property
    def identity(self) -> Mapping[str, Any]:
        sizes = {"state_size": self.layout.state_size, "action_size": self.layout.action_size}
        encoder = {} if self.encoder is None else {"encoder": self.encoder.digest}
        return {"env": self.env_id, **sizes, "options": self.layout.options, "without": list(self.without), **encoder}

    def view_of(self, store: StoreSchema) -> AgentView:
        """How the episodes of ``store`` are seen here. Raises `ContractError` when nobody knows its task."""
        return AgentView(make_task(store.task), self.without, self.without)  # cameras of it may be among them

    def misfit(self, store: StoreSchema) -> str:
        """Why steps of ``store`` cannot be learnt from here, in words; empty when they can.

        A store may have more images, and two values on its last axis where the environment's is continuous.
        """
        try:
            theirs = self.view_of(store).layout(store.images)
        except ContractError as error:
            return f"does not fit {self.env_id}: {error}"
        mine = self.layout
        images = {name: tuple(size) for name, size in theirs.images.items() if name in self._pictures}
        pairs = (
            ("task", store.task, self._task or store.task),
            ("state size", theirs.state_size, mine.state_size),
            ("action size", theirs.action_size, mine.action_size),
            ("images", images, {name: tuple(size) for name, size in self._pictures.items()}),
            ("values on the last axis", theirs.options, mine.options or theirs.options),
        )
        wrong = "; ".join(f"{name} {found!r} instead of {wanted!r}" for name, found, wanted in pairs if found != wanted)
        return f"does not fit {self.env_id}: it has {wrong}" if wrong else ""


def _seen_size(name: str, size: tuple[int, int], encoder: Encoder | None) -> FrameSize:
    """Size of what an agent sees of an image. Raises `EnvError` for one that the encoder does not take."""
    if encoder is None:
        return size
    height, width = size
    if height != width:
        raise EnvError(f"--encoder {encoder.name} takes square images, and {name!r} has {height}×{width} pixels")
    try:
        return encoder.shape(height)
    except EncoderError as error:
        raise EnvError(f"image {name!r}: {error}") from error


def _boxes(space: spaces.Space, name: str) -> Iterator[tuple[str, spaces.Box]]:
    """Every box in ``space`` with its name."""
    if isinstance(space, spaces.Box):
        yield name, space
    elif isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from _boxes(part, f"{name}.{key}" if name else str(key))
    else:
        where = f"observation {name!r}" if name else "the observation space"
        raise EnvError(f"{where} is {space}; only Box, and Dict of Box, can be learnt from. Wrap the environment")


def _is_image(name: str, box: spaces.Box) -> bool:
    pixels = len(box.shape) == 3 and box.shape[-1] == 3
    if box.dtype == np.uint8 and len(box.shape) >= 2:
        if pixels:
            return True
        raise EnvError(
            f"observation {name or WHOLE!r} is uint8 of shape {box.shape}; images have shape (height, width, 3). Wrap "
            "the environment so that they have, or as float for a vector"
        )
    if not np.issubdtype(box.dtype, np.floating) or len(box.shape) != 3 or sorted(box.shape)[1] < LEAST_SIDE:
        return False
    if pixels and _brightest(box) > 0.0:
        return True
    raise EnvError(
        f"observation {name or WHOLE!r} is {box.dtype} of shape {box.shape} from {box.low.min():g} to "
        f"{box.high.max():g}; an image has shape (height, width, 3) and is uint8, or float from 0 to 1 or to 255. Wrap "
        "the environment so that it is, or flatten what is none"
    )


def _brightest(box: spaces.Box) -> float:
    """The value of white in an image of floats; 0 when its bounds do not tell."""
    if (box.low != 0.0).any():
        return 0.0
    return next((white for white in (1.0, 255.0) if (box.high == white).all()), 0.0)


def _picture(value: np.ndarray, box: spaces.Box) -> np.ndarray:
    """The image ``value`` as uint8; a copy."""
    if value.dtype == np.uint8:
        return value.copy()
    return np.clip(np.rint(value * (255.0 / _brightest(box))), 0, 255).astype(np.uint8)


def _checked(value: Any, name: str, box: spaces.Box) -> np.ndarray:
    """``value`` as an array of the shape of ``box``. Raises `EnvError` when it is none."""
    try:
        array = np.asarray(value)
        if array.dtype == object or not np.can_cast(array.dtype, np.float64, "same_kind"):
            raise TypeError(f"values of {array.dtype}")
    except (TypeError, ValueError) as error:
        raise EnvError(f"{name} is no array of numbers but {type(value).__name__} ({error})") from error
    if array.shape != box.shape:
        raise EnvError(f"{name} has shape {array.shape}, where the observation space has {box.shape}")
    if box.dtype == np.uint8 and array.dtype != np.uint8 and len(box.shape) > 1:
        raise EnvError(f"{name} is {array.dtype}, where the observation space has uint8")
    return array


def _part(observation: Any, name: str) -> Any:
    """The part of a nested dict that is called ``name``: keys, joined by dots. Raises `EnvError` when it lacks it."""
    if not isinstance(observation, Mapping):
        kind = type(observation).__name__
        raise EnvError(f"the observation lacks {name!r}: it is {kind}, where the observation space has a dict")
    if name in observation:
        return observation[name]
    for place, char in enumerate(name):  # a key may have a dot in it
        if char == "." and name[:place] in observation:
            return _part(observation[name[:place]], name[place + 1 :])
    raise EnvError(f"the observation lacks {name!r}; it has {', '.join(map(str, observation)) or 'nothing'}")


def _parts(
    space: spaces.Space,
) -> tuple[spaces.Box | None, spaces.Discrete | None, Callable[[Any, Any], Any]]:
    """The box and the discrete part of ``space``, and the function that makes one action of both."""
    if isinstance(space, spaces.Box):
        return space, None, lambda numbers, option: numbers
    if isinstance(space, spaces.Discrete):
        return None, space, lambda numbers, option: option
    if isinstance(space, spaces.Tuple | spaces.Dict):
        named = list(space.spaces.items()) if isinstance(space, spaces.Dict) else list(enumerate(space.spaces))
        boxes = [(key, part) for key, part in named if isinstance(part, spaces.Box)]
        choices = [(key, part) for key, part in named if isinstance(part, spaces.Discrete)]
        if len(boxes) == len(choices) == 1 and len(named) == 2:
            (box_key, box), (choice_key, choice) = boxes[0], choices[0]
            if isinstance(space, spaces.Dict):
                return box, choice, lambda numbers, option: {box_key: numbers, choice_key: option}
            if box_key == 0:
                return box, choice, lambda numbers, option: (numbers, option)
            return box, choice, lambda numbers, option: (option, numbers)
    raise EnvError(f"the action space is {space}; it must be a Box, a Discrete, or a Tuple or Dict of one of each")


def _check_bounds(box: spaces.Box, low: np.ndarray, high: np.ndarray) -> None:
    if not np.issubdtype(box.dtype, np.floating):
        raise EnvError(f"the action space has {box} of {box.dtype}; a box of actions must be of floats")
    unbounded = np.flatnonzero(~(np.isfinite(low) & np.isfinite(high)))
    if len(unbounded):
        axis = unbounded[0]
        raise EnvError(
            f"axis {axis} of the actions goes from {low[axis]:g} to {high[axis]:g}; actions need finite bounds. Wrap "
            "the environment in gymnasium.wrappers.TransformAction with a bounded Box"
        )
