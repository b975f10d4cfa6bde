"""Sound files, decoded: one way into every container, and the true number of samples of each.

libsndfile decodes files whose headers can be trusted (wav, flac, ogg, aiff, caf, ...). FFmpeg, through PyAV, decodes what libsndfile does
not know (m4a, aac, webm, wma, amr, 3gp, mka, ...) and what it would cut: mp3, whose length is often an estimate, and files whose header
states no length, as recorders that lost power and programs that write to a pipe leave them. Joined Ogg files are decoded part by part.

Decoders get an open file, never its name: a name need not be text that they can encode, and its suffix may be wrong.
"""

import contextlib
import dataclasses
import io
import os
from collections.abc import Callable

import numpy as np

from birdlib.audio import riff
from birdlib.audio.media_files import AudioError, open_file

_SOUND_CONTAINERS = set(  # FFmpeg's names; text, pictures and playlists are not among them
    "aac ac3 aiff amr ape asf au avi caf dts eac3 flac flv m4a matroska mov mp3 mp4 mpc mpc8 mpeg mpegts mxf ogg oma rm tak truehd tta voc w64 wav webm wv".split()
)
_MIN_RATE_HZ, _MAX_RATE_HZ = 50, 1_600_000  # bat detectors record up to 500 kHz
_UNKNOWN_SAMPLES = 2**40  # libsndfile states about 2**63 where a header has no length
_PROBED_S = 10.0  # of each of several sound tracks, to find one that is not silent
_SILENT_PEAK = 1e-4


@dataclasses.dataclass(frozen=True)
class Decoder:
    """A sound file, or one of several joined in a file."""

    sample_rate_hz: int
    n_channels: int
    n_samples: int | None  # None: known when all is decoded
    pieces: Callable  # pieces(start) yields (samples, channels) float32 of about a second from sample ``start`` on
    damage: list  # what could not be decoded, filled by ``pieces``
    n_missing: int = 0  # samples that the header states behind those that are there


@contextlib.contextmanager
def opened(path):
    """The decoders of a file, one behind the other: a list of one, but for joined files.

    Raises:
        AudioError: if the file is missing, empty or not sound, or its header states an impossible sample rate.
    """
    with open_file(path) as file, contextlib.ExitStack() as stack:
        trusted, fallback, reason = _libsndfile(file, stack)
        decoders = trusted or _ffmpeg(file) or fallback
        if not decoders:
            raise AudioError(path, reason)
        for decoder in decoders:
            if not _MIN_RATE_HZ <= decoder.sample_rate_hz <= _MAX_RATE_HZ:
                raise AudioError(path, f"states a sample rate of {decoder.sample_rate_hz} Hz, which no recorder has: its header is damaged, save the sound again with its true rate")
        yield decoders


def open_container(file):
    """What ``open_file`` gives as a container of FFmpeg; a playlist in it opens no other files.

    Raises:
        av.FFmpegError, ValueError: if it is none; and others, of one of FFmpeg's many readers.
    """
    import av

    return av.open(file, options={"protocol_whitelist": "none"}, metadata_errors="ignore")


def sound_stream(container):
    """(sound track of an FFmpeg container, note): the default one, unless it is silent and another is not; (None, "") without sound.

    Raises:
        av.FFmpegError: if the container cannot be read.
    """
    import av

    streams = [stream for stream in container.streams.audio if getattr(stream, "codec_context", None)]
    streams.sort(key=lambda stream: not stream.disposition & av.stream.Disposition.default)  # stable
    if len(streams) < 2:
        return (streams[0] if streams else None), ""
    chosen = next((stream for stream in streams if not _is_silent(container, stream)), streams[0])
    container.seek(0)
    return chosen, f"of {len(streams)} sound tracks number {container.streams.audio.index(chosen) + 1} is used"


