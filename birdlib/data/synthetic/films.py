"""Photos and films of drawn animals; the sound of a film is that of the birds that sing in it.

Images are (height, width, 3) uint8, BGR. Everything is synthetic.
"""

from dataclasses import dataclass, replace

import numpy as np

from birdlib.data.synthetic import acoustics, drawing, songs
from birdlib.video import writer

SCENES = ("branches", "foliage", "sky", "water")
_BASES = {  # colours at the top and at the bottom
    "branches": ((190, 205, 195), (120, 150, 140)),
    "foliage": ((90, 150, 110), (45, 85, 60)),
    "sky": ((215, 180, 140), (235, 225, 210)),
    "water": ((170, 150, 120), (115, 105, 80)),
}


def scenery(scene, *, width, height, rng):
    """An empty scene of ``SCENES``, (height, width, 3) uint8: a gradient, shapes out of focus, shapes in focus."""
    import cv2

    top, bottom = (np.asarray(colour) * rng.uniform(0.75, 1.15) * rng.uniform(0.9, 1.1, 3) for colour in _BASES[scene])
    share = np.linspace(0, 1, height)[:, None, None]
    image = np.clip(np.broadcast_to(top + (bottom - top) * share, (height, width, 3)), 0, 255).astype(np.uint8).copy()
    for sharp in (False, True):
        for _ in range({"branches": 22, "foliage": 90, "sky": 6, "water": 40}[scene]):
            at = (int(rng.integers(0, width)), int(rng.integers(0, height)))
            here = image[at[1], at[0]].astype(float)
            colour = tuple(np.clip(here * rng.uniform(0.6, 1.35) + rng.normal(0, 7, 3), 0, 255))
            size = rng.uniform(0.03, 0.13) * width * (0.5 if sharp else 1.2)
            flat = {"water": 0.12, "sky": 0.4}.get(scene, rng.uniform(0.3, 0.9))
            turn = 0 if scene in ("water", "sky") else rng.uniform(0, 180)
            cv2.ellipse(image, at, (int(size) + 1, int(size * flat) + 1), turn, 0, 360, colour, -1, cv2.LINE_AA)
        image = cv2.GaussianBlur(image, (0, 0), 1.6 if sharp and scene in ("branches", "foliage") else 0.022 * width)
    return image


def _branch(image, points, thickness, rng):
    """Draw a branch through (n, 2) ``points`` in pixels, in place, lighter on its upper side."""
    import cv2

    bark = np.array([55, 75, 95]) * rng.uniform(0.7, 1.3)
    points = np.round(np.asarray(points) * 16).astype(np.int32)
    cv2.polylines(image, [points], False, tuple(bark), max(2, round(thickness)), cv2.LINE_AA, 4)
    lift = np.array([0, int(16 * thickness * 0.25)])
    cv2.polylines(image, [points - lift], False, tuple(bark * 1.4), max(1, round(thickness / 4)), cv2.LINE_AA, 4)


def _leaf(image, at, size, turn_deg, colour):
    import cv2

    axes = (max(2, int(size)), max(1, int(0.38 * size)))
    cv2.ellipse(image, (int(at[0]), int(at[1])), axes, turn_deg, 0, 360, colour, -1, cv2.LINE_AA)


def photo(plumage, marks, rng):
    """A photo of one animal in a random scene, pose and distance, sometimes behind a leaf, with noise and blur.

    Args:
        plumage: the species' ``drawing.Plumage``.
        marks: the individual's ``drawing.Marks``.

    Returns:
        image: (height, width, 3) uint8, 224 to 320 pixels a side.
        jpeg_quality: int, for the file.
    """
    import cv2

    width, height = (int(side) for side in rng.integers(224, 321, 2))
    scene = str(rng.choice(SCENES))
    image = scenery(scene, width=width, height=height, rng=rng)
    length_px = rng.uniform(0.22, 0.46) * min(width, height)
    x, y = width * rng.uniform(0.36, 0.64), height * rng.uniform(0.38, 0.62)
    flying = plumage.body == "bird" and rng.random() < (0.5 if scene == "sky" else 0.08)
    facing = int(rng.choice((-1, 1)))
    lean_deg = rng.uniform(-5, 15) if flying or plumage.body != "bird" else rng.uniform(5, 45)
    bill_open, wingbeat = float(rng.random() < 0.25), rng.uniform(-0.8, 1.0) if flying else None
    pose = drawing.Pose(x, y, length_px, facing, lean_deg, bill_open, wingbeat)
    if not flying:
        foot = y + (0.48 if plumage.body == "bird" else 0.38) * length_px
        slope = rng.uniform(-0.12, 0.12) * width
        _branch(image, [(-5, foot - slope), (x, foot), (width + 5, foot + slope)], 0.11 * length_px + 3, rng)
    drawing.draw(image, plumage, marks, pose)
    for _ in range(rng.integers(0, 4)):
        colour = tuple(np.array([60, 130, 80]) * rng.uniform(0.5, 1.3))
        at = (x + rng.normal(0, 0.7) * length_px, y + rng.normal(0.25, 0.5) * length_px)
        _leaf(image, at, rng.uniform(0.1, 0.32) * length_px, rng.uniform(0, 180), colour)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.7))
    exposed = image * rng.uniform(0.65, 1.2) * rng.uniform(0.9, 1.1, 3) + rng.normal(0, rng.uniform(2, 9), image.shape)
    return np.clip(exposed, 0, 255).astype(np.uint8), int(rng.integers(45, 86))


