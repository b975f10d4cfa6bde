"""Boxes of each frame."""

import numpy as np

from birdlib.video import frame_counts


def test_boxes_are_counted_by_their_scores_and_pass_unchanged_with_their_scene():
    boxes = np.array([[0, 0, 9, 9, 0.9], [20, 0, 9, 9, 0.45], [40, 0, 9, 9, 0.35], [60, 0, 9, 9, 0.1]], np.float32)
    image = np.zeros((60, 80, 3), np.uint8)
    recorder = frame_counts.Recorder("film")
    passed = list(recorder.record([(0.0, image, boxes), (0.2, image, boxes[:0])]))
    table = recorder.table([])
    assert [(scene, time_s) for scene, time_s, *_ in passed] == [(0, 0.0), (0, 0.2)]
    assert list(table) == frame_counts.COLUMNS and np.array_equal(passed[0][3], boxes)
    assert table[["n_possible", "n_likely", "n_firm"]].to_numpy().tolist() == [[3, 2, 1], [0, 0, 0]]
    assert recorder.table([0.2, 0.2])["n_faint"].tolist() == [0, 2] and not table["n_faint"].any()
    assert table[["scene", "width", "height"]].to_numpy().tolist() == [[0, 80, 60]] * 2


def test_a_film_without_a_frame_has_typed_columns():
    assert frame_counts.Recorder("film").table([]).dtypes["n_firm"] == np.int64


def test_a_steady_number_is_reached_in_a_share_of_the_frames():
    """12 birds in 3 of 20 frames in a row, 8 in 6, 3 else: a tenth of the frames shows 12, a quarter 8, all 3."""
    counts = [3] * 11 + [8] * 3 + [12] * 3 + [8] * 3
    assert [frame_counts.steady(counts, share) for share in (0.1, 0.25, 1.0)] == [12, 8, 3]


def test_single_frames_do_not_change_a_steady_number():
    assert frame_counts.steady([1, 1, 9, 1, 1, 0, 1, 1], 0.1) == 1
    assert frame_counts.steady([], 0.1) == 0
