"""Films to disk: H.264 and AAC in an mp4, which browsers play. The same pictures and sound give the same bytes."""

from fractions import Fraction

import numpy as np

from birdlib import runtime

_PIECE = 1024  # samples, of an AAC frame


def write(
    path,
    images,
    *,
    rate_hz,
    sound=(),
    sample_rate_hz=48_000,
    crf=23,
    preset="veryfast",
    pixel_format="rgb24",
    in_turns=True,
    options=None,
):
    """Write a film of any length in little memory, whole or not at all.

    Args:
        path: of the file, ``.mp4``.
        images: iterable of (height, width, 3) uint8, all of one size with even sides.
        rate_hz: pictures per second.
        sound: iterable of (samples,) float32 in [-1, 1], consecutive; nothing for a film without sound.
        sample_rate_hz: of the sound, one that AAC knows: 8, 16, 32, 44.1, 48 kHz ...
        crf, preset: x264's quality (less is better) and how much time it may take.
        pixel_format: "rgb24" or "bgr24".
        in_turns: pictures and sound as they are played; else all pictures are encoded first, which for films of more than
            ten seconds leaves their sound behind them in the file.
        options: of the container, e.g. ``{"movflags": "faststart"}``: the index first, so that it plays while it loads.

    Raises:
        BirdlibError: if there is no picture, or PyAV was built without an H.264 encoder.
        FullDiskError: if the disk is full.
    """
    import av

    images, rate = iter(images), Fraction(rate_hz).limit_denominator(1001)
    first = next(images, None)
    if first is None:
        raise runtime.BirdlibError(f"{path}: there is no picture to write")
    pieces = _pieces(sound)
    piece = next(pieces, None)
    with runtime.replacing(path) as temporary, av.open(str(temporary), "w", options=options or {}) as container:
        try:
            picture = container.add_stream("libx264", rate=rate)
        except ValueError as error:  # av.codec.codec.UnknownCodecError
            raise runtime.BirdlibError(
                "this PyAV cannot encode H.264: take its wheel from PyPI, pip install --force-reinstall av"
            ) from error
        picture.height, picture.width = first.shape[:2]
        picture.pix_fmt, picture.time_base = "yuv420p", 1 / rate
        # mbtree=0: x264's macroblock tree differs from run to run, even in one thread
        picture.options = {"crf": str(crf), "preset": preset, "threads": "1", "x264-params": "mbtree=0"}
        voice = None
        if piece is not None:
            voice = container.add_stream("aac", rate=sample_rate_hz, layout="mono")
            voice.bit_rate = 64_000
        image, n_shown, n_heard = first, 0, 0
        while image is not None or piece is not None:
            if image is not None and (piece is None or not in_turns or n_shown / rate <= n_heard / sample_rate_hz):
                container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format=pixel_format)))
                image, n_shown = next(images, None), n_shown + 1
                if image is None:
                    container.mux(picture.encode())
            else:
                frame = av.AudioFrame.from_ndarray(piece[None], format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = sample_rate_hz, n_heard, Fraction(1, sample_rate_hz)
                container.mux(voice.encode(frame))
                piece, n_heard = next(pieces, None), n_heard + len(piece)
        if voice is not None:
            container.mux(voice.encode())


def _pieces(sound):
    for block in sound:
        block = np.asarray(block, np.float32)
        for first in range(0, len(block), _PIECE):
            yield np.ascontiguousarray(block[first : first + _PIECE])
