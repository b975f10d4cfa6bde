import pandas as pd
import pytest

from birdlib.data import taxonomy

BIRDNET = pd.DataFrame(
    {
        "species": ["Turdus merula", "Motacilla cinerea", "Engine", "Corvus corone", "Junco hyemalis"],
        "common_name": ["Eurasian Blackbird", "Gray Wagtail", "Engine", "Carrion Crow", "Dark-eyed Junco"],
    }
)


@pytest.fixture
def competition(tmp_path):
    (tmp_path / "taxonomy.csv").write_text(
        "primary_label,inat_taxon_id,scientific_name,common_name,class_name\n"
        "eurbla,1,Turdus merula,Common Blackbird,Aves\n"
        "1139490,1139490,Ragoniella pulchella,Ragoniella pulchella,Insecta\n"
        "grywag ,3, Motacilla cinerea melanope,Grey Wagtail,Aves\n"
    )
    (tmp_path / "train.csv").write_text("primary_label,filename,scientific_name,common_name\ncarcro1,a.ogg,Corvus corone,Carrion Crow\n")
    return tmp_path


def test_names_come_from_the_competitions_tables(competition):
    table = taxonomy.names(["carcro1", "eurbla", "somebody"], competition)
    assert table.values.tolist() == [
        ["carcro1", "Corvus corone", "Carrion Crow"],  # taxonomy.csv lacks it, train.csv has it
        ["eurbla", "Turdus merula", "Common Blackbird"],
        ["somebody", "somebody", "somebody"],
    ]


def test_labels_stay_text(competition):
    assert taxonomy.names(["1139490"], competition)["label"].tolist() == ["1139490"]


def test_species_are_found_by_scientific_name_even_where_the_common_name_differs(competition):
    matched = taxonomy.match(taxonomy.names(["eurbla", "grywag", "1139490"], competition), BIRDNET)
    assert matched["column"].tolist() == [0, 1, -1]  # the grey wagtail by its species, without the subspecies
    assert matched["matched_by"].tolist() == ["scientific", "scientific", ""]
    assert matched["matched_name"][0] == "Turdus merula"
    assert taxonomy.unmatched(matched) == ["1139490"]


@pytest.mark.parametrize("label", ["Grey Wagtail", "gray wagtail", "GREY WAGTAIL"])
def test_common_names_are_matched_in_any_spelling(label):
    matched = taxonomy.match(taxonomy.names([label]), BIRDNET)
    assert matched["column"].tolist() == [1] and matched["matched_by"].tolist() == ["common"]


def test_hyphens_and_apostrophes_do_not_matter():
    known = pd.DataFrame({"common_name": ["Dark-eyed Junco", "Swainson's Thrush"]})
    matched = taxonomy.match(taxonomy.names(["Dark eyed Junco", "Swainsons Thrush"]), known)
    assert matched["column"].tolist() == [0, 1]


def test_an_ebird_code_is_matched_before_any_name():
    known = pd.DataFrame({"ebird": ["amerob", "norcar"], "species": ["", ""]})
    matched = taxonomy.match(taxonomy.names(["norcar", "12345"]), known)
    assert matched["column"].tolist() == [1, -1] and matched["matched_by"].tolist() == ["ebird", ""]


def test_ambiguous_names_are_ignored():
    known = pd.DataFrame({"species": ["Pica pica", "Pica hudsonia"], "common_name": ["Magpie", "Magpie"]})
    assert taxonomy.match(taxonomy.names(["Magpie"]), known)["column"].tolist() == [-1]


def test_empty_names_match_nothing(competition):
    known = pd.DataFrame({"ebird": [""], "species": [""], "common_name": [""]})
    table = pd.DataFrame({"label": ["x"], "scientific_name": [""], "common_name": [""]})
    assert taxonomy.match(table, known)["column"].tolist() == [-1]


def test_a_match_does_not_depend_on_the_order_of_the_labels(competition):
    table = taxonomy.names(["eurbla", "1139490", "grywag"], competition)
    backwards = taxonomy.match(table[::-1].reset_index(drop=True), BIRDNET)
    assert dict(zip(backwards["label"], backwards["column"], strict=True)) == {"eurbla": 0, "1139490": -1, "grywag": 1}


def test_coverage_shows_labels_without_a_teacher():
    table = taxonomy.coverage({"birdnet": ["a"], "detectors": ["b"]}, ["a", "b", "c"])
    assert table.loc["a"].tolist() == [True, False] and not table.loc["c"].any()


def test_a_species_of_the_taxonomy_without_data_has_a_name(tmp_path):
    (tmp_path / "taxonomy.csv").write_text("primary_label,scientific_name,common_name\nwren,Troglodytes troglodytes,Wren\nroc,Roc roc,Roc\n")
    assert taxonomy.names(["roc"], tmp_path).loc[0, ["scientific_name", "common_name"]].tolist() == ["Roc roc", "Roc"]
