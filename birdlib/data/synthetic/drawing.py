"""Drawings of animals: plumage by species, marks by individual.

Images are (height, width, 3) uint8 in OpenCV's BGR order; x runs right and y down, in pixels. An animal is drawn in
its own coordinates, one unit a body length, x towards the bill and y up, then turned, scaled and mirrored.
"""

import functools
from dataclasses import dataclass

import numpy as np

_RING_COLOURS = ((40, 40, 210), (210, 90, 30), (60, 190, 60), (40, 210, 230), (235, 235, 235), (190, 60, 170))


@dataclass(frozen=True)
class Plumage:
    """Appearance of a species; colours are BGR. Frogs and crickets use back, belly and wing only."""

    body: str  # bird, frog or cricket
    back: tuple
    belly: tuple
    wing: tuple
    crown: tuple
    throat: tuple
    bill: tuple
    bill_length: float = 0.16
    bill_depth: float = 0.07
    tail: float = 0.5
    bars: int = 0  # pale bars on the wing
    stripe: tuple = ()  # colour of a stripe through the eye
    crest: float = 0.0
    stout: float = 1.0


@dataclass(frozen=True)
class Marks:
    """Individual marks, the same in every image of an animal."""

    spots: tuple  # (along, up, radius) on the breast, body lengths
    rings: tuple  # two leg-ring colours, upper and lower
    notch: float  # where the pale patch of the wing sits, 0 shoulder to 1 tip
    shade: float  # factor on all colours


PLUMAGES = {
    "grywag1": Plumage("bird", (135, 130, 125), (215, 225, 228), (90, 88, 85), (60, 58, 56), (235, 238, 240),
                       (40, 40, 45), 0.16, 0.05, 0.75, bars=2),
    "yelsin1": Plumage("bird", (70, 150, 140), (75, 215, 240), (50, 85, 85), (50, 175, 205), (90, 225, 245),
                       (60, 80, 110), 0.14, 0.06, 0.48, bars=2),
    "ruflut1": Plumage("bird", (50, 85, 140), (160, 190, 215), (35, 60, 110), (40, 70, 120), (200, 220, 235),
                       (60, 110, 160), 0.22, 0.05, 0.52),
    "cobflu1": Plumage("bird", (170, 90, 40), (215, 200, 185), (125, 60, 30), (190, 95, 35), (225, 215, 205),
                       (35, 35, 40), 0.20, 0.05, 0.52, stripe=(30, 25, 25)),
    "grebuz1": Plumage("bird", (60, 125, 80), (125, 190, 165), (40, 90, 60), (45, 105, 70), (150, 205, 190),
                       (120, 140, 160), 0.12, 0.11, 0.40, bars=1, stout=1.12),
    "redcha1": Plumage("bird", (70, 80, 100), (185, 190, 195), (50, 55, 70), (35, 35, 200), (60, 60, 190),
                       (50, 50, 60), 0.13, 0.09, 0.62, crest=0.22),
    "blkwhi1": Plumage("bird", (35, 33, 32), (60, 56, 55), (25, 24, 24), (30, 28, 28), (50, 47, 46),
                       (40, 150, 235), 0.18, 0.06, 0.62),
    "goltri1": Plumage("bird", (60, 170, 205), (70, 200, 245), (35, 40, 45), (30, 30, 32), (65, 195, 240),
                       (150, 165, 190), 0.13, 0.10, 0.42, bars=1),
    "tawcuc1": Plumage("bird", (110, 140, 170), (205, 215, 220), (85, 110, 140), (120, 150, 180), (215, 222, 228),
                       (50, 120, 150), 0.19, 0.07, 0.95, stripe=(60, 70, 80)),
    "12050063": Plumage("frog", (60, 130, 90), (150, 200, 190), (45, 100, 70), (), (), ()),
    "9304117": Plumage("cricket", (55, 80, 105), (90, 125, 150), (40, 62, 85), (), (), ()),
    "9304482": Plumage("cricket", (70, 135, 95), (110, 175, 140), (55, 115, 80), (), (), ()),
}  # fmt: skip


def marks(rng):
    """Sample an individual's marks."""
    spots = [(rng.uniform(0.02, 0.30), rng.uniform(-0.20, -0.04), rng.uniform(0.022, 0.042)) for _ in range(5)]
    rings = rng.choice(len(_RING_COLOURS), 2)
    return Marks(
        tuple(spots[: rng.integers(2, 6)]),
        (_RING_COLOURS[rings[0]], _RING_COLOURS[rings[1]]),
        float(rng.uniform(0.15, 0.85)),
        float(rng.uniform(0.88, 1.12)),
    )


