"""Makes retrieval.json: what AccuracyCalculator, of the authors of "A Metric Learning Reality Check" (2020), says of random embeddings.

In an environment of its own::

    pip install torch==2.13.0 pytorch-metric-learning==2.9.0 scikit-learn==1.9.1
    python tests/golden/make_retrieval.py
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn.cluster import KMeans

FIGURES = ("precision_at_1", "r_precision", "mean_average_precision_at_r", "NMI")
PACKAGES = ("torch", "pytorch-metric-learning", "scikit-learn", "numpy")


def embeddings(seed, dim=6):
    """Unit vectors about eight centres, of unequal number; labels 6 and 7 are only among the queries, label 8 only in the gallery."""
    rng = np.random.default_rng(seed)
    query_labels = np.repeat(np.arange(8), [12, 3, 7, 1, 9, 5, 4, 2])
    gallery_labels = np.repeat([0, 1, 2, 3, 4, 5, 8], [20, 2, 11, 1, 6, 33, 5])
    centres = rng.normal(size=(9, dim))
    query, gallery = (
        centres[labels] + 1.2 * rng.normal(size=(len(labels), dim)) for labels in (query_labels, gallery_labels)
    )
    unit = [np.round(x / np.linalg.norm(x, axis=1, keepdims=True), 4) for x in (query, gallery)]
    return *unit, query_labels, gallery_labels


def nearest(query, k, reference, ref_includes_query):
    """By Euclidean distance, in float64 so that rounding makes no ties."""
    return torch.cdist(query.double(), reference.double(), compute_mode="donot_use_mm_for_euclid_dist").topk(
        k, largest=False
    )


def case(seed):
    query, gallery, query_labels, gallery_labels = embeddings(seed)
    clusters = KMeans(8, n_init=10, random_state=seed).fit_predict(query)
    calculator = AccuracyCalculator(
        FIGURES, k=None, device=torch.device("cpu"), knn_func=nearest, kmeans_func=lambda *_: torch.as_tensor(clusters)
    )
    figures = calculator.get_accuracy(query, query_labels, gallery, gallery_labels)
    arrays = {
        "query": query,
        "gallery": gallery,
        "query_labels": query_labels,
        "gallery_labels": gallery_labels,
        "clusters": clusters,
    }
    return {"figures": figures, **{name: array.tolist() for name, array in arrays.items()}}


if __name__ == "__main__":
    golden = {
        "command": "python tests/golden/make_retrieval.py",
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}},
        "cases": [case(seed) for seed in range(3)],
    }
    Path(__file__).with_name("retrieval.json").write_text(json.dumps(golden) + "\n")
