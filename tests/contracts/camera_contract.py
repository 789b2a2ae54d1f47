"""Contract of a camera. A driver's test subclasses it and provides the camera."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

import numpy as np
import pytest

from hardware.interfaces import Camera, CameraError


class CameraContract(ABC):
    """Subclasses provide a camera that looks at something with more red than blue in it, and a way to silence it."""

    SIZE = (48, 64)  # height, width [px]

    @abstractmethod
    def camera(self) -> Camera:
        """A camera called ``test_camera``, or whatever `NAME` says, not connected, that can be."""

    @abstractmethod
    def absent(self) -> Camera:
        """A camera that is not there, of the same name."""

    @abstractmethod
    def expose(self) -> None:
        """Let the camera take one more picture."""

    @abstractmethod
    def silence(self) -> None:
        """From now on the camera delivers nothing."""

    NAME = "test_camera"

    def connected(self) -> AbstractContextManager[Camera]:
        return self.camera()  # type: ignore[return-value]

    def test_it_is_a_camera(self) -> None:
        camera = self.camera()
        assert isinstance(camera, Camera)
        assert camera.name == self.NAME

    def test_an_absent_camera_is_named(self) -> None:
        with pytest.raises(CameraError, match=self.NAME):
            self.absent().connect()

    def test_reading_needs_a_connection(self) -> None:
        with pytest.raises(CameraError, match=f"{self.NAME}.*connect"):
            self.camera().read()

    def test_a_frame_is_rgb(self) -> None:
        with self.connected() as camera:
            self.expose()
            image = camera.read().image
        assert image.shape == (*self.SIZE, 3)
        assert image.dtype == np.uint8
        assert image[..., 0].mean() > image[..., 2].mean()

    def test_stamps_rise(self) -> None:
        with self.connected() as camera:
            self.expose()
            first = camera.read()
            self.expose()
            second = camera.read()
        assert second.stamp > first.stamp
        assert second.received >= first.received

    def test_a_frame_is_not_overwritten_by_the_next(self) -> None:
        with self.connected() as camera:
            self.expose()
            first = camera.read().image
            kept = first.copy()
            self.expose()
            camera.read()
        np.testing.assert_array_equal(first, kept)

    def test_silence_is_an_error_that_names_the_camera(self) -> None:
        with self.connected() as camera:
            self.expose()
            camera.read()
            self.silence()
            with pytest.raises(CameraError, match=self.NAME):
                for _ in range(1000):
                    camera.read()

    def test_it_disconnects_twice_and_connects_again(self) -> None:
        camera = self.camera()
        for _ in range(2):
            camera.connect()
            self.expose()
            assert camera.read().image.any()
            camera.disconnect()
            camera.disconnect()
        with pytest.raises(CameraError, match="connect"):
            camera.read()
