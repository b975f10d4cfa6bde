"""Speed and memory of following the birds of a film, against the plain way: ``python -m birdlib bench video``."""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.data.synthetic import films, world
from birdlib.individuals import backbones, track_embeddings
from birdlib.video import detectors, track_crops, tracking
from birdlib.video import images as video_images
from birdlib.video import io as video_io

_WIDTH, _HEIGHT = 1280, 720
_FILM_S, _FILM_HZ = 10, 25
_SAMPLED_HZ = 5  # pictures per second that are looked at
_LOOKED = 12  # frames that the plain way looks at; its time is scaled to all
_SHORT_S, _LONG_S = 60, 3600  # of the films whose memory is compared
_MIN_SCORE = 0.5  # of the surest box of a track
_EMBEDDED = 64  # crops that the memory check embeds: the time it takes to embed more would tell nothing


def measure(long_s=_LONG_S):
    """Look at a drawn film of 1280 × 720 in the plain way and by tracks, then at one of an hour.

    The plain way decodes every frame and, one at a time, looks for birds and embeds each. The other looks at
    ``_SAMPLED_HZ`` pictures per second, two at once, follows the birds and embeds the best crops of each track together.

    The long film repeats a clip; its boxes are looked for in the first repetition only and known in the others, as what
    the detector keeps in memory does not depend on how many pictures it has seen.

    Args:
        long_s: of the long film; 0 leaves the memory out.

    Returns:
        DataFrame: ``what, seconds, birds_embedded, times_real_time, times_faster``, each way below the plain one that it
        is compared with, and ``following_mb, peak_mb``, of the two lengths; NaN what does not apply.
    """
    detector, backbone = detectors.load("efficientdet_lite2", min_score=track_embeddings.MIN_BOX_SCORE), backbones.load("resnet50")
    with tempfile.TemporaryDirectory() as folder:
        path, clip = Path(folder) / "film.mp4", Path(folder) / "clip.mp4"
        _draw(path, clip)
        _, image = next(video_io.frames(path))
        detector.detect([image] * 2)  # both ready before the clock starts, and the network traced
        backbones.extract_features([image] * (2 * backbones.BATCH), backbone)
        seconds, n_seen, n_embedded = _tracked(path, Path(folder), detector, backbone)
        n_birds = n_seen / (_FILM_S * _SAMPLED_HZ)  # in a picture
        rows = [(f"{_SAMPLED_HZ} pictures/s, tracks, the best crops embedded", seconds, n_embedded)]
        for rate_hz, name in ((_SAMPLED_HZ, f"{_SAMPLED_HZ} pictures/s"), (_FILM_HZ, f"every frame, {_FILM_HZ}/s")):
            seconds = _FILM_S * rate_hz * _plain(path, rate_hz, n_birds, backbone)
            what = f"{name}, one at a time, every bird embedded ({_LOOKED} looked at, scaled)"
            rows.insert(0, (what, seconds, round(n_birds * _FILM_S * rate_hz)))
        table = pd.DataFrame(rows, columns=["what", "seconds", "birds_embedded"])
        table["times_real_time"] = _FILM_S / table["seconds"]
        table["times_faster"] = table["seconds"].iloc[0] / table["seconds"]
        table[["following_mb", "peak_mb"]] = np.nan
        if long_s:
            lengths = (_SHORT_S, long_s)
            table = pd.concat([table, *(_remembered(clip, length_s) for length_s in lengths)], ignore_index=True)
    return table


