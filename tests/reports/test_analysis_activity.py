"""Activity of species: shares of the recorded time by hour, site and date."""

import made_analyses as made
import numpy as np
import pandas as pd
import pytest
from made_analyses import detection, file

from birdlib.reports import analysis_activity, analysis_data


@pytest.mark.parametrize(
    ("recorded", "hours"),
    [([5, 6], [5, 6]), ([22, 23, 0, 2], [22, 23, 0, 1, 2]), (range(24), list(range(24))), ([0, 12], list(range(13))), ([7], [7])],
)
def test_hours_of_a_night_are_in_its_order(recorded, hours):
    assert analysis_activity.hours_in_order(np.isin(np.arange(24), list(recorded))) == hours


def activity_of(tmp_path, files, rows):
    return analysis_data.read(made.write(tmp_path / "a", files, rows))


def test_activity_is_the_share_of_the_recorded_time(tmp_path):
    """Half an hour was recorded from 5:45 to 6:15: 900 s in each hour, of which the robin sang 90 and 9."""
    start = pd.Timestamp("2025-05-03 05:45")
    rows = [
        detection("a.wav", 0.0, 90.0, recorded_at=start),
        detection("a.wav", 1000.0, 1009.0, recorded_at=start + pd.Timedelta(seconds=1000)),
    ]
    activity = analysis_activity.by_hour(activity_of(tmp_path, [file("a.wav", 1800.0, recorded_at=start)], rows))
    assert activity.columns == ["05", "06"]
    np.testing.assert_allclose(activity.share, [[0.1, 0.01]])
    np.testing.assert_array_equal(activity.n_detections, [[1, 1]])


@pytest.mark.parametrize(
    ("share", "highest", "text"),
    [(0.5, 0.5, "50 % of the recorded time"), (0.034, 0.5, "3.4 % of the recorded time"), (0.0002, 0.5, "<0.1 % of the recorded time"), (0.001, 0.002, "3.6 s of every recorded hour")],
)
def test_rare_species_are_given_in_seconds_per_hour(share, highest, text):
    assert analysis_activity.phrase(share, highest) == text


def test_hours_without_recordings_are_unknown_and_not_zero(tmp_path):
    files = [file(f"{hour}.wav", 600.0, recorded_at=pd.Timestamp(f"2025-05-03 {hour:02d}:00")) for hour in (4, 7)]
    activity = analysis_activity.by_hour(activity_of(tmp_path, files, [detection("4.wav", recorded_at=files[0]["recorded_at"])]))
    assert np.isnan(activity.share[0]).tolist() == [False, True, True, False]
    assert activity.share[0, 3] == 0.0


@pytest.mark.parametrize(("start_h", "duration_h"), [(0, 1), (23, 2), (5.5, 30), (12, 48)])
def test_seconds_by_hour_sum_to_the_recording(start_h, duration_h):
    seconds = analysis_activity.seconds_by_hour(3600 * start_h, 3600 * duration_h)
    assert seconds.sum() == pytest.approx(3600 * duration_h)
    assert seconds.max() - seconds.min() <= 3600


def test_sites_are_compared_by_share_not_by_count(tmp_path):
    files = [file("a.wav", 1000.0, site="wood"), file("b.wav", 100.0, site="pond")]
    rows = [detection("a.wav", start, start + 10.0) for start in (0.0, 50.0)] + [detection("b.wav", 0.0, 10.0)]
    activity = analysis_activity.by_site(activity_of(tmp_path, files, rows))
    assert dict(zip(activity.columns, activity.share[0], strict=True)) == pytest.approx({"wood": 0.02, "pond": 0.1})


def test_one_site_needs_no_comparison(tmp_path):
    assert analysis_activity.by_site(activity_of(tmp_path, [file("a.wav", site="wood")], [detection("a.wav")])) is None


def test_many_dates_are_months(tmp_path):
    days = pd.date_range("2025-04-01", periods=60)
    files = [file(f"{day:%Y%m%d}.wav", 100.0, recorded_at=day) for day in days]
    activity = analysis_activity.by_date(activity_of(tmp_path, files, [detection("20250502.wav", recorded_at=days[31])]))
    assert activity.columns == ["2025-04", "2025-05"]
    np.testing.assert_allclose(activity.share, [[0.0, 1.0 / 3000.0]])
