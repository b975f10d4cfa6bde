import numpy as np
import pandas as pd

from birdlib.species import plots as species_plots
from birdlib.species import pseudolabels


def test_rounds_are_plotted_with_and_without_held_out_figures(drawn):
    table = pd.DataFrame({"round": [0, 1], "figure": [0.8, 0.9], "is_best": [False, True]})
    nothing = dict.fromkeys(["held_out_auc", "held_out_low", "held_out_high"], np.nan)
    ax = species_plots.self_training_rounds(table.assign(**nothing))
    assert len(ax.get_legend_handles_labels()[1]) == 2
    ax = species_plots.self_training_rounds(table.assign(held_out_auc=[0.7, 0.8], held_out_low=[0.6, np.nan], held_out_high=[0.8, np.nan]))
    assert "held-out soundscapes, 90 % interval" in ax.get_legend_handles_labels()[1]


def test_label_provenance_is_plotted_by_species_and_rule(drawn):
    tables = [
        pseudolabels.hard(np.array([[0.9, 0.1], [0.8, 0.7]]), ["S_5", "S_10"], ["wren", "crow"], teacher="birdnet"),
        pseudolabels.from_annotations(np.array([[1.0]]), ["S_15"], ["crow"]),
    ]
    ax = species_plots.label_provenance(pseudolabels.summary(pseudolabels.merge(tables)))
    widths = {tick.get_text(): 0 for tick in ax.get_yticklabels()}
    assert set(widths) == {"wren", "crow"} and sum(patch.get_width() for patch in ax.patches) == 4
    assert not species_plots.label_provenance(pseudolabels.summary(pseudolabels.merge([]))).patches
