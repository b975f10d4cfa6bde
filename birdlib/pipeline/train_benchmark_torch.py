"""The trainings of ``train_benchmark_cases`` in plain PyTorch, as somebody would write them there: the same sizes, losses and AdamW.

Blocks are PyTorch's own layers and ``scaled_dot_product_attention``; a step is compiled by ``torch.compile`` where that works on this machine. Gradients are in
bfloat16 by autocast where Keras uses ``mixed_bfloat16``. The loss of stage 04 is a batch-hard triplet loss, which costs no more than the suite's own.
"""

import json
import sys
import time

import numpy as np

from birdlib import runtime
from birdlib.pipeline import train_benchmark_cases as cases

_MIN_STEPS = 3


def main(name, size, seconds, precision):
    """Measure a case in this process and print its figures as a line of JSON: ``items_per_s, first_step_s, memory_mb, is_compiled, loss``."""
    print(json.dumps(measure(name, size, float(seconds), precision)))


def measure(name, size, seconds, precision):
    """Time a case, see ``main``.

    Args:
        precision: ``"float32"`` or ``"mixed_bfloat16"``.

    Raises:
        BirdlibError: if PyTorch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise runtime.BirdlibError("--peer torch needs PyTorch: pip install torch") from None
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    step, start = _Step(name, size, device, precision), time.perf_counter()
    is_compiled = step.compile()
    first_step_s = time.perf_counter() - start
    steps = max(_MIN_STEPS, round(seconds / max(_seconds(step, 2) / 2, 1e-6)))
    elapsed_s = _seconds(step, steps)
    memory_mb = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else np.nan
    n = cases.batch_size(name, size)
    return {"items_per_s": n * steps / elapsed_s, "first_step_s": first_step_s, "memory_mb": memory_mb, "is_compiled": is_compiled, "loss": float(step())}


class _Step:
    """A training step, or an embedding, whose arrays come from the host each time."""

    def __init__(self, name, size, device, precision):
        import torch

        self.device, self.use_bfloat16, n = device, precision == "mixed_bfloat16", cases.batch_size(name, size)
        self.network, arrays, self.loss = _builders()[name](size, n, np.random.default_rng(0))
        self.network.to(device)
        pin = device.type == "cuda"
        self.arrays = [array.pin_memory() if pin else array for array in map(torch.from_numpy, arrays)]
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1e-3, weight_decay=1e-2, fused=pin) if self.loss else None
        self.forward = self.network

    def compile(self):
        """Compile the network and do the first step; False where PyTorch cannot compile it here, and it runs uncompiled."""
        import torch

        if sys.platform == "win32":
            self()
            return False
        try:
            self.forward = torch.compile(self.network)
            self()
            return True
        except Exception as error:  # a missing C compiler, say: many kinds, all of torch's own
            print(f"torch.compile failed ({type(error).__name__}): uncompiled", file=sys.stderr)
            self.forward = self.network
            self()
            return False

    def __call__(self):
        import torch

        inputs = [array.to(self.device, non_blocking=True) for array in self.arrays]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.use_bfloat16), torch.set_grad_enabled(self.loss is not None):
            outputs = self.forward(*inputs[: self.network.n_inputs])
            loss = self.loss(outputs, *inputs[self.network.n_inputs :]) if self.loss else outputs.float().mean()
        if self.loss:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        return loss.detach()


def _builders():
    from birdlib.pipeline import train_benchmark_torch_pairs, train_benchmark_torch_sound

    return train_benchmark_torch_sound.BUILDERS | train_benchmark_torch_pairs.BUILDERS


def _seconds(step, steps):
    start = time.perf_counter()
    for _ in range(steps):
        loss = step()
    float(loss)  # waits for the device
    return time.perf_counter() - start
