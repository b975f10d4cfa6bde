"""Voice activity detection: where people speak in a recording, by Silero VAD (github.com/snakers4/silero-vad).

Times are seconds; spans are (n, 2) float64 arrays of start and end, sorted and disjoint.
"""

import functools
import importlib.util
from pathlib import Path

import numpy as np

from birdlib import runtime, streaming
from birdlib.audio import io as audio_io

SPEECH_THRESHOLD = 0.6  # speech starts at this probability ...
_HYSTERESIS = 0.15  # ... and ends when it stays this far below
SAMPLE_RATE_HZ = 16000
_FRAME, _CONTEXT, _FRAMES_PER_CALL = 512, 64, 512


def speech_spans(waveform, **options):
    """Speech in a 16 kHz waveform; ``options`` as in ``probabilities_to_spans``. Returns (n, 2) seconds."""
    return probabilities_to_spans(speech_probabilities([waveform]), len(waveform) / SAMPLE_RATE_HZ, **options)


def speech_probabilities(blocks):
    """Probability of speech, by Silero VAD, for each 512 samples (32 ms).

    Args:
        blocks: consecutive pieces of a 16 kHz waveform, of any lengths; the lengths do not change the result.

    Returns:
        (frames,) float32; the last frame is zero-padded.
    """
    session, is_sequence = silero()
    hidden, cell = np.zeros((2, 1, 1, 128), np.float32)
    state = np.zeros((2, 1, 128), np.float32)
    context = np.zeros((1, _CONTEXT), np.float32)
    probabilities = [np.zeros(0, np.float32)]
    for block in streaming.regroup(blocks, _FRAME * _FRAMES_PER_CALL):
        frames = audio_io.frame(block, _FRAME, _FRAME)
        contexts = np.concatenate([context, frames[:-1, -_CONTEXT:]])
        context = frames[-1:, -_CONTEXT:]
        frames = np.concatenate([contexts, frames], axis=1)  # (frames, 64 + 512)
        if is_sequence:
            inputs = {"input": frames, "h": hidden, "c": cell}
            values, hidden, cell = session.run(["speech_probs", "hn", "cn"], inputs)
            probabilities.append(values.reshape(-1))
            continue
        for row in frames:
            inputs = {"input": row[None], "state": state, "sr": np.array(SAMPLE_RATE_HZ, np.int64)}
            value, state = session.run(None, inputs)
            probabilities.append(value.reshape(-1))
    return np.concatenate(probabilities)


def probabilities_to_spans(
    probabilities, duration_s, threshold=SPEECH_THRESHOLD, min_speech_s=0.5, min_gap_s=0.5, pad_s=0.2
):
    """Turn probabilities into spans, by the rules of Silero's ``get_speech_timestamps`` (which needs torch).

    Speech starts at ``threshold`` and ends when it stays 0.15 below that for ``min_gap_s``. Spans not longer than
    ``min_speech_s`` are dropped, the others widened by ``pad_s`` on both sides. The defaults join the words of an
    announcement and drop single chirps. On meetings (AMI) their recall is 87 % and their precision 99 %, and 0.02 %
    of 65 minutes of bird-only recordings is taken for speech; Silero's defaults (0.5, 0.25, 0.1, 0.03): 77 % recall
    and 0.05 %.

    Returns:
        (n, 2) float64 seconds within [0, duration_s].
    """
    frame_s = _FRAME / SAMPLE_RATE_HZ
    spans, start_s, pause_s = [], None, None
    for time_s, probability in zip(np.arange(len(probabilities)) * frame_s, probabilities, strict=True):
        if probability >= threshold:
            start_s, pause_s = time_s if start_s is None else start_s, None
        elif start_s is not None and probability < max(threshold - _HYSTERESIS, 0.01):
            pause_s = time_s if pause_s is None else pause_s
            if time_s - pause_s >= min_gap_s:
                spans.append((start_s, pause_s))
                start_s = pause_s = None
    if start_s is not None:
        spans.append((start_s, duration_s))
    merged = []
    for start_s, end_s in spans:
        if end_s - start_s <= min_speech_s:
            continue
        start_s, end_s = max(0.0, start_s - pad_s), min(duration_s, end_s + pad_s)
        if merged and start_s <= merged[-1][1]:
            start_s = merged.pop()[0]
        merged.append((start_s, end_s))
    return np.array(merged, np.float64).reshape(-1, 2)


def silero_folder():
    """Where the installed silero-vad keeps its models; the package, and with it torch, is not imported."""
    package = importlib.util.find_spec("silero_vad")
    if package is None:
        raise runtime.BirdlibError("silero-vad is not installed: pip install silero-vad onnxruntime")
    return Path(package.submodule_search_locations[0]) / "data"


@functools.cache
def silero():
    """The installed Silero model, loaded once per process: (session, whether it takes a sequence of frames)."""
    import onnxruntime

    folder = silero_folder()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # recordings are processed in parallel instead
    sequence = folder / "silero_vad_16k_sequence.onnx"
    path = sequence if sequence.is_file() else folder / "silero_vad.onnx"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]), path == sequence