@dataclass(frozen=True)
class Pose:
    """Position and posture of an animal; ``length_px`` is a body length, breast to rump."""

    x: float
    y: float
    length_px: float
    facing: int = 1  # 1 right, -1 left
    lean_deg: float = 25.0  # of the body against the horizontal
    bill_open: float = 0.0  # 0 to 1
    wingbeat: float | None = None  # None: folded; -1 (down) to 1 (up): in flight


def draw(image, plumage, marks, pose):
    """Draw one animal into ``image``, in place.

    Args:
        image: (height, width, 3) uint8, BGR.

    Returns:
        (x, y, width, height) in whole pixels of the part inside the image, None if it is outside.
    """
    import cv2

    reach = int(np.ceil(1.75 * pose.length_px))
    left, top = int(pose.x) - reach, int(pose.y) - reach
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(image.shape[1], left + 2 * reach), min(image.shape[0], top + 2 * reach)
    if x0 >= x1 or y0 >= y1:
        return None
    brush = _Brush((y1 - y0, x1 - x0), pose, (pose.x - x0, pose.y - y0), marks.shade)
    {"bird": _bird, "frog": _frog, "cricket": _cricket}[plumage.body](brush, plumage, marks)
    x, y, width, height = cv2.boundingRect(brush.alpha)  # the rest stays as it is
    covered = slice(y, y + height), slice(x, x + width)
    alpha = brush.alpha[covered][..., None].astype(np.float32) / 255
    up = np.linspace(1, -1, 2 * reach)[y0 - top : y1 - top, None, None][covered[0]]
    lit = brush.colour[covered] * (1 + 0.35 * np.clip(up * 1.75 / 0.6, -1, 1)) + brush.feathers[covered]
    area = image[y0:y1, x0:x1][covered]
    area[:] = np.clip(area * (1 - alpha) + lit * alpha, 0, 255).astype(np.uint8)
    x, y, width, height = cv2.boundingRect((brush.alpha > 100).astype(np.uint8))
    return (x0 + x, y0 + y, width, height) if width > 0 and height > 0 else None


class _Brush:
    """Draws shapes given in body coordinates onto a patch, and keeps the coverage."""

    def __init__(self, shape, pose, origin, shade):
        self.colour, self.alpha = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.uint8)
        self.pose, self.origin, self.shade = pose, np.asarray(origin), shade
        self.feathers = _feathers(shape)

    def pixels(self, points, turned=True):
        """Body coordinates -> pixels of the patch, (n, 2) float."""
        points = np.asarray(points, float)
        if turned:
            lean = np.deg2rad(self.pose.lean_deg)
            cos, sin = np.cos(lean), np.sin(lean)
            points = np.stack([points[:, 0] * cos - points[:, 1] * sin, points[:, 0] * sin + points[:, 1] * cos], 1)
        return self.origin + points * (self.pose.facing * self.pose.length_px, -self.pose.length_px)

    def fill(self, points, colour, within=None, turned=True):
        """Fill a polygon, only ``within`` a mask when one is given; returns its mask, (height, width) uint8."""
        import cv2

        mask, outline = np.zeros(self.alpha.shape, np.uint8), self.pixels(points, turned)
        cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        return self._paint(mask, outline, 2, colour, within)

    def line(self, points, colour, thickness, within=None, turned=True):
        import cv2

        mask, ends = np.zeros(self.alpha.shape, np.uint8), self.pixels(points, turned)
        width = max(1, round(thickness * self.pose.length_px))
        cv2.polylines(mask, [np.round(ends * 16).astype(np.int32)], False, 255, width, cv2.LINE_AA, 4)
        return self._paint(mask, ends, width + 2, colour, within)

    def ellipse(self, centre, radii, colour, within=None, turn_deg=0.0, turned=True):
        around = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        turn = np.deg2rad(turn_deg)
        x, y = radii[0] * np.cos(around), radii[1] * np.sin(around)
        points = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1)
        return self.fill(points + centre, colour, within, turned)

    def _paint(self, mask, points, margin, colour, within):
        if within is not None:
            mask = np.minimum(mask, within)
        x0, y0 = np.maximum(0, np.floor(points.min(axis=0)).astype(int) - margin)
        x1, y1 = np.maximum(0, np.ceil(points.max(axis=0)).astype(int) + margin + 1)
        box = (slice(y0, y1), slice(x0, x1))  # only what the shape can cover: this is the film's inner loop
        share = mask[box][..., None].astype(np.float32) / 255
        self.colour[box] += share * (np.asarray(colour, np.float32) * self.shade - self.colour[box])
        self.alpha[box] = np.maximum(self.alpha[box], mask[box])
        return mask