@dataclass(frozen=True)
class Bird:
    """A bird of a film."""

    label: str
    individual_id: str
    voice: songs.Voice
    marks: drawing.Marks
    visits: int = 1  # 2: it leaves and comes back


@dataclass(frozen=True)
class _Stop:
    """A position and when a bird is there, in seconds of the film: a perch, or a point outside the image."""

    from_s: float
    to_s: float
    x: float
    y: float
    is_perch: bool = True


def film(cast, *, duration_s, fps, width, height, rng):
    """A film in which every bird flies in, perches, hops, sings and mostly flies out.

    Args:
        cast: list of ``Bird``.

    Returns:
        frames: iterator of (image, rows): (height, width, 3) uint8 and one dict for each bird in the image, with
            ``individual_id, label, x, y, width, height`` (whole pixels inside the frame) and ``sings`` (0 or 1).
        soundtrack: (samples,) float32 at ``acoustics.SAMPLE_RATE_HZ``.
    """
    scene = str(rng.choice(SCENES))
    stage = scenery(scene, width=width, height=height, rng=rng)
    perches = []
    for level in (0.42, 0.80):
        bend = height * (level + rng.uniform(-0.05, 0.05, 5))
        across = np.linspace(-0.02, 1.02, 5) * width
        _branch(stage, np.stack([across, bend], 1), 0.022 * width, rng)
        perches += [(x, np.interp(x, across, bend)) for x in width * np.array([0.14, 0.38, 0.62, 0.86])]
    order = rng.permutation(len(perches))
    length_px = height * rng.uniform(0.15, 0.19)
    acts, soundtrack = [], _ambience(round(duration_s * acoustics.SAMPLE_RATE_HZ), rng)
    for k, bird in enumerate(cast):
        own = [perches[i] for i in order[k :: len(cast)]]
        stops = _itinerary(bird, own, duration_s=duration_s, width=width, height=height, first=k, rng=rng)
        sound, notes = _perform(bird, stops, duration_s, rng)
        soundtrack = soundtrack + sound
        acts.append((bird, stops, notes, length_px * rng.uniform(0.88, 1.12)))
    soundtrack = (0.6 * soundtrack / max(0.6, np.abs(soundtrack).max())).astype(np.float32)
    return _frames(stage, acts, duration_s=duration_s, fps=fps, rng=rng), soundtrack


def _itinerary(bird, perches, *, duration_s, width, height, first, rng):
    """A bird's stops in order of time, with points outside the image before, between and after its visits."""

    def outside(from_s, to_s):
        return _Stop(from_s, to_s, rng.choice((-0.25, 1.25)) * width, rng.uniform(0.05, 0.5) * height, is_perch=False)

    starts_inside = first == 0 and bird.visits == 1 and rng.random() < 0.7
    now_s = -2.0 if starts_inside else 0.3 + 0.7 * first + rng.uniform(0, 0.5)
    stops, share = [], duration_s / bird.visits
    for visit in range(bird.visits):
        stops.append(outside(now_s - 1, now_s))
        stays = visit == bird.visits - 1 and rng.random() < 0.4
        leaves_s = (visit + 1) * share - rng.uniform(0.9, 1.8)
        now_s += rng.uniform(0.55, 0.9)
        for hop in range(rng.integers(2, 4)):
            x, y = perches[hop % len(perches)]
            until_s = min(leaves_s, now_s + rng.uniform(1.6, 3.6))
            stops.append(_Stop(now_s, until_s, x + rng.uniform(-0.025, 0.025) * width, y))
            if leaves_s - until_s < 1.2:
                break
            now_s = until_s + rng.uniform(0.3, 0.5)
        stops[-1] = replace(stops[-1], to_s=duration_s + 1 if stays else leaves_s)
        now_s = stops[-1].to_s + rng.uniform(0.55, 0.9)
        stops.append(outside(now_s, now_s + 1))
        now_s += rng.uniform(0.8, 1.2)
    return stops


