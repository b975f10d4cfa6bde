"""Losses of a pair of sound and picture, as formulas in ``keras.ops``."""


def parts(outputs):
    """What a matcher says, taken apart.

    Args:
        outputs: (batch, 2 * dim + 1), array or tensor: sound embedding, picture embedding, logit.

    Returns:
        (audio, video, logit): (batch, dim), (batch, dim), (batch,).
    """
    dim = (outputs.shape[-1] - 1) // 2
    return outputs[:, :dim], outputs[:, dim : 2 * dim], outputs[:, -1]
