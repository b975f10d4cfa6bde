"""Front ends without weights, such as mel spectrograms, computed once for all members of an ensemble that have the same one."""

from birdlib import runtime
from birdlib.models import litert
from birdlib.species.members import WaveformMember

_MAX_BYTES = 256e6  # of spectrograms that are kept: half an hour of windows side by side


class SharedFrontEnd:
    """Remembers the spectrograms of the last windows for the members that share it.

    Args:
        model: keras.Model, waveforms (batch, samples) → spectrograms (batch, ...).

    Attributes:
        n_computed: batches computed so far.
    """

    def __init__(self, model):
        self._run, self.n_computed = litert.keras_predictor(model), 0
        self._last, self._kept = None, []

    def compute(self, key, cut):
        """Spectrograms of windows.

        Args:
            key: of file and windows: those of the last key are not computed again, unless they are too many to be kept.
            cut: function that yields (rows, waveforms (rows, samples)).

        Yields:
            (rows, spectrograms (rows, ...)).
        """
        if key == self._last:
            yield from self._kept
            return
        self._last, self._kept = None, []
        kept, n_bytes = [], 0
        for rows, waveforms in cut():
            spectrograms = self._run(waveforms)
            self.n_computed += 1
            n_bytes += spectrograms.nbytes
            if n_bytes <= _MAX_BYTES:
                kept.append((rows, spectrograms))
            yield rows, spectrograms
        if n_bytes <= _MAX_BYTES:
            self._last, self._kept = key, kept


def share(members):
    """Let members with the same front end share it; a member that has its own alone stays as it is.

    Returns:
        list of lists of the members that now share one.
    """
    alike = {}
    for member in members:
        if isinstance(member, WaveformMember) and (key := _key(member)):
            alike.setdefault(key, []).append(member)
    groups = [group for group in alike.values() if len(group) > 1]
    for group in groups:
        front = SharedFrontEnd(group[0].model.get_layer("front_end"))
        for member in group:
            member.share(front)
    return groups


def alone(member):
    """The same WaveformMember with a front end of its own, to measure what sharing saves."""
    return WaveformMember(member.name, member.member_id, member.classes, member.preprocessing, member.model, "")


def _key(member):
    """Digest of what a member's front end computes, whatever its layers are called; "" for a model in one part, or a front end with weights."""
    parts = {layer.name: layer for layer in member.model.layers}
    if not {"front_end", "body"} <= parts.keys() or parts["front_end"].count_params():
        return ""
    layers = [(type(layer).__name__, {**layer.get_config(), "name": ""}) for layer in parts["front_end"].layers]
    return runtime.digest([member.sample_rate_hz, member.preprocessing["window_s"], layers])
