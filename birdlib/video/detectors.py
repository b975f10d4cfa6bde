"""Bird detectors. Boxes are (n, 5) float32: x, y, width, height in pixels, score in [0, 1].

A box lies inside its image; the highest score comes first. Every detector has ``name``, ``key`` (a digest of everything
that changes its boxes), ``weights`` (for the receipt), ``detect`` for images and ``detect_film``, which streams. The
boxes of an image do not depend on the other images. A new network is an entry of ``_NETWORKS`` and a function that
opens it.
"""

import collections
import concurrent.futures
import functools
import queue
import warnings

import numpy as np

from birdlib import runtime
from birdlib.models import catalogue, litert, weights
from birdlib.video import boxes as geometry
from birdlib.video import io as video_io
from birdlib.video import motion, tile_choice, tiles

_PADDING = 127  # grey level around images in EfficientDet's square: 0, once its input is scaled to [-1, 1]


class DetectorError(runtime.BirdlibError):
    """A detector that does not exist or does not support the input."""


class DetectorWarning(UserWarning):
    """Another detector is used than the preferred one."""


def load(name="auto", weights_dir="", n_tiles=1, min_score=0.3, n_threads=2):
    """Load a detector and download its weights if needed.

    Args:
        name: "efficientdet_lite2", the most accurate; "efficientdet_lite0", twice as fast; "ssd_mobilenet_v2";
            "motion", which needs no weights and detects what moves before a fixed camera; or "auto":
            efficientdet_lite2, and motion where its weights are not available.
        weights_dir: see ``weights.find``.
        n_tiles: 1 detects in the whole image; more also in as many overlapping, about square tiles along its longer
            side, for small birds. Each costs as much time as the whole. 0 chooses for each film, see ``tile_choice``; for photos it is 1.
        min_score: boxes below are dropped. For a tracker that can use low scores, 0.1.
        n_threads: images in parallel.

    Raises:
        DetectorError: an unknown name, or no tile at all.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    if name not in ("auto", *NAMES):
        raise DetectorError(f"there is no detector called {name!r}: choose auto, {', '.join(NAMES)}")
    if n_tiles < tile_choice.AUTO:
        raise DetectorError(f"n_tiles is {n_tiles}: choose 0 (by the film), 1 (the whole image) or more")
    if name == "motion":
        return _MotionDetector(min_score)
    try:
        source = weights.fetch("efficientdet_lite2" if name == "auto" else name, weights_dir)
    except weights.MissingWeightsError as error:
        if name != "auto":
            raise
        limits = "it needs a fixed camera and detects no birds in photos, nor birds that sit still"
        warnings.warn(f"the motion detector is used: {limits} ({error})", DetectorWarning, stacklevel=2)
        return _MotionDetector(min_score)
    return _NetworkDetector(source, n_tiles, min_score, n_threads)


class _NetworkDetector:
    """A network of ``_NETWORKS``."""

    def __init__(self, source, n_tiles, min_score, n_threads):
        self.name, self.n_tiles, self.min_score, self.n_threads = source.name, n_tiles, min_score, n_threads
        recipe = {"n_tiles": n_tiles or f"by the film, {tile_choice.RECIPE}", "min_score": min_score, "recipe": 1}
        self.key = runtime.digest({"name": self.name, "sha256": source.sha256, **recipe})
        self.weights = {self.name: source.receipt()}
        self._source, self._idle = source, queue.SimpleQueue()  # opened networks that no thread uses

    def detect(self, images):
        """The boxes, (n, 5) float32, of each of a list of (height, width, 3) uint8 RGB images of any sizes."""
        with concurrent.futures.ThreadPoolExecutor(self.n_threads) as pool:
            return self._detect_all(images, self.n_tiles or 1, pool)

    def detect_film(self, path, rate_hz=5.0, start_s=0.0, end_s=None):
        """Yield (time_s, image, boxes), in constant memory; arguments and errors as in ``video.io.frames``."""
        with concurrent.futures.ThreadPoolExecutor(self.n_threads) as pool:
            n_tiles = self.n_tiles or tile_choice.choose(tile_choice.sample(path, start_s, end_s), functools.partial(self._detect_all, pool=pool))
            waiting = collections.deque()  # one image a thread, and one that has been decoded meanwhile
            for time_s, image in video_io.frames(path, rate_hz, start_s, end_s):
                waiting.append((time_s, image, pool.submit(self._detect, image, n_tiles)))
                if len(waiting) > self.n_threads:
                    time_s, image, found = waiting.popleft()
                    yield time_s, image, found.result()
            for time_s, image, found in waiting:
                yield time_s, image, found.result()

    def _detect_all(self, images, n_tiles, pool):
        return list(pool.map(functools.partial(self._detect, n_tiles=n_tiles), images))

    def _detect(self, image, n_tiles):
        try:
            network = self._idle.get_nowait()
        except queue.Empty:
            network = _NETWORKS[self.name](self._source.path)
        height, width = image.shape[:2]
        parts = []
        for x, y, tile_width, tile_height in tiles.layout(width, height, n_tiles):
            boxes = network(image[y : y + tile_height, x : x + tile_width])
            boxes = geometry.clip(boxes[boxes[:, 4] >= self.min_score], tile_width, tile_height)
            truncated = tiles.truncated_by(boxes, (x, y, tile_width, tile_height), width, height)
            parts.append((boxes + np.float32([x, y, 0, 0, 0]), truncated))
        self._idle.put(network)
        return tiles.merge(*(np.concatenate(part) for part in zip(*parts, strict=True)))


class _MotionDetector:
    """What moves before a fixed camera, see ``motion``."""

    name, weights = "motion", {}

    def __init__(self, min_score):
        self.min_score = min_score
        self.key = runtime.digest({"name": self.name, "min_score": min_score, "recipe": motion.RECIPE})

    def detect(self, images):
        """Always raises DetectorError: single images do not show motion."""
        remedy = "download the weights of efficientdet_lite2: python -m birdlib weights --fetch"
        raise DetectorError(f"motion detects birds in films only; for photos, {remedy}")

    def detect_film(self, path, rate_hz=5.0, start_s=0.0, end_s=None):
        """As the networks' ``detect_film``."""
        for time_s, image, boxes in motion.detect_film(path, rate_hz, start_s, end_s):
            boxes = boxes[boxes[:, 4] >= self.min_score]
            yield time_s, image, boxes[np.argsort(-boxes[:, 4], kind="stable")]