def _draw(path, clip):
    """The film, and the same with ``_SAMPLED_HZ`` frames per second only, which is decoded sooner."""
    cast = []
    for k, label in enumerate(("grywag1", "ruflut1", "cobflu1")):
        one = world.individual(label, k, seed=0)
        cast.append(films.Bird(one.label, one.individual_id, one.voice, one.marks))
    rng = np.random.default_rng(0)
    drawn, sound = films.film(cast, duration_s=_FILM_S, fps=_FILM_HZ, width=_WIDTH, height=_HEIGHT, rng=rng)
    images = [image for image, _ in drawn]
    films.write_film(images, sound, path, fps=_FILM_HZ)
    films.write_film(images[:: _FILM_HZ // _SAMPLED_HZ], sound, clip, fps=_SAMPLED_HZ)


def _plain(path, rate_hz, n_birds, backbone):
    """Seconds for one picture with this many birds, from the middle of the film."""
    one_at_a_time = detectors.load("efficientdet_lite2", min_score=track_embeddings.MIN_BOX_SCORE, n_threads=1)
    looked = one_at_a_time.detect_film(path, rate_hz, start_s=_FILM_S / 2)
    _, image, boxes = next(looked)  # opened and ready
    start = time.perf_counter()
    for _ in itertools.islice(looked, _LOOKED):
        pass
    looking_s = (time.perf_counter() - start) / _LOOKED
    looked.close()
    box = boxes[0] if len(boxes) else (0, 0, _HEIGHT / 6, _HEIGHT / 6)
    start = time.perf_counter()
    for _ in range(_LOOKED):
        backbones.extract_features([track_crops.crop(image, box)], backbone)
    return looking_s + n_birds * (time.perf_counter() - start) / _LOOKED


def _tracked(path, folder, detector, backbone):
    """(seconds, birds in tracks, crops embedded)."""
    start = time.perf_counter()
    detections = detector.detect_film(path, _SAMPLED_HZ)
    found, crops, _ = tracking.follow(detections, "film", folder, rate_hz=_SAMPLED_HZ, min_score=_MIN_SCORE)
    backbones.extract_features([video_images.read_image(folder / name) for name in crops["path"]], backbone)
    return time.perf_counter() - start, len(found), len(crops)


# Memory


def _remembered(clip, length_s):
    """A row of the table: the clip is repeated up to a length, and looked at by a process of its own."""
    path = clip.with_name(f"{length_s}.mp4")
    loop(clip, path, length_s // _FILM_S, _FILM_S)
    code = "import sys; from birdlib.pipeline import film_benchmarks; film_benchmarks.look_through(*sys.argv[1:])"
    root = str(runtime.repository())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    start = time.perf_counter()
    command = [sys.executable, "-c", code, str(path), str(clip.parent / f"{length_s}")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise runtime.BirdlibError(
            f"the film of {length_s} s could not be looked through:\n{done.stderr.strip()[-500:]}"
        )
    following_mb, peak_mb = (float(number) for number in done.stdout.split()[-2:])
    what = f"a film of {length_s / 60:g} min, following alone and in all"
    seconds = time.perf_counter() - start
    return pd.DataFrame([{"what": what, "seconds": seconds, "following_mb": following_mb, "peak_mb": peak_mb}])


def loop(clip, path, times, length_s):
    """Repeat the pictures of a film by copying its packets: nothing is decoded or encoded again.

    Args:
        clip: of ``length_s`` seconds, beginning with a key frame.
        path: of the new film, of the same kind.
    """
    import av

    with av.open(str(path), "w") as longer:
        picture = None
        for number in range(times):
            with av.open(str(clip)) as container:
                if picture is None:
                    picture = longer.add_stream_from_template(container.streams.video[0])
                later = round(Fraction(number * length_s) / container.streams.video[0].time_base)
                for packet in container.demux(video=0):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, picture
                        longer.mux(packet)


def look_through(path, folder):
    """Follow the birds of a looped film, then embed crops; print the most memory that this process has had so far, in MB.

    It is printed after each of the two, as the network that embeds takes more than would be lost by following.
    """
    detector, known = detectors.load("efficientdet_lite2", min_score=track_embeddings.MIN_BOX_SCORE), {}

    def detections():
        for time_s, image in video_io.frames(path, _SAMPLED_HZ):
            number = round(time_s * _SAMPLED_HZ) % (_FILM_S * _SAMPLED_HZ)
            if number not in known:
                known[number] = detector.detect([image])[0]
            yield time_s, image, known[number]

    _, crops, _ = tracking.follow(detections(), "film", folder, rate_hz=_SAMPLED_HZ, min_score=_MIN_SCORE)
    print(runtime.peak_mb())  # for the process that has started this one
    chosen = crops["path"].iloc[:: max(1, len(crops) // _EMBEDDED)]
    backbones.extract_features([video_images.read_image(Path(folder) / name) for name in chosen], backbones.load("resnet50"))
    print(runtime.peak_mb())
