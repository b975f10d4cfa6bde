import numpy as np
import pandas as pd
import pytest
from arrays import at_degrees
from PIL import Image

from birdlib.individuals import clustering, counts
from birdlib.individuals import plots as individual_plots
from birdlib.video import images

pytestmark = [
    pytest.mark.usefixtures("drawn"),
    pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning"),
]


def names(labels):
    return [label.get_text() for label in labels]


def test_birds_have_distinct_colours():
    colours = np.array([individual_plots.colour(bird) for bird in range(40)])
    apart = np.abs(colours[:, None] - colours).max(axis=2)
    assert apart[~np.eye(40, dtype=bool)].min() > 0.01 and np.diagonal(apart, 1).min() > 0.2


# Contact sheet


@pytest.fixture
def crops(tmp_path):
    """Bird 0 has six crops in film a and one, the worst, in b; bird 1 a tall one; the last is nobody's. Red tells the quality."""
    rows = [("a", 5 - n, n / 10, 0) for n in range(6)] + [("b", 2, 0.05, 0), ("b", 1, 0.9, 1), ("b", 1, 0.8, clustering.UNKNOWN)]
    table = pd.DataFrame(rows, columns=["recording_id", "time_s", "quality", "identity"])
    table["path"] = [f"{row}.png" for row in range(len(table))]
    for row in table.itertuples():
        image = np.zeros((50, 20, 3) if row.identity == 1 else (20, 50, 3), np.uint8)
        image[..., 0] = round(100 * row.quality)
        Image.fromarray(image).save(tmp_path / row.path)
    return table, tmp_path


def middles(ax, n_columns):
    """The red of the middle of each tile, rows of them; 255 where there is none."""
    sheet = ax.get_images()[0].get_array()
    middle = individual_plots.TILE_PX // 2
    step = individual_plots.TILE_PX + individual_plots.GAP_PX
    return sheet[middle::step, middle::step, 0][:, :n_columns].tolist()


def test_a_row_holds_the_best_crops_of_an_individual_in_order_of_films_and_time(crops):
    """Film b is shown although its crop is the worst; of a, the three best, the latest time being the worst."""
    table, root = crops
    ax = individual_plots.contact_sheet(table, table["identity"], root, n_crops=4)
    assert names(ax.get_yticklabels()) == ["bird 1", "bird 2"]
    assert middles(ax, 4) == [[50, 40, 30, 5], [90, 255, 255, 255]]
    assert names(ax.texts) == ["a", "b", "b"]


def test_an_empty_contact_sheet_is_drawn(crops):
    table, root = crops
    for some in (table[:0], table[-1:]):
        ax = individual_plots.contact_sheet(some, some["identity"], root)
        assert names(ax.get_yticklabels()) == []


def test_a_missing_crop_raises_with_its_name(crops):
    table, root = crops
    (root / "7.png").unlink()
    with pytest.raises(images.ImageError, match="7.png"):
        individual_plots.contact_sheet(table, table["identity"], root)


# Timeline


def spans(ax):
    return [[tuple(path.get_extents().bounds) for path in bars.get_paths()] for bars in ax.collections]


def test_a_timeline_has_a_row_for_each_bird_of_each_film():
    """Bird 1 is in both films, twice in the second; the third shows none."""
    summary = pd.DataFrame(
        [("a", 0, 4), ("a", 1, 2), ("b", 0, 1), ("b", 3, 5), ("b", 0, 5)], columns=["recording_id", "start_s", "end_s"]
    )
    ax = individual_plots.timeline(summary, [0, 1, 0, 0, clustering.UNKNOWN], ["a", "b", "c"])
    assert names(ax.get_yticklabels()) == ["a", "b", "c"] and names(ax.texts) == ["bird 1", "bird 2", "bird 1", "no bird"]
    drawn = [[(x, x + width) for x, _, width, _ in row] for row in spans(ax)]
    assert drawn == [[(0, 4)], [(1, 2)], [(0, 1), (3, 5)]]
    first, _, third = (tuple(bars.get_facecolor()[0]) for bars in ax.collections)
    assert first == third


