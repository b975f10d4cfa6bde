import numpy as np
import pytest
import soundfile
from films_made import steady
from odd_films import with_tracks
from PIL import Image

from birdlib import runtime
from birdlib.video import kinds


def sound_only(path, codec="aac"):
    import av

    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=48_000, layout="mono")
        for first in range(0, 48_000, 960):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, first
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.HEIC", "a.avif", "no suffix", "a.xyz"])
def test_pictures(tmp_path, name):
    from birdlib.video import images

    images.register_heif()
    kind = {"a.HEIC": "HEIF", "a.avif": "AVIF"}.get(name, "JPEG")
    Image.new("RGB", (64, 48)).save(tmp_path / name, kind)
    assert kinds.kind_of(tmp_path / name) == "image"


@pytest.mark.parametrize("name", ["a.mp4", "a.MKV", "a.mov", "a.ts"])
def test_films(tmp_path, name):
    assert kinds.kind_of(steady(tmp_path / name)) == "film"
    assert kinds.kind_of((tmp_path / name).rename(tmp_path / "no suffix")) == "film"


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.m4a", "aac"), ("a.webm", "libopus"), ("a.mkv", "aac"), ("a.mov", "aac")])
def test_sound_alone_in_the_container_of_a_film_is_sound(tmp_path, name, codec):
    assert kinds.kind_of(sound_only(tmp_path / name, codec)) == "sound"


def test_films_with_sound_are_films(tmp_path):
    assert kinds.kind_of(with_tracks(tmp_path / "a.mkv", [np.zeros((1, 8000))])) == "film"


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_sounds(tmp_path, kind):
    soundfile.write(tmp_path / "recording", np.zeros(8000), 8000, format=kind)
    assert kinds.kind_of(tmp_path / "recording") == "sound"
    assert kinds.kind_of((tmp_path / "recording").rename(tmp_path / f"a.{kind.lower()}")) == "sound"


@pytest.mark.parametrize(("name", "kind"), [("a.mp4", "film"), ("a.jpg", "image"), ("a.wav", "sound")])
def test_damaged_files_are_what_their_suffix_says(tmp_path, name, kind):
    (tmp_path / name).write_bytes(b"the quick brown fox" * 9)
    assert kinds.kind_of(tmp_path / name) == kind


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "no such file"), (b"", "empty"), (b"<html>", "web page"), (b"the quick brown fox", "pictures .* films .* and sounds")]
)
def test_other_files_raise_an_error_with_the_remedy(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "notes").write_bytes(content)
    with pytest.raises(kinds.MediaError, match=reason):
        kinds.kind_of(tmp_path / "notes")


def test_a_folder_is_named_as_one(tmp_path):
    for function in (kinds.kind_of, kinds.digest_file):
        with pytest.raises(kinds.MediaError, match="is a folder"):
            function(tmp_path)


def test_digest_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"the quick brown fox")
    assert kinds.digest_file(tmp_path / "a") == runtime.digest_file(tmp_path / "a")