def _perform(bird, stops, duration_s, rng):
    """A bird's part of the soundtrack and its notes (n, 2) in seconds: it sings only while it perches."""
    rate_hz = acoustics.SAMPLE_RATE_HZ
    part, notes = np.zeros(round(duration_s * rate_hz), np.float32), [np.zeros((0, 2))]
    for stop in stops:
        now_s, end_s = max(0.0, stop.from_s) + rng.uniform(0.15, 0.5), min(duration_s, stop.to_s) - 0.1
        while stop.is_perch and end_s - now_s > 1.0:
            song, song_notes = songs.compose(bird.label, bird.voice, sample_rate_hz=rate_hz, rng=rng)
            song_notes = song_notes[now_s + song_notes[:, 1] < end_s]
            if len(song_notes):
                first = round(now_s * rate_hz)
                song = song[: min(round(song_notes[-1, 1] * rate_hz), len(part) - first)]
                part[first : first + len(song)] += song
                notes.append(now_s + song_notes)
            now_s += len(song) / rate_hz + rng.uniform(0.6, 2.0)
    return acoustics.propagate(part, distance_m=rng.uniform(5, 12), reverb_s=0.4, rng=rng), np.concatenate(notes)


def _ambience(n_samples, rng):
    floor = acoustics.noise(n_samples, level_db=rng.uniform(-50, -42), slope=1.0, rng=rng)
    return floor + acoustics.wind(n_samples, level_db=-44, rng=rng)


def _frames(stage, acts, *, duration_s, fps, rng):
    height, width = stage.shape[:2]
    leaves = [(rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.02, 0.04) * width, rng.uniform(0, 180))
              for _ in range(7)]  # fmt: skip
    green = tuple(np.array([60, 125, 75]) * rng.uniform(0.6, 1.2))
    for number in range(round(duration_s * fps)):
        now_s = number / fps
        image, rows = stage.copy(), []
        for bird, stops, notes, length_px in acts:
            sings = bool(((notes[:, 0] < now_s + 1 / fps) & (notes[:, 1] > now_s)).any())
            pose = _pose(stops, now_s, length_px, sings, number)
            box = drawing.draw(image, drawing.PLUMAGES[bird.label], bird.marks, pose)
            if box:
                x, y, box_width, box_height = box
                rows.append({"individual_id": bird.individual_id, "label": bird.label, "x": x, "y": y,
                             "width": box_width, "height": box_height, "sings": int(sings)})  # fmt: skip
        for k, (x, y, size, turn) in enumerate(leaves):  # a breeze, so that not all that moves is a bird
            _leaf(image, (x, y), size, turn + 9 * np.sin(1.7 * now_s + k), green)
        grain = 2.5 * rng.standard_normal((height, width, 1), np.float32)
        lit = image * np.float32(1 + 0.01 * np.sin(2.1 * now_s)) + grain
        yield np.clip(lit, 0, 255, out=lit).astype(np.uint8), rows


def _pose(stops, now_s, length_px, sings, number):
    """The pose of a bird at ``now_s``: at a stop, or between two."""
    later = next((k for k, stop in enumerate(stops) if now_s < stop.from_s), len(stops))
    here = stops[max(0, later - 1)]
    if later == len(stops) or now_s <= here.to_s:
        facing = 1 if int(1.1 * here.from_s + 0.6 * max(0, now_s - here.from_s)) % 2 else -1
        y = here.y - 0.46 * length_px + (0.6 * np.sin(9 * now_s) if sings else 0)
        return drawing.Pose(here.x, y, length_px, facing, lean_deg=38 if sings else 24 + 3 * np.sin(1.3 * now_s),
                            bill_open=(0.6, 1.0)[number % 2] if sings else 0.0)  # fmt: skip
    there = stops[later]
    share = (now_s - here.to_s) / max(1e-6, there.from_s - here.to_s)
    x, y = here.x + share * (there.x - here.x), here.y + share * (there.y - here.y)
    facing = 1 if there.x >= here.x else -1
    hop = abs(there.x - here.x) < 3 * length_px and abs(there.y - here.y) < length_px
    lift = 4 * share * (1 - share) * length_px * (0.5 if hop else 0.9)
    wingbeat = None if hop else float(np.sin(2 * np.pi * 3.7 * now_s))
    return drawing.Pose(x, y - 0.46 * length_px - lift, length_px, facing, lean_deg=10, wingbeat=wingbeat)


def write_film(frames, soundtrack, path, *, fps):
    """Encode BGR frames and sound as H.264 and AAC, with the same bytes each time; errors as ``writer.write``."""
    encoder = {"crf": 27, "preset": "medium", "pixel_format": "bgr24", "interleave": False}
    rate_hz = acoustics.SAMPLE_RATE_HZ
    writer.write(path, frames, rate_hz=fps, sound=[soundtrack], sample_rate_hz=rate_hz, **encoder)