def test_films_without_any_bird_have_a_timeline():
    ax = individual_plots.timeline(pd.DataFrame(columns=["recording_id", "start_s", "end_s"]), [], ["a", "b"])
    assert names(ax.texts) == ["no bird"] * 2


# Similarity


def test_the_matrix_is_in_clustered_order_with_frames_and_must_not_link_dots():
    identities = np.array([0, 1, 0, 1, clustering.UNKNOWN])
    apart = np.zeros((5, 5), bool)
    apart[0, 1] = apart[1, 0] = True
    ax = individual_plots.similarity_matrix(at_degrees(0, 90, 10, 80, 40), identities, apart)
    cosines = ax.get_images()[0].get_array()
    assert cosines.shape == (4, 4) and (cosines[:2, :2] > 0.9).all() and (cosines[2:, :2] < 0.4).all()
    assert [box.get_bbox().bounds for box in ax.patches] == [(-0.5, -0.5, 2, 2), (1.5, 1.5, 2, 2)]
    assert sorted(names(ax.get_yticklabels())) == ["bird 1", "bird 2"]
    x, y = ax.lines[0].get_data()
    assert len(x) == 2 and all((a < 2) != (b < 2) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("n", [0, 1])
def test_a_matrix_of_no_or_one_track_is_drawn(n):
    ax = individual_plots.similarity_matrix(at_degrees(*range(n)).reshape(n, 2), np.zeros(n, int))
    assert len(ax.get_images()) == n


# Counts


def count_table(*rows):
    return pd.DataFrame([[*row, 0, 0, 0] for row in rows], columns=counts.FILM_COLUMNS)


def test_counts_have_whiskers_and_true_counts():
    table = count_table(("a", 2, 2, 4, 2), ("b", 0, 0, 0, 0))
    ax = individual_plots.count_intervals(table, total=(3, 2, 5), truth={"a": 3})
    assert names(ax.get_yticklabels()) == ["a", "b", "all films"]
    [dots] = [bars for bars in ax.containers if bars.get_label().startswith("count")]
    assert dots.lines[0].get_xdata().tolist() == [2, 0, 3]
    assert [segment[:, 0].tolist() for segment in dots.lines[2][0].get_segments()] == [[2, 4], [0, 0], [2, 5]]
    assert [bar.get_width() for bar in ax.patches] == [2, 0]
    assert [line.get_xdata().tolist() for line in ax.lines if line.get_label() == "truth"] == [[3]]
    assert ax.get_xlim()[1] > 5


def test_counts_have_their_certainty_behind_the_interval():
    table = count_table(("a", 2, 2, 4, 2), ("b", 1, 1, 1, 1)).assign(certainty=["uncertain", "certain"])
    ax = individual_plots.count_intervals(table, total=(3, 2, 5))
    assert [(text.get_text(), text.xy) for text in ax.texts] == [("uncertain", (4, 0)), ("certain", (1, 1))]


def test_thresholds_have_a_line_a_counting_and_the_one_in_use():
    table = pd.DataFrame({"counting": ["clustering"] * 2 + ["greedy"] * 2, "threshold": [0.1, 0.2] * 2, "individuals": [4, 3, 5, 2], "error": np.nan})
    ax = individual_plots.individuals_by_threshold(table, {"clustering": 0.1, "greedy": 0.2})
    assert [line.get_ydata().tolist() for line in ax.lines[::2]] == [[4, 3], [5, 2]]
    assert [line.get_xdata()[0] for line in ax.lines[1::2]] == [0.1, 0.2]


def test_no_films_have_no_counts():
    assert names(individual_plots.count_intervals(count_table()).get_yticklabels()) == []


def test_figures_are_drawn_on_given_axes():
    import matplotlib.pyplot as plt

    given = plt.subplots()[1]
    assert individual_plots.count_intervals(count_table(("a", 1, 1, 1, 1)), ax=given) is given
