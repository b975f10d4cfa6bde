import numpy as np
import pytest
from media import backbone, film

from birdlib.models import resnet50, weights
from birdlib.multimodal import scene_video


@pytest.mark.parametrize(("width", "height"), [(640, 480), (20, 900), (224, 224), (31, 17), (1, 1), (100_000, 1)])
def test_as_frame_scales_the_whole_picture(width, height):
    image = np.zeros((height, width, 3), np.uint8)
    image[:, -max(1, width // 10) :] = 255  # a bird at the edge
    for size in (224, 64):
        frame = scene_video.as_frame(image, size)
        assert frame.shape == (size, size, 3) and frame.dtype == np.uint8 and frame[:, -1].mean() > 200


# Motion


def picture(left, top, side=30, level=230):
    """(240, 320, 3): a bright square on a gradient."""
    image = np.tile(np.linspace(30, 90, 320).astype(np.uint8)[None, :, None], (240, 1, 3))
    image[top : top + side, left : left + side] = level
    return image


def small(image):
    return scene_video._small(image)


@pytest.mark.parametrize(("left", "top"), [(140, 100), (0, 0), (290, 210), (0, 120), (200, 209)])
def test_moving_area_is_cropped(left, top):
    """1.4 times its side or 48 pixels, and all of it, also at the edges."""
    cut = scene_video.crop_motion(picture(left, top), small(picture(0, 0, side=0)))
    assert cut.shape[0] == cut.shape[1] and 48 <= cut.shape[0] <= 70
    assert (cut == 230).all(axis=2).sum() == 30 * 30


def test_tall_moving_area_is_cropped_as_a_square():
    image = picture(0, 0, side=0)
    image[40:200, 150:170] = 230
    cut = scene_video.crop_motion(image, small(picture(0, 0, side=0)))
    assert cut.shape[0] == cut.shape[1] and (cut == 230).all(axis=2).sum() == 160 * 20


def test_larger_of_two_moving_areas_is_cropped():
    image = picture(40, 40, side=50)
    image[180:200, 250:270] = 250
    cut = scene_video.crop_motion(image, small(picture(0, 0, side=0)))
    assert (cut == 230).any() and not (cut == 250).any()


@pytest.mark.parametrize(
    "image",
    [
        picture(0, 0, side=0),  # nothing moves
        picture(100, 100, level=65),  # hardly
        picture(100, 100, side=5),  # a leaf
        255 - picture(0, 0, side=0),  # the camera moves
        picture(10, 10, side=230),
    ],
    ids=["nothing", "hardly", "a leaf", "all", "most"],
)
def test_whole_picture_is_used_if_nothing_or_everything_moves(image):
    assert scene_video.crop_motion(image, small(picture(0, 0, side=0))) is image


@pytest.mark.parametrize(("width", "height"), [(1, 1), (40, 30), (30, 400), (1920, 1080)])
def test_motion_is_cropped_in_pictures_of_any_size(width, height):
    background = np.zeros((height, width, 3), np.uint8)
    image = background.copy()
    image[: max(1, height // 3), : max(1, width // 3)] = 200
    cut = scene_video.crop_motion(image, small(background))
    assert cut.ndim == 3 and min(cut.shape) > 0 and cut.shape[0] <= height and cut.shape[1] <= width
    assert cut is image or (cut.shape[0] == cut.shape[1] and (cut == 200).any())


def test_features_are_of_the_moving_area_and_pixels_of_the_whole_picture(tmp_path):
    """A bright square crosses a dark film: a ninetieth of the picture, and a large part of the crop."""
    film(tmp_path / "a.mkv", [picture(7 * n, 100) for n in range(40)])
    frames, numbers = scene_video.extract_film(tmp_path / "a.mkv", [[0.0, 4.0]], backbone())
    features, pixels = np.split(frames[numbers[0]], [resnet50.FEATURES], axis=1)
    pixels = pixels.reshape(8, 64, 64, 3)
    assert (pixels.mean(axis=(1, 2, 3)) < 70).all() and (features[:, 0] > 100).all()
    brightest = pixels[..., 0].max(axis=1).argmax(axis=1)  # column
    assert (np.diff(brightest) > 3).all()  # the pixels show where it is


# ResNet50


def test_backbone_preprocesses_as_keras_does(monkeypatch):
    """ResNet50's input is BGR less the means of ImageNet."""
    import keras

    def load(source):
        inputs = keras.Input((224, 224, 3))
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))

    source = weights.Source("resnet50", "x", "here", "aa", "MIT", "h5")
    monkeypatch.setattr(weights, "fetch", lambda name, folder: source)
    monkeypatch.setattr(resnet50, "load", load)
    loaded = scene_video.load_backbone()
    images = np.random.default_rng(0).integers(0, 255, (2, 224, 224, 3)).astype(np.float32)
    expected = keras.applications.resnet.preprocess_input(images.copy()).mean(axis=(1, 2), dtype=np.float64)
    assert loaded.network.predict(images, verbose=0) == pytest.approx(expected, abs=0.02)
    assert loaded.weights == {"resnet50": source.receipt()} and loaded.key == scene_video.load_backbone().key
