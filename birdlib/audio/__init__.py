"""Waveforms: read, clean, cut, augment."""
