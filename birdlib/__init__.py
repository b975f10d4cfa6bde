"""birdlib: which species, which individual, how many; from sound, photos and video. Import the module you need."""

__version__ = "0.2.0"
