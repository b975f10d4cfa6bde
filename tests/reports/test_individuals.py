import pandas as pd

from birdlib.individuals import count_comparison
from birdlib.reports.sections import individuals


class Run:
    """Outputs of which one table is known."""

    def __init__(self, countings):
        self.countings = countings

    def read_or_none(self, stage, name):
        return self.countings if (stage, name) == ("09_count", "countings.csv") else None


def test_both_ways_of_counting_stand_side_by_side_with_their_intervals():
    table = pd.DataFrame([["film-7", 6, 5, 7, 3, 3, 5, -3, -4, -1]], columns=count_comparison.COLUMNS)
    markup = str(individuals._countings(Run(table)))
    for text in ("film-7", "Greedy, fixed threshold", "Clustering", "Difference", "[5, 7]", "[3, 5]", "[−4, −1]", "one after another"):
        assert text in markup.replace(".0", "")


def test_outputs_of_an_older_version_have_no_such_table():
    assert individuals._countings(Run(None)) is None and individuals._countings(Run(pd.DataFrame(columns=count_comparison.COLUMNS))) is None
