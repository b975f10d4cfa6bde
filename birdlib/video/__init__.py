"""Images and films: read, detect, track, draw."""
