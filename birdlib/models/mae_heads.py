"""Species heads on Bird-MAE: probes of a frozen encoder, and a deeper head for fine-tuning.

A head is a keras.Model from one output of the encoder, named by its input, ``embedding`` (batch, dim) or ``tokens``
(batch, 1 + patches, dim), to probabilities (batch, classes).
"""

import keras
from keras import ops

from birdlib import runtime
from birdlib.models import mae, mae_layers

HEADS = {"linear": "embedding", "mlp": "embedding", "attentive": "tokens", "prototypical": "tokens"}  # the input of each
ACTIVATIONS = {"single": "softmax", "multi": "sigmoid"}  # one species per clip, or any number
_UNUSED_NORM = {"embedding": "token_norm", "tokens": "embedding_norm"}  # of the encoder, by the input of the head
_MLP = ((0.3, 512), (0.2, 256), (0.1, None))  # dropout before a layer, its units
_INITIAL_BIAS = -2.0  # of a species: most are absent


class HeadError(runtime.BirdlibError):
    """A head that cannot be built as configured."""


def build_head(kind, encoder, n_classes, *, mode="multi", n_prototypes=20, orthogonality=0.01, attention_heads=None):
    """Build a head.

    Args:
        kind: one of ``HEADS``.
            ``linear``: one dense layer.
            ``mlp``: dropout .3, 512 GELU, dropout .2, 256 GELU, dropout .1, classes.
            ``attentive``: a learnt query attends to all tokens, then norm and a dense layer; "Context Autoencoder for Self-Supervised
            Representation Learning" (2024).
            ``prototypical``: each species has prototypes p, whose similarity to a clip is their largest cosine with z - c, z being a patch
            token and c the class token; logit = Σ w max cos + b with w ≥ 0. "AudioProtoPNet: An Interpretable Deep Learning Model for
            Bird Sound Classification" (2025), and as Bird-MAE was probed.
        encoder: from ``mae.build_encoder`` or ``mae_checkpoints.load``; only its shapes are used.
        n_classes: number of species.
        mode: ``single`` (softmax) or ``multi`` (sigmoid).
        n_prototypes: per species.
        orthogonality: weight of ||P Pᵀ - I||², mean over species, P being their prototypes of unit length: it keeps them apart.
        attention_heads: of the attentive probe; None: one per 64 dimensions.

    Returns:
        keras.Model, {"embedding"} or {"tokens"} → (batch, n_classes) float32.

    Raises:
        HeadError: for an unknown kind or mode.
    """
    for what, value, known in (("kind", kind, HEADS), ("mode", mode, ACTIVATIONS)):
        if value not in known:
            raise HeadError(f"{what} is {value!r}: choose one of {', '.join(known)}")
    layers, name = keras.layers, HEADS[kind]
    given = keras.Input(encoder.output[name].shape[1:], name=name)
    dim = given.shape[-1]
    if kind == "prototypical":
        similarity = Prototypes(n_classes, n_prototypes, orthogonality, dtype="float32", name="prototypes")(given)
        x = Evidence(dtype="float32", name="evidence")(similarity)
    else:
        x = given
        for dropout, units in _MLP if kind == "mlp" else ():
            x = layers.Dropout(dropout)(x)
            x = layers.Dense(units, activation="gelu")(x) if units else x
        if kind == "attentive":
            x = AttentivePooling(attention_heads or max(1, dim // 64), name="attention")(x)
            x = layers.LayerNormalization(epsilon=mae_layers.EPSILON)(x)
        x = layers.Dense(n_classes, dtype="float32", name="logits")(x)
    probabilities = layers.Activation(ACTIVATIONS[mode], dtype="float32", name="probabilities")(x)
    return keras.Model({name: given}, probabilities, name=f"{kind}_head")


def classifier(encoder, head, freeze=True, masking=None):
    """The whole model, ready to be saved; its parts ``front_end`` and ``body`` are models too, which share its weights.

    Args:
        encoder, head: the parts, whose weights it shares.
        freeze: True trains the head alone (probing), False the encoder too (fine-tuning).
        masking: a layer, (batch, frames, bands) → the same, active in training, e.g. ``spec_augment.SpecAugment``; None for none.

    Returns:
        keras.Model, waveform (batch, 160000) in [-1, 1] at 32 kHz → probabilities (batch, classes); ``body`` takes spectrograms.
    """
    encoder.trainable = not freeze
    [name] = head.input
    encoder.get_layer(_UNUSED_NORM[name]).trainable = False  # it would get no gradient
    spectrogram = keras.Input(encoder.input_shape[1:], name="spectrogram")
    masked = masking(spectrogram) if masking else spectrogram
    body = keras.Model(spectrogram, head({name: encoder(masked)[name]}), name="body")
    front = mae.front_end(encoder)
    waveform = keras.Input(front.input_shape[1:], name="waveform")
    return keras.Model(waveform, body(front(waveform)), name="mae_classifier")


@keras.saving.register_keras_serializable("birdlib")
class Orthogonal(keras.regularizers.Regularizer):
    """factor * mean over classes of ||P Pᵀ - I||², P (prototypes, dim) of unit length."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, prototypes):
        unit = prototypes / ops.maximum(ops.norm(prototypes, axis=-1, keepdims=True), 1e-6)
        products = ops.matmul(unit, ops.transpose(unit, (0, 2, 1)))  # (classes, prototypes, prototypes)
        return self.factor * ops.mean(ops.sum(ops.square(products - ops.eye(products.shape[-1])), axis=(1, 2)))

    def get_config(self):
        return {"factor": self.factor}


@keras.saving.register_keras_serializable("birdlib")
class Prototypes(keras.layers.Layer):
    """Tokens (batch, 1 + patches, dim) → (batch, classes, prototypes): the largest cosine of a prototype with a patch."""

    def __init__(self, n_classes, n_prototypes, orthogonality, **options):
        super().__init__(**options)
        self.n_classes, self.n_prototypes, self.orthogonality = n_classes, n_prototypes, orthogonality

    def build(self, shape):
        self.prototypes = self.add_weight(
            shape=(self.n_classes, self.n_prototypes, shape[-1]),
            initializer="random_normal",
            regularizer=Orthogonal(self.orthogonality),
            name="prototypes",
        )

    def call(self, tokens):
        focal = tokens[:, 1:] - tokens[:, :1]  # (batch, patches, dim)
        focal = focal / ops.maximum(ops.norm(focal, axis=-1, keepdims=True), 1e-6)
        flat = ops.reshape(self.prototypes, (-1, tokens.shape[-1]))
        flat = flat / ops.maximum(ops.norm(flat, axis=-1, keepdims=True), 1e-6)
        cosines = ops.max(ops.matmul(focal, ops.transpose(flat)), axis=1)  # (batch, classes * prototypes)
        return ops.reshape(cosines, (-1, self.n_classes, self.n_prototypes))

    def get_config(self):
        options = {name: getattr(self, name) for name in ("n_classes", "n_prototypes", "orthogonality")}
        return super().get_config() | options


@keras.saving.register_keras_serializable("birdlib")
class Evidence(keras.layers.Layer):
    """(batch, classes, prototypes) → logits (batch, classes): a prototype is evidence for its own species, never against it."""

    def build(self, shape):
        positive = keras.constraints.NonNeg()
        self.weights_of = self.add_weight(shape=shape[1:], initializer="ones", constraint=positive, name="weights")
        bias = keras.initializers.Constant(_INITIAL_BIAS)
        self.bias = self.add_weight(shape=shape[1:2], initializer=bias, name="bias")

    def call(self, similarity):
        return ops.sum(self.weights_of * similarity, axis=-1) + self.bias


@keras.saving.register_keras_serializable("birdlib")
class AttentivePooling(keras.layers.Layer):
    """Tokens (batch, n, dim) → (batch, dim): attention of a learnt query."""

    def __init__(self, n_heads, **options):
        super().__init__(**options)
        self.n_heads = n_heads

    def build(self, shape):
        dim = shape[-1]
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.query = self.add_weight(shape=(1, 1, dim), initializer=initializer, name="query")
        options = {"dtype": self.dtype_policy, "name": "attention"}
        self.attention = keras.layers.MultiHeadAttention(self.n_heads, dim // self.n_heads, **options)
        self.attention.build((None, 1, dim), shape)

    def call(self, tokens):
        query = ops.zeros_like(tokens[:, :1]) + ops.cast(self.query, tokens.dtype)
        return self.attention(query, tokens)[:, 0]

    def compute_output_shape(self, shape):
        return (shape[0], shape[2])

    def get_config(self):
        return super().get_config() | {"n_heads": self.n_heads}