def _open_efficientdet(path, classes):
    """EfficientDet-Lite with its own non-maximum suppression in the file; at most 25 objects, birds or not."""
    import cv2

    interpreter = litert.open_interpreter(path)
    entry = interpreter.get_input_details()[0]
    side = int(entry["shape"][1])
    outputs = [tensor["index"] for tensor in interpreter.get_output_details()]  # boxes, classes, scores, count

    def predict(image):
        height, width = image.shape[:2]
        scale = side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        canvas = np.full((side, side, 3), _PADDING, np.uint8)
        canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else 1)
        interpreter.set_tensor(entry["index"], canvas[None])
        interpreter.invoke()
        corners, found, scores = (interpreter.get_tensor(index)[0] for index in outputs[:3])
        top, left, bottom, right = corners.T * side / scale
        boxes = np.stack([left, top, right - left, bottom - top, scores], axis=1)
        return boxes[np.isin(found, classes)]

    return predict


def _open_ssd(folder, classes):
    """SSD MobileNetV2 by OpenCV; it was trained on images stretched to a square."""
    import cv2

    graph, text = (str(folder / name) for name in catalogue.MODELS["ssd_mobilenet_v2"].files)
    network = cv2.dnn.readNetFromTensorflow(graph, text)

    def predict(image):
        height, width = image.shape[:2]
        network.setInput(cv2.dnn.blobFromImage(image, size=(300, 300)))
        found = network.forward()[0, 0]  # (n, 7): image, class, score, left, top, right, bottom
        found = found[np.isin(found[:, 1], classes)]
        left, top, right, bottom = found[:, 3:].T * np.float32([[width], [height], [width], [height]])
        return np.stack([left, top, right - left, bottom - top, found[:, 2]], axis=1)

    return predict


# Name in ``models.catalogue`` -> path of the weights -> function from (height, width, 3) uint8 RGB to the birds' boxes.
# The classes are COCO's bird, airplane and kite (birds that soar, fly or stretch are taken for these); the numbers
# start from 0 in EfficientDet, from 1 after a background class in SSD.
_NETWORKS = {
    "efficientdet_lite2": functools.partial(_open_efficientdet, classes=(15, 4, 37)),
    "efficientdet_lite0": functools.partial(_open_efficientdet, classes=(15, 4, 37)),
    "ssd_mobilenet_v2": functools.partial(_open_ssd, classes=(16, 5, 38)),
}
NAMES = (*_NETWORKS, "motion")
