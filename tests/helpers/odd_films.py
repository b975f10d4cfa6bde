"""Films whose times jump, with several sound tracks, or with pictures of unusual kinds."""

from fractions import Fraction

import av
import numpy as np


def shifted(source, target, after_s, by_s, kinds=("video", "audio")):
    """A copy of a film whose packets after ``after_s`` come ``by_s`` later."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as copy:
        streams = {stream.index: copy.add_stream_from_template(stream) for stream in whole.streams}
        packets = [packet for packet in whole.demux() if packet.dts is not None]
        for packet in packets:
            if packet.stream.type in kinds and float(packet.pts * packet.time_base) >= after_s - 0.001:
                ticks = round(by_s / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            packet.stream = streams[packet.stream.index]
            copy.mux(packet)
    return target


def joined(target, *parts):
    """Files one behind the other, as transport streams may be."""
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target


def with_tracks(path, sounds, rate_hz=8000, default=0, n_pictures=20):
    """A film of grey pictures, ten a second, with several sound tracks, each (channels, samples)."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        tracks = [container.add_stream("pcm_s16le", rate=rate_hz, layout=("mono", "stereo")[len(sound) - 1]) for sound in sounds]
        for number, track in enumerate(tracks):
            track.disposition = av.stream.Disposition.default.value if number == default else 0
        for number in range(n_pictures):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * (number % 20), np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        for sound, track in zip(sounds, tracks, strict=True):
            for first in range(0, sound.shape[1], 800):
                part = np.ascontiguousarray(sound[:, first : first + 800], np.float32)
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=track.layout.name)
                frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), first
                container.mux(track.encode(frame))
            container.mux(track.encode())
    return path
