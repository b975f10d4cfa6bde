"""Networks of PyTorch on sound for ``train_benchmark_torch``: those that the suite has in Keras, of the same sizes, from PyTorch's own layers.

Each builder takes (size, items of a step, rng) and gives (network, arrays, loss): nn.Module, whose ``n_inputs`` first arrays are its inputs; its arrays;
function of its output and the other arrays, None where nothing is trained.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from birdlib.models import fbanks, mae
from birdlib.pipeline import train_benchmark_cases as cases

_SAMPLES = 160_000  # of a window of 5 s
_CNN = (16, 32, 64, 128)
_MOBILENETV2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))  # expansion, channels, blocks, stride
_EFFICIENTNETB0 = (  # expansion, channels, blocks, stride, kernel
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip
_YAMNET = ((32, 2, 64), (64, 2, 128), (128, 1, 128), (128, 2, 256), (256, 1, 256), (256, 2, 512), *[(512, 1, 512)] * 5, (512, 2, 1024), (1024, 1, 1024))


def uniform(rng, *shape):
    """Numbers between 0 and 1, float32."""
    return rng.random(shape, dtype=np.float32)


def cross_entropy(logits, truth):
    """Binary cross-entropy in float32."""
    return functional.binary_cross_entropy_with_logits(logits.float(), truth)


# Stage 07: mel models


class _LogMel(nn.Module):
    """Waveforms (batch, samples) → (batch, 1, bands, frames) in [0, 1]."""

    def __init__(self, n_fft=2048, hop=512, bands=128):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft))
        self.register_buffer("filters", torch.rand(bands, n_fft // 2 + 1))

    def forward(self, waveforms):
        with torch.no_grad(), torch.autocast(waveforms.device.type, enabled=False):
            spectrum = torch.stft(waveforms, self.n_fft, self.hop, window=self.window, return_complex=True)
            level_db = 10.0 * torch.log10((self.filters @ spectrum.abs().square()).clamp_min(1e-12))
            peak = level_db.amax((1, 2), keepdim=True)
            return ((level_db - peak) / 80.0 + 1.0).clamp(0.0, 1.0)[:, None]


class _Mel(nn.Module):
    n_inputs = 1

    def __init__(self, backbone, channels):
        super().__init__()
        self.front_end, self.backbone, self.head = _LogMel(), backbone, nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * channels, cases.N_CLASSES))

    def forward(self, waveforms):
        maps = self.backbone(self.front_end(waveforms))
        return self.head(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1))


def _convolve(inputs, outputs, kernel=3, stride=1, groups=1, activation=nn.ReLU6):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class _Residual(nn.Module):
    """A branch beside a short cut, which is the input itself where there is none."""

    def __init__(self, branch, short=None):
        super().__init__()
        self.branch, self.short = branch, short or nn.Identity()

    def forward(self, x):
        return self.short(x) + self.branch(x)


class _SqueezeExcite(nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, hidden, 1), nn.SiLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid())

    def forward(self, x):
        return x * self.gate(x)


def _small_cnn():
    layers, channels = [_convolve(1, _CNN[0], 5, 2, activation=nn.ReLU)], _CNN[0]
    for wider in _CNN[1:]:
        branch = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False), _convolve(channels, wider, 1, activation=nn.ReLU),
            nn.Conv2d(wider, wider, 3, padding=1, groups=wider, bias=False), _convolve(wider, wider, 1, activation=None),
        )  # fmt: skip
        short = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(channels, wider, 1, bias=False))
        layers += [_Residual(branch, short), nn.ReLU()]
        channels = wider
    return nn.Sequential(*layers)


def _inverted(inputs, outputs, expansion, stride, kernel=3, activation=nn.ReLU6, has_gate=False):
    hidden = inputs * expansion
    layers = [_convolve(inputs, hidden, 1, activation=activation)] if expansion > 1 else []
    layers.append(_convolve(hidden, hidden, kernel, stride, hidden, activation))
    layers += [_SqueezeExcite(hidden, max(1, inputs // 4))] if has_gate else []
    branch = nn.Sequential(*layers, _convolve(hidden, outputs, 1, activation=None))
    return _Residual(branch) if stride == 1 and inputs == outputs else branch


def _inverted_network(stages, **options):
    activation, channels = options.get("activation", nn.ReLU6), 32
    layers = [_convolve(3, channels, 3, 2, activation=activation)]
    for expansion, outputs, blocks, stride, *kernel in stages:
        for i in range(blocks):
            layers.append(_inverted(channels, outputs, expansion, stride if i == 0 else 1, *kernel, **options))
            channels = outputs
    return nn.Sequential(_Rgb(), *layers, _convolve(channels, 1280, 1, activation=activation))


class _Rgb(nn.Module):
    def forward(self, x):
        return x.expand(-1, 3, -1, -1)


def _mel(backbone, channels):
    def build_mel(size, n, rng):
        truth = (rng.random((n, cases.N_CLASSES)) < 0.02).astype(np.float32)
        return _Mel(backbone(), channels), [uniform(rng, n, _SAMPLES) - 0.5, truth], cross_entropy

    return build_mel


# Stage 07: Bird-MAE


class _Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.qkv, self.project = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.dense = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        batch, n, dim = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.project(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, n, dim))
        return x + self.dense(self.norm2(x))


class _Encoder(nn.Module):
    """Patches (batch, n, 256) → tokens (batch, 1 + n, dim)."""

    def __init__(self, size):
        super().__init__()
        given = mae.SIZES[size]
        self.dim = given["dim"]
        self.project, self.token = nn.Linear(256, self.dim), nn.Parameter(0.02 * torch.randn(1, 1, self.dim))
        self.register_buffer("positions", torch.randn(1, fbanks.N_FRAMES * fbanks.N_MELS // 256, self.dim))
        self.blocks, self.norm = nn.Sequential(*[_Block(self.dim, given["heads"]) for _ in range(given["depth"])]), nn.LayerNorm(self.dim, 1e-6)

    def forward(self, patches, shown=None):
        x = self.project(patches) + self.positions
        x = x if shown is None else x.gather(1, shown[..., None].expand(-1, -1, self.dim))
        return self.norm(self.blocks(torch.cat([self.token.expand(len(x), -1, -1).to(x.dtype), x], 1)))


def _cut(spectrograms):
    batch, frames, mels = spectrograms.shape
    return spectrograms.view(batch, frames // 16, 16, mels // 16, 16).transpose(2, 3).reshape(batch, -1, 256)


class _Pretrainer(nn.Module):
    n_inputs = 2

    def __init__(self, size):
        super().__init__()
        given = mae.SIZES[size]
        dim = given["decoder_dim"]
        self.encoder, self.project, self.mask = _Encoder(size), nn.Linear(given["dim"], dim), nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.register_buffer("positions", torch.randn(1, 1 + self.encoder.positions.shape[1], dim))
        self.blocks = nn.Sequential(*[_Block(dim, given["decoder_heads"]) for _ in range(given["decoder_depth"])])
        self.guess = nn.Sequential(nn.LayerNorm(dim, 1e-6), nn.Linear(dim, 256))

    def forward(self, spectrograms, order):
        patches, n_shown = _cut(spectrograms), order.shape[1] // 4
        x = self.project(self.encoder(patches, order[:, :n_shown]))
        masked = self.mask.expand(len(x), order.shape[1] - n_shown, -1).to(x.dtype)
        whole = torch.cat([x[:, 1:], masked], 1).gather(1, order.argsort(1)[..., None].expand(-1, -1, x.shape[-1]))
        guess = self.guess(self.blocks(torch.cat([x[:, :1], whole], 1) + self.positions))[:, 1:].float()
        truth = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
        rest = order[:, n_shown:, None].expand(-1, -1, 256)
        return (guess.gather(1, rest) - truth.gather(1, rest)).square().mean()


def _mae_pretraining(size, n, rng):
    n_patches = fbanks.N_FRAMES * fbanks.N_MELS // 256
    order = rng.permuted(np.tile(np.arange(n_patches), (n, 1)), axis=1)
    network = _Pretrainer({"tiny": "tiny", "full": "base"}[size])
    return network, [uniform(rng, n, fbanks.N_FRAMES, fbanks.N_MELS), order], lambda loss: loss


class _MaeClassifier(nn.Module):
    n_inputs = 1

    def __init__(self, size):
        super().__init__()
        self.front_end, self.encoder = _LogMel(1024, 320), _Encoder(size)
        sizes, layers = (self.encoder.dim, 512, 256), []
        for rate, inputs, outputs in zip((0.3, 0.2), sizes[:-1], sizes[1:], strict=True):
            layers += [nn.Dropout(rate), nn.Linear(inputs, outputs), nn.GELU()]
        self.head = nn.Sequential(*layers, nn.Dropout(0.1), nn.Linear(sizes[-1], cases.N_CLASSES))

    def forward(self, waveforms):
        spectrograms = functional.pad(self.front_end(waveforms)[:, 0].transpose(1, 2), (0, 0, 0, fbanks.N_FRAMES))[:, : fbanks.N_FRAMES]
        return self.head(self.encoder(_cut(spectrograms))[:, 1:].mean(1))


def _mae_finetuning(size, n, rng):
    truth = (rng.random((n, cases.N_CLASSES)) < 0.02).astype(np.float32)
    return _MaeClassifier({"tiny": "tiny", "full": "base"}[size]), [uniform(rng, n, _SAMPLES) - 0.5, truth], cross_entropy


# Stage 03


class _Yamnet(nn.Module):
    n_inputs = 1

    def __init__(self):
        super().__init__()
        layers = [_convolve(1, 32, 3, 2)]
        for inputs, stride, outputs in _YAMNET:
            layers += [_convolve(inputs, inputs, 3, stride, inputs), _convolve(inputs, outputs, 1)]
        self.front_end, self.body, self.scores = _LogMel(400, 160, 64), nn.Sequential(*layers), nn.Linear(1024, 521)

    def forward(self, patches):
        return self.scores(self.body(self.front_end(patches)).mean((2, 3)))


def _yamnet(size, n, rng):
    return _Yamnet().eval(), [uniform(rng, n, 15_600) - 0.5], None


BUILDERS = {
    "mel_cnn": _mel(_small_cnn, 128),
    "mel_mobilenetv2": _mel(lambda: _inverted_network(_MOBILENETV2), 1280),
    "mel_efficientnetb0": _mel(lambda: _inverted_network(_EFFICIENTNETB0, activation=nn.SiLU, has_gate=True), 1280),
    "mae_pretraining": _mae_pretraining,
    "mae_finetuning": _mae_finetuning,
    "yamnet": _yamnet,
}
