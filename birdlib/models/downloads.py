"""Downloads: files from Kaggle or from an address; ``mirrors`` has packages.

Each fills a folder that does not exist yet, with temporary files beside it. Archives are unpacked safely; the caller checks the digests.
"""

import http.client
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
import zipfile

from birdlib import runtime

TIMEOUT_S = 10.0
MAX_BYTES = 4 * 2**30  # unpacked; the largest network has a tenth


class DownloadError(runtime.BirdlibError):
    """Files that could not be had; the message says why."""


REFUSALS = (  # errors of a source that has no file; a proxy may answer nonsense
    OSError,
    DownloadError,
    http.client.HTTPException,
    tarfile.TarError,
    zipfile.BadZipFile,
    subprocess.SubprocessError,
)


def from_kagglehub(handle, new):
    """Fetch a model of Kaggle, e.g. ``"google/yamnet/tensorFlow2/yamnet/1"``, by kagglehub."""
    _require_reachable("https://www.kaggle.com")  # kagglehub itself waits and retries for minutes
    try:
        import kagglehub
        from kagglehub import exceptions
    except ImportError as error:
        raise DownloadError("kagglehub is not installed") from error
    kinds = [kind for kind in vars(exceptions).values() if isinstance(kind, type)]
    refusals = tuple(kind for kind in kinds if issubclass(kind, Exception))
    try:
        shutil.copytree(kagglehub.model_download(handle), new)
    except (*refusals, ValueError) as error:
        raise DownloadError(str(error) or type(error).__name__) from error


def from_archive(url, new):
    """Fetch and unpack a ``.tar.gz``."""
    archive = new.with_name("model.tar.gz")
    from_url(url, archive)
    unpack_tar(archive, new)


def from_url(url, path):
    """Fetch one file."""
    path.parent.mkdir(exist_ok=True)
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, path.open("wb") as file:
        shutil.copyfileobj(response, file)


def unpack_tar(archive, folder, members=None):
    """Unpack a ``.tar.gz`` from outside safely; ``members``: names to unpack, as far as they are there, default all."""
    if not hasattr(tarfile, "data_filter"):
        raise DownloadError("unpacking an archive from outside safely needs Python 3.11.4 or newer")
    with tarfile.open(archive) as tar:
        chosen = [member for member in tar if members is None or member.name in members]
        _require_size(archive, sum(member.size for member in chosen))
        tar.extractall(folder, chosen, filter="data")


def unpack_zip(archive, folder, members):
    """Unpack ``members`` of a zip or wheel from outside safely, as far as they are there; names that leave the folder are cut to stay in it."""
    with zipfile.ZipFile(archive) as file:
        chosen = [member for member in file.infolist() if member.filename in members]
        _require_size(archive, sum(member.file_size for member in chosen))
        file.extractall(folder, chosen)


def _require_size(archive, n_bytes):
    if n_bytes > MAX_BYTES:
        raise DownloadError(f"{archive.name} would unpack to {n_bytes / 1e9:.1f} GB, more than any network has")


def _require_reachable(url):
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return  # it is reachable
