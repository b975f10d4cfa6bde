"""What a file is: a picture, a film or a sound. Its suffix tells; where it may be several, or is unknown, its content."""

import io

from birdlib import media_types, runtime
from birdlib.audio import decoding, media_files
from birdlib.video import images

READABLE = "pictures (JPEG, PNG, HEIC, WebP, TIFF, ...), films (MP4, MOV, MKV, WebM, ...) and sounds (WAV, FLAC, MP3, M4A, OGG, ...)"


class MediaError(runtime.FileError):
    """A file that is missing, or no picture, film or sound."""


def kind_of(path):
    """``"image"``, ``"film"`` or ``"sound"``.

    Phones and messengers write sound alone into MP4, 3GP and WebM, so that the suffix of a film does not tell.

    Raises:
        MediaError: the file is missing, empty or a folder, or its suffix is unknown and its content too.
    """
    with media_files.open_file(path, MediaError, "a picture, film or sound") as file:
        if media_types.has_suffix(path, media_types.IMAGE):
            return "image"
        if media_types.has_suffix(path, media_types.SOUND):
            return "sound"
        found = _kind_of_content(file)
    if found is None and media_types.has_suffix(path, media_types.FILM):
        return "film"  # whose reader will say what is wrong
    if found is None:
        raise MediaError(path, f"is of a kind that cannot be read: give {READABLE}, or convert it")
    return found


def digest_file(path):
    """sha256 of a file's bytes, as hex.

    Raises:
        MediaError: it is missing, empty, a folder or a web page, or cannot be read.
    """
    return media_files.digest_file(path, MediaError, "a picture, film or sound")


def _kind_of_content(file):
    if images.is_image(file):
        return "image"
    return _kind_by_ffmpeg(file) or _kind_by_libsndfile(file)


def _kind_by_ffmpeg(file):
    import av

    file.seek(0)
    try:
        with decoding.open_container(file) as container:
            cover = av.stream.Disposition.attached_pic
            if any(not stream.disposition & cover for stream in container.streams.video):
                return "film"
            return "sound" if container.streams.audio else None
    except Exception:  # of one of FFmpeg's many readers, which are tried in turn
        return None


def _kind_by_libsndfile(file):
    import soundfile

    file.seek(0)
    try:
        with soundfile.SoundFile(io.BytesIO(file.read())):
            return "sound"
    except (soundfile.LibsndfileError, TypeError, ValueError):
        return None
