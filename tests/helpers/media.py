"""Small films and sounds, and a stand-in for ResNet50."""

from fractions import Fraction

import av
import numpy as np
import soundfile

from birdlib.models import resnet50
from birdlib.multimodal import scene_audio, scene_video

RATE_HZ = scene_audio.SAMPLE_RATE_HZ


class Network:
    """In place of ResNet50: the mean colour, then zeros. Counts its pictures."""

    def __init__(self, dies_at=None):
        self.n_pictures, self.sizes, self.dies_at = 0, [], dies_at

    def predict(self, images, batch_size, verbose):
        assert images.dtype == np.float32 and images.shape[1:] == (224, 224, 3)
        if len(self.sizes) == self.dies_at:
            raise KeyboardInterrupt
        self.n_pictures += len(images)
        self.sizes.append(len(images))
        features = np.zeros((len(images), resnet50.FEATURES), np.float32)
        features[:, :3] = images.mean(axis=(1, 2))
        return features


def backbone(key="a", **options):
    return scene_video.Backbone(Network(**options), key, {})


def film(path, images, *, sound=None, rate_hz=RATE_HZ, frame_rate_hz=10, options=None):
    """Write a film of pictures, or of grey levels; ``sound`` is (samples,) or (channels, samples)."""
    images = [np.full((48, 64, 3), image, np.uint8) if np.isscalar(image) else image for image in images]
    with av.open(str(path), "w", options=options or {}) as container:
        picture = container.add_stream("mpeg4", rate=frame_rate_hz)
        picture.height, picture.width, picture.pix_fmt = *images[0].shape[:2], "yuv420p"
        sound = None if sound is None else np.atleast_2d(sound).astype(np.float32)
        track = sound is not None and container.add_stream(
            "pcm_s16le", rate=rate_hz, layout="mono" if len(sound) == 1 else "stereo"
        )
        for n, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, frame_rate_hz)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        for first in range(0, 0 if sound is None else sound.shape[1], 800):
            part = np.ascontiguousarray(sound[:, first : first + 800])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=track.layout.name)
            frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), first
            container.mux(track.encode(frame))
        if track:
            container.mux(track.encode())
    return path.name


def by_second(duration_s, frame_rate_hz=10):
    """Levels of a film whose picture is of level 10, 30, 50 ... in its first, second, third second."""
    return [10 + 20 * (n // frame_rate_hz % 12) for n in range(round(duration_s * frame_rate_hz))]


def tone(duration_s, hz=4000.0, amplitude=0.5, rate_hz=RATE_HZ):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(duration_s * rate_hz)) / rate_hz)).astype(np.float32)


def recording(path, waveform, rate_hz=RATE_HZ):
    soundfile.write(path, waveform.T, rate_hz, subtype="FLOAT")
    return path.name
