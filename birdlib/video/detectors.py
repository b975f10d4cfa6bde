"""Where birds are in a picture or a film. Boxes are (n, 5) float32: x, y, width, height in pixels, score in [0, 1].

A box lies inside its picture; the surest comes first. Every detector has ``name``, ``key`` (a digest of everything that
changes its boxes), ``weights`` (for the receipt), ``detect`` for pictures and ``detect_film``, which streams. What a
detector says of a picture does not depend on the others that it gets with it.
"""

import collections
import concurrent.futures
import queue
import warnings

import numpy as np

from birdlib import runtime
from birdlib.models import catalogue, weights, yamnet
from birdlib.video import io as video_io
from birdlib.video import motion, tiles

# Classes of COCO as each network counts them, from 0, or from 1 with a background: bird, and airplane and kite, which is
# what networks that have seen few birds take those for that soar, fly, or stretch out
_NETWORKS = {"efficientdet_lite2": (15, 4, 37), "efficientdet_lite0": (15, 4, 37), "ssd_mobilenet_v2": (16, 5, 38)}
NAMES = (*_NETWORKS, "motion")
_GREY = 127  # what EfficientDet pads with: 0, once its input is scaled to [-1, 1]


class DetectorError(runtime.BirdlibError):
    """A detector that does not exist or cannot do what was asked."""


class DetectorWarning(UserWarning):
    """Another detector than one might wish for."""


