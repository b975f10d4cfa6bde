"""The synthetic sample: invented species, songs, drawings and films whose truth is known."""
