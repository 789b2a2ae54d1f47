"""LeRobot's policies: trained on our demonstrations, driving the arm. Runs in LeRobot's own environment, by its code.

    python -m demos.convert runs/cube/demos cube.hdf5 --names examples/lerobot.yaml   # in our environment
    bash scripts/lerobot.sh                                                           # makes LeRobot's: .venv-lerobot
    .venv-lerobot/bin/python examples/with_lerobot.py dataset cube.hdf5 data/cube
    .venv-lerobot/bin/python examples/with_lerobot.py train --dataset.repo_id=local/cube --dataset.root=data/cube \
        --policy.type=act --policy.push_to_hub=false --output_dir=outputs/act
    .venv-lerobot/bin/python examples/with_lerobot.py serve outputs/act/checkpoints/last/pretrained_model
    robot-rl eval --task pick_cube --run runs/act policy=openpi:examples/lerobot.yaml # in ours

docs/LEROBOT.md goes through it. ``serve`` takes any folder that LeRobot has saved a policy in.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.contract import ContractError
from robot_rl.policies.wire.server import Answering, PolicyServer

ACTION, INSTRUCTION = "action", "task"  # LeRobot's words
WHOLE = 1e-6  # [Hz] by which a rate may differ from a whole number
LOOPBACK = "127.0.0.1"


def define_operators() -> None:
    """Let torchvision be imported by a torch without CUDA, which lacks two operators that it was built with."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        globals()["_operators"] = library  # they go with it


def write_dataset(file: Path, folder: Path) -> str:
    """Write the successes in ``file``, of ``demos.convert --names``, as a LeRobotDataset to ``folder``.

    Returns a line about it. Raises `ContractError` for a file that is no such one, and for a folder that exists.
    """
    import h5py
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    if folder.exists():
        raise ContractError(f"{folder} exists; name another folder, or remove it")
    try:
        demos = h5py.File(file, "r")
    except OSError as error:
        raise ContractError(f"{file} is no HDF5 file: {error}") from error
    with demos:
        if "data" not in demos:
            raise ContractError(f"{file} has no data; write it by python -m demos.convert STORE FILE --names NAMES")
        episodes = sorted(demos["data"].values(), key=lambda group: int(group.name.rpartition("_")[2]))
        kept = [group for group in episodes if group.attrs["ending"] == "success"]
        if not kept or "rate" not in kept[0].attrs:
            what = "no successes" if not kept else "no rate: it was written without --names"
            raise ContractError(f"{file} has {what}")
        rate = float(kept[0].attrs["rate"])
        if abs(rate - round(rate)) > WHOLE:
            raise ContractError(f"{file} has {rate:g} steps a second; LeRobot counts in whole ones")
        dataset = LeRobotDataset.create(
            f"local/{folder.name}", round(rate), features_of(kept[0]), root=folder, robot_type="fr3", use_videos=False
        )
        for group in kept:
            columns = {key: group["obs"][key][:] for key in group["obs"]} | {ACTION: group["actions"][:]}
            for number in range(len(columns[ACTION])):
                row = {key: column[number] for key, column in columns.items()}
                dataset.add_frame({**row, INSTRUCTION: str(group.attrs["instruction"])})
            dataset.save_episode()
        dataset.finalize()
    return f"{folder}: {len(kept)} episodes, {dataset.meta.total_frames} frames; {len(episodes) - len(kept)} left out"


def features_of(group: Any) -> dict[str, dict[str, Any]]:
    """LeRobot's description of the columns of an episode."""
    found: dict[str, dict[str, Any]] = {}
    for key, column in {**group["obs"], ACTION: group["actions"]}.items():
        image = column.dtype == np.uint8
        if key != ACTION and not key.startswith("observation."):
            raise ContractError(f"LeRobot knows observations by names like observation.state, and not {key!r}")
        names = ["height", "width", "channels"] if image else None
        found[key] = {"dtype": "image" if image else "float32", "shape": column.shape[1:], "names": names}
    return found


