"""Archives from outside are unpacked into their folder and nowhere else, and not without end."""

import io
import tarfile
import zipfile

import pytest

from birdlib.models import downloads


def tar(path, name, content=b"x", **attributes):
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        for key, value in attributes.items():
            setattr(member, key, value)
        archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("../outside", {}), ("a/../../outside", {}), ("link", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0}),
        ("link", {"type": tarfile.SYMTYPE, "linkname": "../outside", "size": 0}), ("link", {"type": tarfile.LNKTYPE, "linkname": "../outside", "size": 0}),
        ("device", {"type": tarfile.CHRTYPE, "size": 0}),
    ],
)  # fmt: skip
def test_tars_that_leave_their_folder_or_hold_devices_are_refused(tmp_path, name, attributes):
    with pytest.raises(downloads.REFUSALS):
        downloads.unpack_tar(tar(tmp_path / "model.tar.gz", name, **attributes), tmp_path / "new")
    assert not (tmp_path / "outside").exists() and not (tmp_path / "new" / "link").exists()


def test_an_absolute_name_stays_in_the_folder(tmp_path):
    downloads.unpack_tar(tar(tmp_path / "model.tar.gz", f"{tmp_path}/outside"), tmp_path / "new")
    assert not (tmp_path / "outside").exists() and [path.name for path in (tmp_path / "new").rglob("*") if path.is_file()] == ["outside"]


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_names_of_a_zip_stay_in_the_folder(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "model.whl", "w") as archive:
        archive.writestr(name, b"x")
    downloads.unpack_zip(tmp_path / "model.whl", tmp_path / "new", {name})
    assert not (tmp_path / "outside").exists() and [path.name for path in (tmp_path / "new").rglob("*") if path.is_file()] == ["outside"]


def test_archives_that_expand_without_end_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "MAX_BYTES", 1_000_000)
    content = bytes(2_000_000)
    with zipfile.ZipFile(tmp_path / "model.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", content)
    with pytest.raises(downloads.DownloadError, match="model.whl would unpack to 0.0 GB"):
        downloads.unpack_zip(tmp_path / "model.whl", tmp_path / "new", {"a"})
    with pytest.raises(downloads.DownloadError, match="model.tar.gz would unpack"):
        downloads.unpack_tar(tar(tmp_path / "model.tar.gz", "a", content), tmp_path / "new")
    assert not (tmp_path / "new").exists()
