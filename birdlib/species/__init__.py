"""Which species: classifiers, pseudo-labels, submissions."""
