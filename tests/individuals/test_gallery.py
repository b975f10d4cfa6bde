import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from arrays import at_degrees, unit

from birdlib import __main__
from birdlib.individuals import clustering, track_embeddings
from birdlib.individuals import gallery as individuals_gallery

KEY = "encoder-1"


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def gallery(tmp_path):
    """Two birds: Bill around 0 degrees, Jane around 60."""
    folder = tmp_path / "gallery"
    individuals_gallery.add(folder, "Bill", at_degrees(-4, 0, 4), KEY, source="bill.jpg")
    individuals_gallery.add(folder, "Jane", at_degrees(58, 62), KEY, source="jane.mp4")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_the_list_has_each_bird_once_in_the_order_of_addition(gallery):
    assert individuals_gallery.add(gallery, " Bill ", at_degrees(2), KEY, source="again.jpg") == 4
    table = individuals_gallery.list_birds(gallery)
    assert table.to_numpy().tolist() == [["Bill", 4, "bill.jpg, again.jpg"], ["Jane", 2, "jane.mp4"]]


def test_concurrent_additions_are_all_kept(tmp_path):
    """Each reads the gallery and writes a new one: without taking turns, the last would leave out what the others added."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: individuals_gallery.add(tmp_path, f"bird {number % 4}", at_degrees(number), KEY), range(12)))
    table = individuals_gallery.list_birds(tmp_path)
    assert sorted(table["name"]) == [f"bird {number}" for number in range(4)] and (table["n_embeddings"] == 3).all()


def test_a_near_bird_is_known_and_a_far_one_is_new(gallery):
    table = individuals_gallery.match(gallery, at_degrees(3, 57, 180), KEY, false_accept=0.2)
    assert table["name"].tolist() == ["Bill", "Jane", ""] and table["identity"].tolist() == [0, 1, clustering.UNKNOWN]
    assert table["nearest"].tolist() == ["Bill", "Jane", "Jane"]
    assert table["distance"][0] == pytest.approx(np.mean(1 - np.cos(np.deg2rad([7, 3, 1]))), abs=1e-5)


def test_every_bird_of_a_gallery_is_identified(gallery):
    table = individuals_gallery.match(gallery, at_degrees(-4, 0, 4, 58, 62), KEY, false_accept=0.2)
    assert table["name"].tolist() == ["Bill"] * 3 + ["Jane"] * 2


def test_new_birds_are_accepted_at_most_at_the_given_rate(tmp_path):
    """Birds at random places of a sphere, 30 of them known, with some noise; the known ones are still found."""
    birds = unit(rng().normal(size=(330, 6)))
    seen = unit(birds + 0.1 * rng(1).normal(size=birds.shape))
    for number, bird in enumerate(birds[:30]):
        individuals_gallery.add(tmp_path, f"bird {number}", bird[None], KEY)
    table = individuals_gallery.match(tmp_path, seen, KEY, false_accept=0.1)
    assert 0.02 < (table["name"][30:] != "").mean() < 0.2
    assert (table["name"][:30] == [f"bird {number}" for number in range(30)]).mean() > 0.8
    assert (table["false_accept"] == 0.1).all()


def test_few_birds_guarantee_a_larger_rate(gallery):
    """Two birds, however many embeddings they have: one in three is the least that they can promise."""
    assert individuals_gallery.match(gallery, at_degrees(0), KEY, false_accept=0.01)["false_accept"][0] == pytest.approx(1 / 3)


def test_max_distance_limits_the_threshold_of_very_different_birds(gallery):
    """40 degrees are 0.23: nearer than the two known birds are to each other."""
    assert individuals_gallery.match(gallery, at_degrees(-40), KEY)["name"].tolist() == ["Bill"]
    assert individuals_gallery.match(gallery, at_degrees(-40), KEY, max_distance=0.1)["name"].tolist() == [""]


def test_birds_of_one_photo_match_different_known_birds(gallery):
    together = individuals_gallery.match(gallery, at_degrees(5, 1), KEY, 0.3, one_to_one=True, max_distance=0.3)
    alone = individuals_gallery.match(gallery, at_degrees(5, 1), KEY, 0.3, max_distance=0.3)
    assert alone["name"].tolist() == ["Bill", "Bill"] and together["name"].tolist() == ["", "Bill"]


def test_no_embeddings_give_an_empty_table(gallery):
    table = individuals_gallery.match(gallery, np.zeros((0, 2)), KEY, one_to_one=True)
    assert len(table) == 0 and list(table) == ["identity", "name", "nearest", "distance", "threshold", "false_accept"]


def test_a_gallery_of_one_bird_needs_max_distance(tmp_path):
    individuals_gallery.add(tmp_path, "Bill", at_degrees(0), KEY)
    with pytest.raises(individuals_gallery.GalleryError, match="Bill alone.*add another bird"):
        individuals_gallery.match(tmp_path, at_degrees(3), KEY)
    table = individuals_gallery.match(tmp_path, at_degrees(3, 90), KEY, max_distance=0.3)
    assert table["name"].tolist() == ["Bill", ""] and table["false_accept"].isna().all()


def test_another_encoder_raises_and_lists_the_sources(gallery):
    before = contents(gallery)
    for ask in (lambda: individuals_gallery.match(gallery, at_degrees(0), "other"), lambda: individuals_gallery.add(gallery, "Eve", at_degrees(0), "other")):
        with pytest.raises(individuals_gallery.GalleryError, match="another encoder.*bill.jpg, jane.mp4"):
            ask()
    assert contents(gallery) == before


@pytest.mark.parametrize(
    "name, vectors", [(" ", at_degrees(0)), ("Eve", 2 * at_degrees(0)), ("Eve", np.ones((1, 1))), ("Eve", np.zeros((0, 2)))]
)
def test_invalid_names_and_embeddings_are_not_added(gallery, name, vectors):
    before = contents(gallery)
    with pytest.raises(individuals_gallery.GalleryError if name.isspace() else ValueError):
        individuals_gallery.add(gallery, name, vectors, KEY)
    assert contents(gallery) == before


def test_a_missing_gallery_raises(tmp_path):
    with pytest.raises(individuals_gallery.GalleryError, match="no gallery yet: add"):
        individuals_gallery.list_birds(tmp_path)


@pytest.mark.parametrize("which", ["gallery.json", ".parquet", ".npy"])
@pytest.mark.parametrize("damage", [b"", b"[1", None])
def test_a_damaged_gallery_raises_and_is_not_overwritten(gallery, which, damage):
    [path] = [path for path in gallery.iterdir() if path.name.endswith(which)]
    if damage is None and which != "gallery.json":
        path.unlink()
    else:
        path.write_bytes(damage or b"{}")
    before = contents(gallery)
    for ask in (lambda: individuals_gallery.list_birds(gallery), lambda: individuals_gallery.add(gallery, "Eve", at_degrees(0), KEY)):
        with pytest.raises(individuals_gallery.GalleryError, match="damaged.*add the birds again"):
            ask()
    assert contents(gallery) == before


@pytest.mark.parametrize("step", ["write_table", "write_json"])
def test_an_interrupted_addition_leaves_the_gallery_unchanged(gallery, monkeypatch, step):
    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(individuals_gallery.runtime, step, stop)
        individuals_gallery.add(gallery, "Eve", at_degrees(90), KEY)
    assert individuals_gallery.list_birds(gallery)["name"].tolist() == ["Bill", "Jane"]
    individuals_gallery.add(gallery, "Eve", at_degrees(90), KEY)
    assert individuals_gallery.list_birds(gallery)["name"].tolist() == ["Bill", "Jane", "Eve"]


def test_a_gallery_is_three_files_after_any_number_of_additions(gallery):
    for number in range(5):
        individuals_gallery.add(gallery, f"bird {number}", at_degrees(10 * number), KEY)
    assert len(contents(gallery)) == 3
    assert set(json.loads((gallery / "gallery.json").read_text()).values()) > set(contents(gallery)) - {"gallery.json"}


# Files


SEEN = {"bill.jpg": [2], "both.mp4": [1, 61], "eve.jpg": [150], "sky.mp4": []}


def embed(path):
    return at_degrees(*SEEN[path])


def test_birds_of_each_file_are_matched_one_to_one(gallery):
    table = individuals_gallery.match_files(gallery, list(SEEN), embed, KEY, 0.3)
    assert table[["path", "bird", "name"]].to_numpy().tolist() == [
        ["bill.jpg", 1, "Bill"], ["both.mp4", 1, "Bill"], ["both.mp4", 2, "Jane"], ["eve.jpg", 1, ""],
    ]  # fmt: skip


def test_an_added_bird_is_known(gallery):
    assert individuals_gallery.add_files(gallery, "Eve", ["eve.jpg"], embed, KEY) == 1
    assert individuals_gallery.match_files(gallery, ["eve.jpg"], embed, KEY, 0.2)["name"].tolist() == ["Eve"]


def test_a_file_of_several_birds_needs_a_bird_number(gallery):
    before = contents(gallery)
    with pytest.raises(individuals_gallery.GalleryError, match="both.mp4: shows 2 birds: choose one"):
        individuals_gallery.add_files(gallery, "Eve", ["eve.jpg", "both.mp4"], embed, KEY)
    with pytest.raises(individuals_gallery.GalleryError, match="sky.mp4: no bird"):
        individuals_gallery.add_files(gallery, "Eve", ["eve.jpg", "sky.mp4"], embed, KEY)
    with pytest.raises(individuals_gallery.GalleryError, match="there is no bird 3"):
        individuals_gallery.add_files(gallery, "Eve", ["both.mp4"], embed, KEY, bird=3)
    assert contents(gallery) == before
    assert individuals_gallery.add_files(gallery, "Jane", ["both.mp4"], embed, KEY, bird=2) == 3


def test_gallery_errors_come_before_files_are_embedded(gallery, tmp_path):
    def refuse(path):
        raise AssertionError(path)

    with pytest.raises(individuals_gallery.GalleryError, match="no gallery yet"):
        individuals_gallery.match_files(tmp_path / "none", ["x.mp4"], refuse, KEY)
    with pytest.raises(individuals_gallery.GalleryError, match="another encoder"):
        individuals_gallery.add_files(gallery, "Eve", ["x.mp4"], refuse, "other")


# The command line


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run ``python -m birdlib gallery ...`` where stage 09 is finished; (status, what it printed)."""
    monkeypatch.setattr(track_embeddings, "from_stage", lambda outputs_dir: (embed, KEY, 0.3))

    def run(*words):
        status = __main__.main(["gallery", *words, "--outputs", str(tmp_path)])
        return status, "".join(capsys.readouterr())

    return run


