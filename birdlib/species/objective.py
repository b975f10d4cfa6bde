"""What a mel model is trained for besides the species of a clip: those of its frames, and a teacher's embedding of the same sound.

The further outputs exist in training only; a saved model has the clip's probabilities.
"""

import dataclasses

import keras
from keras import layers as kl
from keras import ops

from birdlib import runtime
from birdlib.audio.batches import TEACHER
from birdlib.losses.distillation import CosineDistance
from birdlib.species import mel_heads

CLIP, FRAMES = "clip", "frames"


class ObjectiveError(runtime.BirdlibError):
    """A loss for which a network lacks the output."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """Weights of the losses: (1 - ``frame_share``) on the clip, ``frame_share`` on the frames, ``distillation`` on the embedding.

    The frames' loss takes the highest probability over time of each species. ``teacher_dim`` is the size of the teacher's embedding, which a
    linear layer predicts from the mean over the maps of the backbone, and the loss is 1 - cosine.
    """

    frame_share: float = 0.0
    distillation: float = 0.0
    teacher_dim: int = 0

    def network(self, body):
        """The body of a mel model with an output for each loss; it shares the weights.

        Returns:
            keras.Model, spectrograms → probabilities, or {"clip", "frames", "teacher"} of those that have a weight.

        Raises:
            ObjectiveError: for a share that is none, or a head without frames.
        """
        if not 0 <= self.frame_share <= 1 or self.distillation < 0:
            raise ObjectiveError(f"frame_share is {self.frame_share} and distillation {self.distillation}: a share from 0 to 1, a weight from 0")
        outputs = {CLIP: body.output}
        if self.frame_share:
            if (frames := mel_heads.frames(body)) is None:
                raise ObjectiveError("frame_share needs a head with probabilities per frame: let the first of heads be sed or sed_gem")
            outputs[FRAMES] = Loudest(name="loudest_frame")(frames)
        if self.distillation:
            maps = body.get_layer(mel_heads.MAPS).output
            outputs[TEACHER] = kl.Dense(self.teacher_dim, dtype="float32", name="teacher_embedding")(kl.GlobalAveragePooling2D()(maps))
        return body if len(outputs) == 1 else keras.Model(body.input, outputs, name="body_in_training")

    def losses(self, loss):
        """(loss, weight) of each output of ``network``, as ``compile`` takes them; ``loss`` is that of species."""
        weights = {CLIP: 1.0 - self.frame_share, FRAMES: self.frame_share, TEACHER: self.distillation}
        used = {name: weight for name, weight in weights.items() if weight or name == CLIP}
        if list(used) == [CLIP]:
            return loss, None
        return {name: CosineDistance() if name == TEACHER else loss for name in used}, used


SPECIES = Objective()  # the species of the clip alone


@keras.saving.register_keras_serializable("birdlib")
class Loudest(kl.Layer):
    """Frames (batch, frames, classes) → the highest over time (batch, classes)."""

    def __init__(self, dtype="float32", **options):
        super().__init__(dtype=dtype, **options)

    def call(self, frames):
        return ops.max(frames, axis=1)
