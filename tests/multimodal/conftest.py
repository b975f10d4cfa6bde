"""What the tests of photos and sounds share."""

import pytest
from made_scene_folder import Folder
from models import narrow_vgg


@pytest.fixture
def vgg():
    """With its weights restored after each test."""
    weights = narrow_vgg().get_weights()
    yield narrow_vgg()
    narrow_vgg().set_weights(weights)


@pytest.fixture
def folder(tmp_path):
    """Of media, of which scenes are made."""
    return Folder(tmp_path)
