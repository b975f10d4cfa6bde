import numpy as np
import pytest

from birdlib import streaming


@pytest.mark.parametrize("n_samples", [0, 1, 9, 10, 11, 14, 15, 16, 50])
@pytest.mark.parametrize("hop", [5, 10])
def test_frames_hold_every_sample_whatever_the_blocks(n_samples, hop):
    recording = np.arange(1, n_samples + 1, dtype=np.float32)
    frames = list(streaming.frames([recording], 10, hop))
    assert all(len(frame) == 10 for frame in frames)
    assert set(np.concatenate(frames)) - {0.0} == set(recording)
    assert len(frames) == 1 + max(0, -(-(n_samples - 10) // hop))
    assert np.array_equal(list(streaming.frames(np.array_split(recording, 7), 10, hop)), frames)


def test_a_frame_begins_a_hop_after_the_one_before():
    first, second, third = streaming.frames([np.arange(20.0)], 10, 5)
    assert (first[0], second[0], third[0]) == (0, 5, 10) and third[-1] == 19


@pytest.mark.parametrize("n_blocks", [1, 3, 50])
def test_slices_are_those_of_the_whole_recording(n_blocks):
    """Spans that overlap, touch, leave a gap of many blocks, and reach or lie beyond the end."""
    recording, spans = np.arange(100), [(0, 10), (5, 20), (20, 21), (70, 75), (95, 110), (120, 130)]
    found = list(streaming.slices(np.array_split(recording, n_blocks), spans))
    assert len(found) == len(spans)
    assert all(np.array_equal(samples, recording[start:end]) for samples, (start, end) in zip(found, spans, strict=True))


def test_slices_read_no_further_than_they_must_and_keep_no_gap_in_memory():
    n_read = 0

    def blocks():
        nonlocal n_read
        for _ in range(100):
            n_read += 1
            yield np.zeros(10)

    found = streaming.slices(blocks(), [(0, 5), (500, 505)])
    assert len(next(found)) == 5 and n_read == 1
    later = next(found)
    assert n_read == 51 and len(later if later.base is None else later.base) <= 20


@pytest.mark.parametrize("lengths", [[], [3, 4], [25], [1] * 23, [10, 10]])
def test_regrouped_blocks_have_one_length_and_the_same_samples(lengths):
    blocks = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1]) if lengths else []
    found = list(streaming.regroup(blocks, 10))
    assert [len(block) for block in found[:-1]] == [10] * (len(found) - 1)
    assert np.array_equal(np.concatenate([[], *found]), np.arange(sum(lengths)))
