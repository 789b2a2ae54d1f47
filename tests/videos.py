"""Video files that stand in for cameras."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH, FPS = 48, 64, 30.0


def write_video(path: Path, seconds: float = 300.0) -> Path:
    """A video of a noisy scene, which plays for so many ``seconds``."""
    rng = np.random.default_rng(0)
    scene = rng.integers(40, 200, (HEIGHT, WIDTH, 3))
    pictures = [np.clip(scene + rng.integers(-15, 16, scene.shape), 0, 255).astype(np.uint8) for _ in range(30)]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for number in range(round(FPS * seconds)):
        writer.write(pictures[number % len(pictures)])
    writer.release()
    return path
