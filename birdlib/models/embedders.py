"""Embedders by name: a recording in, one embedding per patch out, with a score that the patch contains a bird.

Every embedder has ``name``, ``sample_rate_hz`` (of its waveforms), ``resampler`` (of files, to that rate), ``patch_s``, ``hop_s``, ``dim``,
``key`` (a digest of everything that changes the numbers), ``weights`` (for the receipt), ``embed`` and ``embed_stream``. Patch i begins at
``i * hop_s``. An embedding depends on its own patch only: not on its neighbours in a batch, on padding or on the number of threads.

A new embedder is a row of ``catalogue.MODELS``, a class like ``birdnet.BirdnetEmbedder`` and an entry of ``EMBEDDERS``.
"""

from birdlib.models import birdnet, inner_blocks, perch, weights, yamnet, yamnet_embedder
from birdlib.models.base import RESAMPLERS, EmbedderError

_BACKENDS = {"tensorflow": "TensorFlow", "litert": "LiteRT"}


def _yamnet(source, octave_down, backend, n_threads):
    return yamnet_embedder.YamnetEmbedder(source, yamnet.load(source), octave_down, backend, n_threads)


def _birdnet(source, octave_down, backend, n_threads):
    return birdnet.BirdnetEmbedder(source, birdnet.load(source, n_threads))


def _perch(source, octave_down, backend, n_threads):
    return perch.PerchEmbedder(source, perch.load(source))


def _birdnet_blocks(source, octave_down, backend, n_threads):
    return inner_blocks.BirdnetBlocksEmbedder(source, birdnet.load_blocks(source, n_threads))


def _yamnet_blocks(source, octave_down, backend, n_threads):
    return inner_blocks.YamnetBlocksEmbedder(source, yamnet.load(source))


def _yamnet_bands(source, octave_down, backend, n_threads):
    return inner_blocks.YamnetBandsEmbedder(source, yamnet.load(source), octave_down)


EMBEDDERS = {  # name → (builder, backends that it runs in)
    "yamnet": (_yamnet, ("tensorflow", "litert")),
    "birdnet": (_birdnet, ("litert",)),
    "perch": (_perch, ("tensorflow",)),
    "perch_v2": (_perch, ("tensorflow",)),
    "birdnet_blocks": (_birdnet_blocks, ("litert",)),
    "yamnet_blocks": (_yamnet_blocks, ("tensorflow",)),
    "yamnet_bands": (_yamnet_bands, ("tensorflow",)),
}
BLOCKS = {"birdnet_blocks": "birdnet", "yamnet_blocks": "yamnet"}  # embedders of many blocks side by side, and whose weights they take
_WEIGHTS_OF = BLOCKS | {"yamnet_bands": "yamnet"}
NAMES = tuple(name for name in EMBEDDERS if name not in BLOCKS)


def weights_name(name):
    """The key of ``catalogue.MODELS`` of an embedder."""
    return _WEIGHTS_OF.get(name, name)


def load(name="yamnet", folder="", octave_down=True, backend="auto", n_threads=2, resampler="soxr_hq"):
    """Load an embedder with its weights, which are fetched if need be.

    Args:
        name: one of ``EMBEDDERS``. BirdNET's licence forbids commercial use.
        folder: where the weights are, see ``weights.find``.
        octave_down: of YAMNet: embed each recording also at half speed, an octave lower, where it knows more classes; takes 32 kHz.
        backend: "tensorflow", "litert" or "auto": LiteRT on a CPU where the package ai-edge-litert is installed and
            agrees with TensorFlow, else TensorFlow. The interpreter inside older TensorFlows is slow on a busy machine.
        n_threads: of LiteRT; 1 where several processes share the machine.
        resampler: of the sound that will be embedded; it is a part of the embedder's ``key``.

    Raises:
        EmbedderError: an unknown name, backend or resampler, or one that these weights or this machine cannot run.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    if name not in EMBEDDERS:
        raise EmbedderError(f"there is no embedder called {name!r}: choose one of {', '.join(EMBEDDERS)}")
    if backend not in ("auto", *_BACKENDS):
        raise EmbedderError(f"backend is {backend!r}: choose auto, tensorflow or litert")
    if resampler not in RESAMPLERS:
        raise EmbedderError(f"resampler is {resampler!r}: choose {' or '.join(RESAMPLERS)}")
    build, backends = EMBEDDERS[name]
    if backend not in ("auto", *backends):
        raise EmbedderError(f"{name} runs in {_BACKENDS[backends[0]]} only: choose the backend auto or {backends[0]}")
    return build(weights.fetch(weights_name(name), folder), octave_down, backend, n_threads).with_resampler(resampler)
