"""The loss of a student that imitates a teacher's embeddings."""

import keras
from keras import ops

_EPS = 1e-6  # of a norm


@keras.saving.register_keras_serializable("birdlib")
class CosineDistance(keras.losses.Loss):
    """1 - cosine of two vectors, in [0, 2]; 0 where the teacher's is 0, that is where it has none.

    Of embeddings (batch, dim) only the directions are compared: a student's need not have the teacher's length. ``keras.losses``' cosine
    similarity would give -cosine, and -0 for a missing teacher, so that a batch's loss would depend on how many are missing.
    """

    def __init__(self, name="cosine_distance", reduction="sum_over_batch_size"):
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def call(self, teacher, student):
        teacher_norm, student_norm = (ops.sqrt(ops.sum(ops.square(x), axis=-1) + _EPS**2) for x in (teacher, student))
        cosine = ops.sum(teacher * student, axis=-1) / (teacher_norm * student_norm)
        return ops.where(teacher_norm > 2 * _EPS, 1.0 - cosine, 0.0)  # (batch,)

    def get_config(self):
        return {"name": self.name, "reduction": self.reduction}
