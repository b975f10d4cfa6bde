"""Birds with a voice each, as vectors of their recordings."""

import numpy as np
import pandas as pd

N_BIRDS, N_EACH, DIM = 8, 12, 20


def aviary(seed=0, spread=0.2, distance=1.0, loudness=5.0, n_sessions=3):
    """Birds with a voice each, singing now louder and now fainter: (vectors, birds, table)."""
    rng = np.random.default_rng(seed)
    birds = np.repeat([f"bird{i}" for i in range(N_BIRDS)], N_EACH)
    own = np.repeat(distance * rng.standard_normal((N_BIRDS, DIM)), N_EACH, axis=0)
    louder = np.outer(loudness * rng.standard_normal(len(birds)), np.eye(DIM)[0])  # says nothing about the bird
    vectors = own + louder + spread * rng.standard_normal((len(birds), DIM))
    groups = [f"{bird}-{i % n_sessions}" for i, bird in enumerate(birds)]
    return vectors, birds, table_of(birds, groups)


def table_of(birds, groups):
    return pd.DataFrame({"individual_id": birds, "group_id": groups})
