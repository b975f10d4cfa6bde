"""The chunks of WAV files are found without reading the samples, whatever the header says of their length."""

import struct

import pytest
import wav_chunks

from birdlib.audio import riff


def found_in(path):
    with open(path, "rb", buffering=0) as file:
        return {chunk.name.decode(): chunk for chunk in riff.chunks(file)}


def test_chunks_before_and_behind_the_samples_are_found(tmp_path):
    path = wav_chunks.write(tmp_path / "a.wav", [(b"abcd", b"123")], [(b"guan", b"text")])
    found = found_in(path)
    assert list(found) == ["fmt ", "abcd", "data", "guan"]
    assert found["data"].n_stated == found["data"].n_bytes == 1600
    with open(path, "rb") as file:
        assert [riff.read(file, found[name]) for name in ("abcd", "guan")] == [b"123", b"text"]


@pytest.mark.parametrize("n_stated", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_length_that_was_not_known_when_it_was_written_is_open(tmp_path, n_stated):
    data = found_in(wav_chunks.write(tmp_path / "a.wav", n_stated=n_stated))["data"]
    assert data.n_stated is None and data.n_bytes == 1600


def test_a_file_that_was_cut_states_more_than_it_holds(tmp_path):
    data = found_in(wav_chunks.write(tmp_path / "a.wav", n_stated=2000))["data"]
    assert (data.n_stated, data.n_bytes) == (2000, 1600)


def test_the_length_of_an_rf64_is_in_its_ds64(tmp_path):
    sizes = (b"ds64", struct.pack("<QQQI", 0, 1600, 800, 0))
    found = found_in(wav_chunks.write(tmp_path / "a.wav", [sizes], [(b"guan", b"text")], form=b"RF64", n_stated=0xFFFFFFFF))
    assert found["data"].n_stated == 1600 and "guan" in found


def test_metadata_behind_four_gigabytes_are_found(tmp_path):
    """A sparse file of 5 GB: only its chunk headers are read."""
    n_bytes = 5_000_000_000
    sizes = (b"ds64", struct.pack("<QQQI", 0, n_bytes, n_bytes // 2, 0))
    path = wav_chunks.write(tmp_path / "a.wav", [sizes], form=b"RF64", n_stated=0xFFFFFFFF, n_samples=0)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size + n_bytes)
        file.write(wav_chunks.chunk(b"guan", b"text"))
    assert found_in(path)["guan"].n_bytes == 4


def test_three_gigabytes_are_a_length_and_no_placeholder(tmp_path):
    path = wav_chunks.write(tmp_path / "a.wav", n_samples=0, n_stated=3_000_000_000)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size + 3_000_000_000)
        file.write(wav_chunks.chunk(b"guan", b"text"))
    found = found_in(path)
    assert found["data"].n_stated == found["data"].n_bytes == 3_000_000_000 and "guan" in found


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt ", b"RF64\0\0\0\0WAVEds64\1\0\0\0\1", b"fLaC" + bytes(40), bytes(100)])
def test_bytes_that_are_no_wav_have_no_samples(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    assert "data" not in found_in(tmp_path / "a.wav")


def test_texts_of_an_info_list_have_any_encoding():
    content = b"INFO" + wav_chunks.chunk(b"ICMT", "Säger".encode("latin-1") + b"\0junk") + wav_chunks.chunk(b"IART", "Säger".encode())
    assert riff.info(content) == {"ICMT": "Säger", "IART": "Säger"} and riff.info(b"adtl1234") == {}