def decoded_frames(container, stream, damage):
    """The whole frames of a stream in order; ``damage`` gets a line for each that could not be decoded."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:  # broken from here on
            damage.append(error.strerror)
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError) as error:
            damage.append(getattr(error, "strerror", None) or str(error))
            continue
        damage.extend("corrupt" for frame in frames if frame.is_corrupt)
        yield from (frame for frame in frames if not frame.is_corrupt)


def _is_silent(container, stream):
    container.seek(0)
    seconds = 0.0
    for frame in decoded_frames(container, stream, []):
        samples = frame.to_ndarray()
        scale = 1.0 if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max
        if np.ptp(samples.astype(np.float64)) > _SILENT_PEAK * scale:
            return False
        seconds += frame.samples / frame.sample_rate
        if seconds > _PROBED_S:
            break
    return True


# libsndfile


def _libsndfile(file, stack):
    """(decoders that can be trusted, decoders that are better than none, why there are none)."""
    import soundfile

    parts, missing_share = _ogg_parts(file), _missing_share(file)
    sources = [io.BytesIO(part) for part in parts] or [file.fileno() if os.name != "nt" else file]
    file.seek(0)
    try:
        sounds = [stack.enter_context(soundfile.SoundFile(source, closefd=False)) for source in sources]
    except (soundfile.LibsndfileError, TypeError, ValueError, OSError) as error:
        return [], [], f"is not audio that can be read ({_reason(error)}): save it again as WAV or FLAC"
    if parts:
        return [_decoder(sound) for sound in sounds], [], ""
    sound = sounds[0]
    if sound.frames == 0:
        return [], [], "holds no samples: copy it again, or remove it"
    decoder = dataclasses.replace(_decoder(sound), n_missing=round(sound.frames * missing_share))
    is_estimate = sound.frames > _UNKNOWN_SAMPLES or "MP3" in sound.format or "MPEG" in sound.subtype
    return ([], [decoder], "") if is_estimate else ([decoder], [], "")


def _decoder(sound):
    import soundfile

    damage = []

    def pieces(start=0):
        length = sound.samplerate
        while length:
            try:
                sound.seek(start)
                while len(piece := sound.read(length, dtype="float32", always_2d=True)):
                    start += len(piece)
                    yield piece
                return
            except soundfile.LibsndfileError as failure:  # what can be decoded before the damage is kept
                error, length = failure, length // 8
        damage.append(_reason(error))

    return Decoder(sound.samplerate, sound.channels, sound.frames, pieces, damage)


def _missing_share(file):
    """How much more sound the header of a WAV file states than is there, of what is there; libsndfile corrects the length and says nothing."""
    data = next((chunk for chunk in riff.chunks(file) if chunk.name == b"data" and chunk.n_stated and chunk.n_bytes), None)
    return data.n_stated / data.n_bytes - 1 if data else 0.0


def _reason(error):
    return getattr(error, "error_string", str(error)).strip().rstrip(".")


def _ogg_parts(file):
    """The bytes of each of several Ogg files that were joined; [] of an ordinary one (layout of a page: RFC 3533)."""
    starts, at, was_first = [0], 0, True
    file.seek(0)
    while (head := file.read(27)).startswith(b"OggS") and len(head) == 27:
        is_first = bool(head[5] & 2)  # a page that begins a stream; several may lie at the beginning of a file
        if is_first and not was_first:
            starts.append(at)
        sizes = file.read(head[26])
        at, was_first = at + 27 + len(sizes) + sum(sizes), is_first
        file.seek(at)
    if len(starts) == 1:
        return []
    parts = []
    for start, end in zip(starts, [*starts[1:], at], strict=True):
        file.seek(start)
        parts.append(file.read(end - start))
    return parts


# FFmpeg


def _ffmpeg(file):
    """[decoder], or [] where FFmpeg finds no sound."""
    import av

    file.seek(0)
    try:
        with _container(file) as container:
            stream, note = sound_stream(container)
            first = stream and next(decoded_frames(container, stream, damage := []), None)
            if first is None or len(damage) > 2:
                return []
            rate_hz, n_channels = first.sample_rate, len(first.layout.channels)
    except (av.FFmpegError, ValueError):
        return []
    damage = [note] if note else []

    def pieces(start=0):
        file.seek(0)
        with _container(file) as container:
            stream, _ = sound_stream(container)
            n_done = 0
            for piece in _as_float(decoded_frames(container, stream, damage), rate_hz):
                n_done += len(piece)
                if n_done > start:
                    yield piece[max(0, len(piece) - (n_done - start)) :]

    return [Decoder(rate_hz, n_channels, None, pieces, damage)]


def _container(file):
    container = open_container(file)
    if not _SOUND_CONTAINERS & set(container.format.name.split(",")):
        container.close()
        raise ValueError(f"{container.format.name} holds no sound")
    return container


def _as_float(frames, rate_hz):
    """(samples, channels) float32 of about a second at ``rate_hz``, whatever format, layout and rate the frames have."""
    import av

    converters, waiting = {}, []
    for frame in frames:
        kind = frame.format.name, frame.layout.name, frame.sample_rate  # joined files and broadcasts change theirs
        converter = converters.setdefault(kind, av.AudioResampler(format="fltp", rate=rate_hz))
        for part in converter.resample(frame):
            piece = part.to_ndarray().T
            if waiting and waiting[0].shape[1] != piece.shape[1]:
                yield np.concatenate(waiting)
                waiting = []
            waiting.append(piece)
        if sum(map(len, waiting)) >= rate_hz:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)
