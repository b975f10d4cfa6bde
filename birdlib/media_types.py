"""Which files are sound, images and films: the one table of suffixes, and the listing of media folders.

A suffix says which files of a folder are meant; what is in a file is found out by the reader that opens it.
"""

from pathlib import Path

SOUND = frozenset(".wav .wave .flac .ogg .oga .opus .mp3 .mp2 .m4a .m4b .aac .wma .amr .mka .aif .aiff .aifc .caf .w64 .rf64 .au .snd .ac3 .tta .wv".split())
IMAGE = frozenset(".jpg .jpeg .jpe .jfif .png .bmp .webp .tif .tiff .gif .heic .heif .avif .jp2 .ppm .mpo".split())
FILM = frozenset(".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .3gp .3g2 .flv .ogv".split())
WITH_SOUND = SOUND | FILM  # phones write sound into .3gp and browsers into .webm


def is_hidden(path):
    """Whether a file is no data: hidden files, macOS resource forks (``._song.wav``) and the like."""
    return Path(path).name.startswith((".", "~$")) or Path(path).name.lower() in ("thumbs.db", "desktop.ini")


def has_suffix(path, suffixes):
    """Whether the suffix is one of these, in upper or lower case."""
    return Path(path).suffix.lower() in suffixes


def list_media(folder, suffixes, pattern="*"):
    """The files below a folder that a glob pattern finds, without hidden ones.

    Returns:
        (media, others): sorted lists of Path, with one of the suffixes and without.
    """
    files = sorted(path for path in Path(folder).glob(pattern) if path.is_file() and not is_hidden(path))
    media = [path for path in files if has_suffix(path, suffixes)]
    return media, [path for path in files if not has_suffix(path, suffixes)]
