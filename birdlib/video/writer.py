"""Writing films: H.264 and AAC in an mp4, which browsers play. The same images and sound give the same bytes."""

from fractions import Fraction

import numpy as np

from birdlib import runtime

_BLOCK = 1024  # samples, of an AAC frame


def write(path, images, *, rate_hz, sound=(), sample_rate_hz=48_000, crf=23, preset="veryfast", pixel_format="rgb24",
          interleave=True, options=None):  # fmt: skip
    """Write a film of any length in constant memory, atomically.

    Args:
        path: of the file, ``.mp4``.
        images: iterable of (height, width, 3) uint8, all of one size with even sides.
        rate_hz: images per second.
        sound: iterable of (samples,) float32 in [-1, 1], consecutive; empty for a film without sound.
        sample_rate_hz: of the sound, one that AAC supports: 8, 16, 32, 44.1, 48 kHz ...
        crf, preset: x264's quality (lower is better) and speed.
        pixel_format: "rgb24" or "bgr24".
        interleave: encode images and sound in the order in which they are played; else all images are encoded first,
            and the sound of films of more than ten seconds follows them in the file.
        options: of the container, e.g. ``{"movflags": "faststart"}``: the index first, so that it plays while it loads.

    Raises:
        BirdlibError: if there is no image, or PyAV was built without an H.264 encoder.
        FullDiskError: if the disk is full.
    """
    import av

    images, rate = iter(images), Fraction(rate_hz).limit_denominator(1001)
    first = next(images, None)
    if first is None:
        raise runtime.BirdlibError(f"{path}: there is no image to write")
    blocks = _blocks(sound)
    block = next(blocks, None)
    with runtime.replacing(path) as temporary, av.open(str(temporary), "w", options=options or {}) as container:
        try:
            video = container.add_stream("libx264", rate=rate)
        except ValueError as error:  # av.codec.codec.UnknownCodecError
            raise runtime.BirdlibError(
                "this PyAV cannot encode H.264: take its wheel from PyPI, pip install --force-reinstall av"
            ) from error
        video.height, video.width = first.shape[:2]
        video.pix_fmt, video.time_base = "yuv420p", 1 / rate
        # mbtree=0: x264's macroblock tree differs from run to run, even in one thread
        video.options = {"crf": str(crf), "preset": preset, "threads": "1", "x264-params": "mbtree=0"}
        audio = None
        if block is not None:
            audio = container.add_stream("aac", rate=sample_rate_hz, layout="mono")
            audio.bit_rate = 64_000
        image, n_images, n_samples = first, 0, 0
        while image is not None or block is not None:
            if image is not None and (block is None or not interleave or n_images / rate <= n_samples / sample_rate_hz):
                container.mux(video.encode(av.VideoFrame.from_ndarray(image, format=pixel_format)))
                image, n_images = next(images, None), n_images + 1
                if image is None:
                    container.mux(video.encode())
            else:
                frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = sample_rate_hz, n_samples, Fraction(1, sample_rate_hz)
                container.mux(audio.encode(frame))
                block, n_samples = next(blocks, None), n_samples + len(block)
        if audio is not None:
            container.mux(audio.encode())


def _blocks(sound):
    for waveform in sound:
        waveform = np.asarray(waveform, np.float32)
        for first in range(0, len(waveform), _BLOCK):
            yield np.ascontiguousarray(waveform[first : first + _BLOCK])