class Saved:
    """A policy that LeRobot has saved, as `PolicyServer` serves it.

    Args:
        folder: with ``config.json``, ``model.safetensors`` and the processors, which hold the normalisation.
        device: of torch.

    Raises `ContractError` for a folder that holds no policy, or parameters that do not fit its configuration.
    """

    def __init__(self, folder: Path, device: str) -> None:
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors

        if not (folder / "config.json").is_file():
            raise ContractError(
                f"{folder} has no config.json; LeRobot saves a policy in …/checkpoints/last/pretrained_model"
            )
        try:
            self._config = PreTrainedConfig.from_pretrained(folder)
            self._config.device = device
            kind = get_policy_class(self._config.type)
            self._policy = kind.from_pretrained(folder, config=self._config, strict=True)
            self._before, self._after = make_pre_post_processors(
                self._config,
                pretrained_path=str(folder),
                preprocessor_overrides={"device_processor": {"device": device}},
            )
        except Exception as error:  # LeRobot and its parser raise what they like
            raise ContractError(f"{folder} cannot be loaded: {' '.join(str(error).split())[:500]}") from error
        features = self._config.input_features
        self._shapes = {key: tuple(feature.shape) for key, feature in features.items()}
        self._images = [key for key in self._shapes if len(self._shapes[key]) == 3]
        self._device, self._history = device, int(getattr(self._config, "n_obs_steps", 1))
        self._rows = int(getattr(self._config, "n_action_steps", 1))

    def metadata(self) -> dict[str, Any]:
        return {
            "served_by": "lerobot",
            "policy": self._config.type,
            "history": self._history,
            "images": {key: list(self._sizes(key)) for key in self._images},
            "state": {key: shape[0] for key, shape in self._shapes.items() if key not in self._images},
            ACTION: self._config.output_features[ACTION].shape[0],
            "rows": self._rows,
        }

    def conversation(self) -> Answering:
        return self._answer

    def _answer(self, request: Mapping[Any, Any]) -> dict[str, Any]:
        if unknown := [key for key in request if key not in (*self._shapes, INSTRUCTION)]:
            raise ContractError(f"the key {str(unknown[0])[:80]!r} is unknown; there are {', '.join(self._shapes)}")
        seen = [self._checked(request, key) for key in self._shapes]
        moments = [dict(zip(self._shapes, values, strict=True)) for values in zip(*seen, strict=True)]
        actions = self._chunk(moments, str(request.get(INSTRUCTION, "")))
        if not np.isfinite(actions).all():
            raise ContractError("the policy's actions are not finite")
        return {ACTION: actions}

    def _checked(self, request: Mapping[Any, Any], key: str) -> np.ndarray:
        """The values of ``key``, one for each observation of the history."""
        shape = (*self._sizes(key), 3) if key in self._images else self._shapes[key]
        wanted = shape if self._history == 1 else (self._history, *shape)
        value = request.get(key)
        if not isinstance(value, np.ndarray) or value.shape != wanted or (value.dtype == np.uint8) != (len(shape) == 3):
            found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            more = f" (history: {self._history})" if self._history > 1 else ""
            raise ContractError(
                f"{key} must be {'uint8' if len(shape) == 3 else 'float32'} {wanted}{more}, not {found}"
            )
        return value[None] if self._history == 1 else value

    def _sizes(self, key: str) -> tuple[int, int]:
        _, height, width = self._shapes[key]
        return height, width

    def _chunk(self, moments: Sequence[dict[str, np.ndarray]], instruction: str) -> np.ndarray:
        """Actions ``(H, a)`` in the units of the data set."""
        import torch
        from lerobot.policies.utils import populate_queues, prepare_observation_for_inference

        with torch.inference_mode():
            self._policy.reset()
            for moment in moments:
                arrays = {key: np.array(value) for key, value in moment.items()}
                batch = self._before(prepare_observation_for_inference(arrays, torch.device(self._device), instruction))
                batch = {key: value for key, value in batch.items() if key != ACTION}
                queues = getattr(self._policy, "_queues", {})
                if any(key != ACTION for key in queues):  # it looks back, at what it keeps itself
                    if self._images:
                        batch = {
                            **batch,
                            "observation.images": torch.stack([batch[key] for key in self._images], dim=-4),
                        }
                    self._policy._queues = populate_queues(queues, batch)
            chunk = self._policy.predict_action_chunk(batch)
            rows = [self._after(chunk[:, number]) for number in range(min(self._rows, chunk.shape[1]))]
            actions: np.ndarray = torch.cat(rows).cpu().float().numpy()
        return actions


def serve(folder: Path, device: str, port: int) -> None:
    """Serve the policy in ``folder`` to programs of this computer, until Ctrl-C."""
    saved = Saved(folder, device)
    with PolicyServer(saved).at(LOOPBACK, port) as server:
        sys.stdout.write(f"ws://{LOOPBACK}:{server.socket.getsockname()[1]} serves {saved.metadata()}\n")
        sys.stdout.flush()
        server.serve_forever()


def train(arguments: Sequence[str]) -> None:
    """LeRobot's own ``lerobot-train`` with its own arguments."""
    from lerobot.scripts.lerobot_train import main

    sys.argv = ["lerobot-train", *arguments]
    main()


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 2 when something does not fit."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    dataset = commands.add_parser("dataset", help="write a LeRobotDataset")
    dataset.add_argument("file", type=Path, help="of demos.convert --names")
    dataset.add_argument("folder", type=Path, help="to write")
    commands.add_parser("train", help="lerobot-train, with its own arguments", add_help=False)
    served = commands.add_parser("serve", help="serve a saved policy to this computer, as openpi does")
    served.add_argument("folder", type=Path, help="that LeRobot has saved it in")
    served.add_argument("--device", default="cpu", help="of torch (default %(default)s)")
    served.add_argument("--port", type=int, default=8000, help="TCP port; 0 for any that is free (default %(default)s)")
    arguments = parser.parse_args(given[:1] if given[:1] == ["train"] else given)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        define_operators()
        if arguments.command == "dataset":
            sys.stdout.write(f"{write_dataset(arguments.file, arguments.folder)}\n")
        elif arguments.command == "train":
            train(given[1:])
        else:
            serve(arguments.folder, arguments.device, arguments.port)
    except ImportError as error:
        sys.stderr.write(f"with_lerobot: {error}; run it by .venv-lerobot/bin/python, which scripts/lerobot.sh makes\n")
        return 2
    except (ContractError, ValueError) as error:
        sys.stderr.write(f"with_lerobot: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