def load(name="auto", weights_dir="", n_tiles=1, min_score=0.3, n_threads=2):
    """Load a detector with its weights, which are fetched if need be.

    Args:
        name: "efficientdet_lite2", the most able; "efficientdet_lite0", twice as fast; "ssd_mobilenet_v2"; "motion",
            which needs no weights and sees what moves before a fixed camera; or "auto": efficientdet_lite2, and motion
            where its weights cannot be had.
        weights_dir: where the weights are, see ``weights.find``.
        n_tiles: 1 looks at the whole picture; more also at as many overlapping tiles along its longer side, about
            square ones, where birds are small. Each costs as much time as the whole.
        min_score: boxes below are left out. For a tracker that can use faint ones, 0.1.
        n_threads: pictures looked at at the same time, one thread each.

    Raises:
        DetectorError: an unknown name, or no tile at all.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    if name not in ("auto", *NAMES):
        raise DetectorError(f"there is no detector called {name!r}: choose auto, {', '.join(NAMES)}")
    if n_tiles < 1:
        raise DetectorError(f"n_tiles is {n_tiles}: choose 1 (the whole picture) or more")
    if name == "motion":
        return _MotionDetector(min_score)
    try:
        source = weights.fetch("efficientdet_lite2" if name == "auto" else name, weights_dir)
    except weights.MissingWeightsError as error:
        if name != "auto":
            raise
        warnings.warn(
            f"birds are told from what moves only: motion needs a fixed camera and does not see birds in photos, nor "
            f"those that sit still ({error})",
            DetectorWarning,
            stacklevel=2,
        )
        return _MotionDetector(min_score)
    return NetworkDetector(source, n_tiles, min_score, n_threads)


class NetworkDetector:
    """A network trained on COCO; ``_NETWORKS`` tells of which classes its boxes are kept."""

    def __init__(self, source, n_tiles=1, min_score=0.3, n_threads=2):
        self.name, self.n_tiles, self.min_score, self.n_threads = source.name, n_tiles, min_score, n_threads
        recipe = {"n_tiles": n_tiles, "min_score": min_score, "recipe": 1}
        self.key = runtime.digest({"name": self.name, "sha256": source.sha256, **recipe})
        self.weights = {self.name: source.receipt()}
        self._source, self._lookers = source, queue.SimpleQueue()  # opened networks that nobody is using

    def detect(self, images):
        """Find the birds in pictures.

        Args:
            images: list of (height, width, 3) uint8, RGB, of any sizes.

        Returns:
            A list with the boxes of each, (n, 5) float32.
        """
        with concurrent.futures.ThreadPoolExecutor(self.n_threads) as pool:
            return list(pool.map(self._detect, images))

    def detect_film(self, path, rate_hz=5.0, start_s=0.0, end_s=None):
        """Find the birds in a film of any length in little memory.

        Args:
            path, rate_hz, start_s, end_s: as in ``video.frames``.

        Yields:
            (time_s, image, boxes): seconds of the film, (height, width, 3) uint8 RGB, (n, 5) float32.

        Raises:
            video.VideoError: as ``video.frames``.
        """
        with concurrent.futures.ThreadPoolExecutor(self.n_threads) as pool:
            waiting = collections.deque()  # as many as there are threads, and one that has been decoded meanwhile
            for time_s, image in video_io.frames(path, rate_hz, start_s, end_s):
                waiting.append((time_s, image, pool.submit(self._detect, image)))
                if len(waiting) > self.n_threads:
                    time_s, image, found = waiting.popleft()
                    yield time_s, image, found.result()
            for time_s, image, found in waiting:
                yield time_s, image, found.result()

    def _detect(self, image):
        try:
            look = self._lookers.get_nowait()
        except queue.Empty:
            look = _looker(self._source)
        height, width = image.shape[:2]
        parts = []
        for x, y, tile_width, tile_height in tiles.layout(width, height, self.n_tiles):
            boxes = look(image[y : y + tile_height, x : x + tile_width])
            boxes = tiles.inside(boxes[boxes[:, 4] >= self.min_score], tile_width, tile_height)
            cut = tiles.cut_by(boxes, (x, y, tile_width, tile_height), width, height)
            parts.append((boxes + np.float32([x, y, 0, 0, 0]), cut))
        self._lookers.put(look)
        boxes, cut = (np.concatenate(some) for some in zip(*parts, strict=True))
        return tiles.merge(boxes, cut)


class _MotionDetector:
    """What moves before a fixed camera, see ``motion``."""

    name, weights = "motion", {}

    def __init__(self, min_score=0.3):
        self.min_score = min_score
        self.key = runtime.digest({"name": self.name, "min_score": min_score, "recipe": motion.RECIPE})

    def detect(self, images):
        """There is no telling in single pictures.

        Raises:
            DetectorError: always.
        """
        raise DetectorError(
            "motion sees birds in films only; for photos, let the weights of efficientdet_lite2 be fetched: "
            "python -m birdlib weights --fetch"
        )

    def detect_film(self, path, rate_hz=5.0, start_s=0.0, end_s=None):
        """As ``NetworkDetector.detect_film``."""
        for time_s, image, boxes in motion.detect_film(path, rate_hz, start_s, end_s):
            boxes = boxes[boxes[:, 4] >= self.min_score]
            yield time_s, image, boxes[np.argsort(-boxes[:, 4], kind="stable")]


# Networks: a function from (height, width, 3) uint8 to the birds among its boxes, in pixels


def _looker(source):
    kept = _NETWORKS[source.name]
    return _ssd(source.path, kept) if source.name == "ssd_mobilenet_v2" else _efficientdet(source.path, kept)


def _efficientdet(path, kept):
    """EfficientDet-Lite with its own non-maximum suppression in the file; at most 25 things, birds or not."""
    import cv2

    interpreter = yamnet.open_interpreter(path)
    entry = interpreter.get_input_details()[0]
    side = int(entry["shape"][1])
    exits = [tensor["index"] for tensor in interpreter.get_output_details()]  # boxes, classes, scores, how many

    def look(image):
        height, width = image.shape[:2]
        scale = side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        canvas = np.full((side, side, 3), _GREY, np.uint8)
        canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else 1)
        interpreter.set_tensor(entry["index"], canvas[None])
        interpreter.invoke()
        corners, classes, scores = (interpreter.get_tensor(index)[0] for index in exits[:3])
        top, left, bottom, right = corners.T * side / scale
        boxes = np.stack([left, top, right - left, bottom - top, scores], axis=1)
        return boxes[np.isin(classes, kept)]

    return look


def _ssd(folder, kept):
    """SSD MobileNetV2 by OpenCV; it was trained on pictures stretched to a square."""
    import cv2

    graph, text = (str(folder / name) for name in catalogue.MODELS["ssd_mobilenet_v2"].files)
    network = cv2.dnn.readNetFromTensorflow(graph, text)

    def look(image):
        height, width = image.shape[:2]
        network.setInput(cv2.dnn.blobFromImage(image, size=(300, 300)))
        found = network.forward()[0, 0]  # (n, 7): picture, class, score, left, top, right, bottom
        found = found[np.isin(found[:, 1], kept)]
        left, top, right, bottom = found[:, 3:].T * np.float32([[width], [height], [width], [height]])
        return np.stack([left, top, right - left, bottom - top, found[:, 2]], axis=1)

    return look