@functools.lru_cache(maxsize=8)
def _feathers(shape):
    """The grain of feathers, (height, width, 1) float32."""
    import cv2

    noise = np.random.default_rng(1).normal(0, 9, (*shape, 1)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 0.8).reshape(*shape, 1)


def _curve(points):
    """A closed Catmull-Rom spline through the points."""
    points = np.asarray(points, float)
    before, after, later = (np.roll(points, k, axis=0) for k in (1, -1, -2))
    pieces = []
    for t in np.linspace(0, 1, 6, endpoint=False):
        pieces.append(0.5 * (2 * points + (after - before) * t + (2 * before - 5 * points + 4 * after - later) * t**2
                             + (3 * points - before - 3 * after + later) * t**3))  # fmt: skip
    return np.stack(pieces, 1).reshape(-1, 2)


def _bird(brush, plumage, marks):
    pose, stout, flying = brush.pose, plumage.stout, brush.pose.wingbeat is not None
    head = np.array([0.42, 0.24 * stout])
    dark, end = tuple(0.6 * c for c in plumage.wing), -0.42 - plumage.tail
    spread = 0.16 if flying else 0.07
    brush.fill([(-0.36, 0.05), (end, 0.02 + spread), (end - 0.04, 0.0), (end, 0.02 - spread), (-0.36, -0.08)], dark)
    if flying:
        _raised_wing(brush, plumage, marks, 0.75 * pose.wingbeat + 0.15, far=True)
    else:
        _legs(brush, marks)
    body = _curve([(-0.50, 0.00), (-0.25, 0.15 * stout), (0.10, 0.22 * stout), (0.30, 0.30 * stout),
                   (0.44, 0.10), (0.40, -0.12 * stout), (0.15, -0.27 * stout), (-0.20, -0.20 * stout)])  # fmt: skip
    silhouette = brush.fill(body, plumage.back)
    if plumage.crest:
        peak = head + (-0.18, 0.16 + plumage.crest)
        brush.fill([head + (0.12, 0.13), peak, head + (-0.18, 0.06)], plumage.crown)
    silhouette = np.maximum(silhouette, brush.ellipse(head, (0.19, 0.175), plumage.back))
    belly = _curve([(-0.45, -0.06), (-0.10, -0.05), (0.25, 0.02), (0.60, 0.14), (0.6, -0.2), (0.2, -0.4), (-0.3, -0.3)])
    brush.fill(belly, plumage.belly, within=silhouette)
    brush.ellipse(head + (0.08, -0.17), (0.18, 0.14), plumage.throat, within=silhouette)
    brush.ellipse(head + (-0.02, 0.11), (0.24, 0.12), plumage.crown, within=silhouette)
    if plumage.stripe:
        brush.line([head + (-0.2, -0.02), head + (0.2, 0.03)], plumage.stripe, 0.06, within=silhouette)
    for along, up, radius in marks.spots:
        brush.ellipse((along + 0.08, up), (radius, radius * 1.2), (35, 35, 45), within=silhouette)
    base = head + (0.17, 0.01)
    for side in (1, -1):
        angle = side * (0.5 * pose.bill_open) * 0.8
        tip = base + plumage.bill_length * np.array([np.cos(angle), np.sin(angle)]) + (0.02, -0.01)
        root = base + (-0.02, side * plumage.bill_depth)
        brush.fill([base + (-0.02, 0.0), root, tip], tuple(c * (1.0 if side > 0 else 0.8) for c in plumage.bill))
    brush.ellipse(head + (0.075, 0.035), (0.042, 0.042), (20, 20, 22))
    brush.ellipse(head + (0.088, 0.05), (0.013, 0.013), (240, 240, 240))
    if flying:
        _raised_wing(brush, plumage, marks, pose.wingbeat, far=False)
    else:
        _folded_wing(brush, plumage, marks)


def _folded_wing(brush, plumage, marks):
    wing = brush.fill(_curve([(0.26, 0.13), (0.12, 0.19), (-0.20, 0.13), (-0.66, 0.00), (-0.25, -0.09), (0.10, -0.08)]),
                      plumage.wing)  # fmt: skip
    for k in range(4):
        feather = [(-0.05 - 0.06 * k, -0.07 + 0.03 * k), (-0.62 + 0.03 * k, 0.0 + 0.015 * k)]
        brush.line(feather, tuple(0.65 * c for c in plumage.wing), 0.018, within=wing)
    for bar in range(plumage.bars):
        x = 0.12 - 0.15 * bar
        brush.line([(x, 0.19), (x - 0.09, -0.1)], (225, 232, 235), 0.038, within=wing)
    brush.ellipse((0.18 - 0.62 * marks.notch, 0.10 - 0.10 * marks.notch), (0.05, 0.035), (205, 215, 220), within=wing)