def test_a_bird_is_new_until_it_is_added(command, tmp_path):
    assert command("add", "Bill", "bill.jpg")[0] == 0
    told = command("match", "eve.jpg", "sky.mp4")
    assert told[0] == 0 and "(new)" in told[1] and "sky.mp4: no bird" in told[1]
    assert command("add", "Eve", "eve.jpg") == (0, "Eve has 1 sighting in the gallery\n")
    assert command("add", "Jane", "both.mp4", "--bird", "2")[0] == 0
    told = command("match", "eve.jpg", "both.mp4")[1]
    assert "(new)" not in told and all(f" {name} " in told for name in ("Bill", "Eve", "Jane"))
    assert [line.split()[0] for line in command("list")[1].splitlines()] == ["name", "Bill", "Eve", "Jane"]
    assert (tmp_path / "known_birds" / "gallery.json").is_file()


@pytest.mark.parametrize(
    "words, told",
    [
        (["list"], "no gallery yet"),
        (["add", " ", "bill.jpg"], "needs a name"),
        (["add", "Bill", "both.mp4"], "shows 2 birds"),
        (["match", "bill.jpg", "--false-accept", "5"], "share between 0 and 1"),
    ],
)
def test_errors_are_printed_in_one_line(command, words, told):
    status, printed = command(*words)
    assert status == 1 and told in printed and len(printed.strip().splitlines()) == 1


def test_matching_needs_stage_09(tmp_path, capsys):
    assert __main__.main(["gallery", "match", "x.mp4", "--outputs", str(tmp_path)]) == 1
    assert "09_count" in capsys.readouterr().err
