"""Networks of PyTorch on pairs, of photo and sound and of film and sound, for ``train_benchmark_torch``; see ``train_benchmark_torch_sound``."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from birdlib.multimodal import scene_audio, scene_video
from birdlib.pipeline import train_benchmark_cases as cases
from birdlib.pipeline.train_benchmark_torch_sound import cross_entropy, uniform

# Stage 04


class _Fused(nn.Module):
    """Photo features and patches of a sound to one unit vector; ``trunk``: the trained part of VGG16."""

    n_inputs = 2

    def __init__(self, trunk, features):
        super().__init__()
        self.trunk, self.image = trunk, nn.Linear(features, 128)
        self.project, self.lstm = nn.Linear(cases.PATCH_DIM, 128), nn.LSTM(128, 64, batch_first=True, bidirectional=True)
        self.audio, self.gate = nn.Linear(128 + 2 * cases.PATCH_DIM, 128), nn.Linear(256, 2)

    def forward(self, image, patches):
        if self.trunk is not None:
            maps = self.trunk(image)
            image = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        over_time, _ = self.lstm(functional.relu(self.project(functional.layer_norm(patches, patches.shape[-1:]))))
        parts = [over_time.mean(1), patches.mean(1), patches.std(1)]
        image, audio = functional.normalize(self.image(image), dim=1), functional.normalize(self.audio(torch.cat(parts, 1)), dim=1)
        gate = self.gate(torch.cat([image, audio], 1)).softmax(1)
        return functional.normalize(gate[:, :1] * image + gate[:, 1:] * audio, dim=1)


def _batch_hard(vectors, labels, margin=0.2):
    distance = 1.0 - vectors.float() @ vectors.float().T
    same = labels[:, None] == labels[None]
    positive = torch.where(same, distance, -1.0).amax(1)
    negative = torch.where(same, 3.0, distance).amin(1)
    return functional.relu(positive - negative + margin).mean()


def _triplet(size, n, rng):
    return _Fused(None, 1024), [uniform(rng, n, 1024), uniform(rng, n, cases.PATCHES, cases.PATCH_DIM), np.arange(n) // 4], _batch_hard


def _triplet_block5(size, n, rng):
    layers = [layer for _ in range(3) for layer in (nn.Conv2d(512, 512, 3, padding=1), nn.ReLU())]
    arrays = [uniform(rng, n, 512, 14, 14), uniform(rng, n, cases.PATCHES, cases.PATCH_DIM), np.arange(n) // 4]
    return _Fused(nn.Sequential(*layers, nn.MaxPool2d(2)), 1024), arrays, _batch_hard


# Stage 05


class _Matcher(nn.Module):
    n_inputs = 2

    def __init__(self, audio, video):
        super().__init__()
        self.audio, self.video = audio, video
        self.head = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 1))

    def forward(self, sound, frames):
        a, v = functional.normalize(self.audio(sound), dim=1), functional.normalize(self.video(frames), dim=1)
        return self.head(torch.cat([a, v, (a - v).abs(), a * v], 1))[:, 0]


class _MeanAndMaximum(nn.Module):
    """(batch, channels, ...) → (batch, 2 * channels)."""

    def forward(self, x):
        x = x.flatten(2)
        return torch.cat([x.mean(2), x.amax(2)], 1)


def _group_normalised(convolution, channels):
    return nn.Sequential(convolution, nn.GroupNorm(1, channels), nn.ReLU())


def _audio_cnn():
    layers, channels = [nn.Unflatten(1, (1, -1))], 1
    for wider in (16, 32, 48, 64):
        layers.append(_group_normalised(nn.Conv2d(channels, wider, 3, 2, 1), wider))
        channels = wider
    return nn.Sequential(*layers, nn.Flatten(2), _MeanAndMaximum(), nn.Linear(128, 64))


def _video_cnn3d():
    layers, channels = [_group_normalised(nn.Conv3d(3, 16, (1, 3, 3), (1, 2, 2), (0, 1, 1)), 16)], 16
    for wider, pool in ((32, (2, 2, 2)), (48, (1, 2, 2)), (64, (2, 2, 2))):
        layers += [nn.AvgPool3d(pool), _group_normalised(nn.Conv3d(channels, wider, 3, padding=1), wider)]
        channels = wider
    return nn.Sequential(*layers, _MeanAndMaximum(), nn.Linear(128, 64))


class _Transformer(nn.Module):
    def __init__(self, tokens):
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 128, 0.3, "gelu", batch_first=True, norm_first=True)
        self.tokens, self.blocks, self.end = tokens, nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(64, 64)

    def forward(self, x):
        return self.end(self.blocks(self.tokens(x)).mean(1))


class _ByFrames(nn.Module):
    """(batch, steps, bands) → (batch, steps / 5, 5 * bands)."""

    def forward(self, x):
        return x.reshape(len(x), x.shape[1] // 5, -1)


def _match(audio, video, shape):
    def build_matcher(size, n, rng):
        sound = uniform(rng, n, scene_audio.N_STEPS, scene_audio.N_BANDS)
        targets = (np.arange(n) % 2).astype(np.float32)
        return _Matcher(audio(), video()), [sound, uniform(rng, n, *shape), targets], cross_entropy

    return build_matcher


def _audio_transformer():
    return _Transformer(nn.Sequential(_ByFrames(), nn.Linear(5 * scene_audio.N_BANDS, 64), nn.ReLU()))


def _video_transformer():
    return _Transformer(nn.Sequential(nn.Linear(2048, 64), nn.ReLU()))


BUILDERS = {
    "triplet": _triplet,
    "triplet_block5": _triplet_block5,
    "match_cnn3d": _match(_audio_cnn, _video_cnn3d, (3, scene_video.N_FRAMES, scene_video.PIXELS, scene_video.PIXELS)),
    "match_transformer": _match(_audio_transformer, _video_transformer, (scene_video.N_FRAMES, 2048)),
}