def _raised_wing(brush, plumage, marks, beat, far):
    """A wing in flight: up at ``beat`` 1, down at -1."""
    angle = np.deg2rad(82 * beat) + np.pi / 2 * 0.1
    out = np.array([-0.25 * np.cos(angle) - 0.12, np.sin(angle)])
    shoulder, rear = np.array([0.22, 0.10]), np.array([-0.26, 0.08])
    tip = np.array([-0.05, 0.09]) + 1.05 * out
    colour = tuple(c * (0.75 if far else 1.0) for c in plumage.wing)
    wing = brush.fill(_curve([shoulder, shoulder + 0.55 * out + (0.08, 0), tip, rear + 0.5 * out]), colour)
    for middle in 0.25 + 0.18 * np.arange(plumage.bars):
        brush.line([shoulder + middle * out + (0.1, 0), rear + middle * out], (225, 232, 235), 0.04, within=wing)
    if not far:
        brush.ellipse(0.5 * (shoulder + rear) + (0.2 + 0.5 * marks.notch) * out, (0.05, 0.05), (205, 215, 220), wing)


def _legs(brush, marks):
    lean = np.deg2rad(brush.pose.lean_deg)
    for k, x in enumerate((-0.02, 0.10)):
        hip = (x * np.cos(lean) + 0.18 * np.sin(lean), -0.18 * np.cos(lean) + x * np.sin(lean))
        foot = np.array([hip[0] + 0.03, -0.46])
        brush.line([hip, foot], (60, 75, 100), 0.03, turned=False)
        brush.line([foot + (-0.05, -0.01), foot + (0.09, -0.01)], (60, 75, 100), 0.03, turned=False)
        x, y = hip[0] + 0.02, hip[1] + 0.72 * (foot[1] - hip[1])
        brush.line([(x, y - 0.025), (x, y + 0.025)], marks.rings[k], 0.06, turned=False)


def _frog(brush, plumage, marks):
    body = brush.fill(_curve([(-0.50, -0.05), (-0.30, 0.20), (0.10, 0.30), (0.48, 0.16), (0.52, 0.02), (0.2, -0.22),
                              (-0.3, -0.24)]), plumage.back)  # fmt: skip
    brush.fill(_curve([(-0.3, -0.24), (0.0, -0.08), (0.5, 0.0), (0.4, -0.3)]), plumage.belly, within=body)
    brush.ellipse((-0.22, -0.10), (0.30, 0.13), plumage.wing, turn_deg=28)
    brush.line([(-0.46, -0.20), (-0.08, -0.30), (-0.30, -0.36)], plumage.wing, 0.07)
    brush.line([(0.22, -0.12), (0.26, -0.32), (0.38, -0.34)], plumage.wing, 0.07)
    brush.ellipse((0.26, 0.29), (0.10, 0.09), plumage.back)
    brush.ellipse((0.28, 0.30), (0.055, 0.05), (40, 170, 205))
    brush.ellipse((0.28, 0.30), (0.045, 0.018), (15, 15, 15))
    brush.line([(0.30, 0.06), (0.52, 0.08)], tuple(0.5 * c for c in plumage.back), 0.02)
    for along, up, radius in marks.spots:
        brush.ellipse((along - 0.2, up + 0.26), (1.7 * radius, 1.3 * radius), (30, 45, 40), within=body)


def _cricket(brush, plumage, marks):
    brush.line([(0.42, 0.12), (0.75, 0.38), (1.15, 0.42)], plumage.wing, 0.012)
    brush.line([(0.42, 0.12), (0.80, 0.26), (1.20, 0.20)], plumage.wing, 0.012)
    for x in (0.25, 0.10):
        brush.line([(x, -0.06), (x + 0.12, -0.14), (x + 0.10, -0.34)], plumage.back, 0.025)
    body = brush.ellipse((0.0, 0.0), (0.50, 0.13), plumage.belly)
    brush.ellipse((0.40, 0.05), (0.13, 0.13), plumage.back)
    brush.ellipse((0.45, 0.09), (0.03, 0.035), (15, 15, 15))
    brush.fill(_curve([(0.28, 0.10), (0.0, 0.17), (-0.6, 0.06), (-0.2, -0.04), (0.2, -0.02)]), plumage.wing)
    brush.line([(-0.05, -0.02), (-0.38, 0.34), (-0.62, -0.34), (-0.50, -0.36)], plumage.back, 0.05)
    brush.fill([(-0.02, -0.05), (-0.12, 0.08), (-0.40, 0.36), (-0.30, 0.20)], plumage.back)
    for along, up, radius in marks.spots:
        brush.ellipse((along - 0.25, up + 0.18), (radius, radius), (200, 210, 215), within=body)
