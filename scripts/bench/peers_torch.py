"""Float MGD in PyTorch, on the processor or a GPU, one seed or several side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from mgd.golden_model.costs.base import real_targets
from mgd.scripts.bench.peer_programs import NotInstalledError, Peer, Problem, draws_at_once

TORCH_REMEDY = "pip install 'mgd-fpga[bench]' (or pip install torch==2.13.0)"


def import_torch() -> Any:
    """The module.  Raises NotInstalledError, naming the remedy, where it cannot be imported."""
    try:
        import torch
    except ImportError:
        raise NotInstalledError(TORCH_REMEDY) from None
    return torch


class TorchPeer(Peer):
    """PyTorch in float32 without gradients, by the fewest calls, all into tensors that exist.

    A step of so small a network is what the calls cost: some 15 on a processor's single thread,
    and the same 15 launches on a GPU.  All arrays have the seeds as first axis and the passes as
    last one: layer 1 is computed once for both.
    """

    def __init__(
        self, problem: Problem, seeds: int = 1, threads: int = 1, device: str = "cpu"
    ) -> None:
        torch = self._torch = import_torch()
        self.seeds = seeds
        self._threads, self._device = threads, device
        where = "GPU" if device == "cuda" else f"{threads} thread{'s' if threads > 1 else ''}"
        self.label = f"PyTorch float32, {where}" + (f", {seeds} seeds" if seeds > 1 else "")
        net = self._network = problem.network
        self._nodes = problem.settings.perturbs_nodes
        self._weights = [self._tensor(w) for w in problem.float_weights(seeds)]
        # Slices are made here, not in the loop: each costs as much as a small sum.
        self._orders = None if seeds == 1 else self._tensor(problem.orders(seeds).T, int).unbind()
        self._x = self._tensor(problem.x[..., None])
        hits = problem.train.labels[:, None, None] == np.arange(net.outputs)
        self._hits = self._tensor(hits)
        self._targets = self._tensor(
            real_targets(problem.train.labels, net)[..., None],
        )
        rows = [t.split(1) for t in (self._x, self._x.mT, self._hits, self._targets)]
        self._rows = list(zip(*rows, strict=True))
        self._factors = self._tensor(problem.delta * np.array([1.0, -1.0]))
        rate = problem.rate / (problem.delta if self._nodes else 1.0)
        self._to_share = self._tensor([[-rate], [rate]])
        self._block = draws_at_once(seeds * (net.neurons if self._nodes else net.parameters))
        self._signs: list[Any] = []
        self._updates: list[Any] = []
        self._drawn = self._block
        sizes = net.layers[1:]
        self._sums = [self._tensor(np.zeros((seeds, n, 2))) for n in sizes]
        self._outputs = [self._tensor(np.ones((seeds, n + 1, 2))) for n in sizes]
        # Without the bias input, which stays 1; and the + pass as a row.
        self._activations = [y[:, :-1] for y in self._outputs]
        self._plus = [y[..., :1].mT for y in self._outputs]
        self._random = torch.Generator(device).manual_seed(problem.seed)
        self._step = 0

    def train(self, steps: int) -> None:
        torch, before = self._torch, self._torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                samples = len(self._rows)
                for step in range(self._step, self._step + steps):
                    self._one(step % samples)
            if self._device == "cuda":
                torch.cuda.synchronize()
        finally:
            torch.set_num_threads(before)
        self._step += steps

    def weights(self) -> list[np.ndarray]:
        return [w.cpu().numpy().astype(np.float64) for w in self._weights]

    def _tensor(self, values: Any, kind: type = float) -> Any:
        dtype = self._torch.float32 if kind is float else self._torch.int64
        return self._torch.tensor(np.asarray(values), dtype=dtype, device=self._device)

    def _draw(self) -> None:
        """Signs of the next block, per step and layer: (seeds, nodes, fan_in + 1) for weights;
        (seeds, nodes, 2), both passes' perturbations, for nodes, and beside them the first."""
        torch = self._torch
        found, places = [], torch.arange(8, dtype=torch.uint8, device=self._device)
        for w in self._weights:
            shape = (self._block, self.seeds, w.shape[1], 1 if self._nodes else w.shape[2])
            count = int(np.prod(shape))
            raw = torch.randint(
                -(2**63),
                2**63 - 1,
                (-(-count // 64),),
                dtype=torch.int64,
                device=self._device,
                generator=self._random,
            )
            bits = (raw.view(torch.uint8)[:, None] >> places) & 1
            signs = 1 - 2 * bits.flatten()[:count].reshape(shape).float()
            found.append(signs * self._factors if self._nodes else signs)
        self._signs = list(zip(*(s.unbind() for s in found), strict=True))
        self._updates = self._signs
        if self._nodes:
            self._updates = list(zip(*(s[..., :1].unbind() for s in found), strict=True))
        self._drawn = 0

    def _one(self, sample: int) -> None:
        torch = self._torch
        if self._drawn == self._block:
            self._draw()
        signs, updates = self._signs[self._drawn], self._updates[self._drawn]
        last = len(signs) - 1
        self._drawn += 1
        if self._orders is None:
            x, inputs, hit, target = self._rows[sample]
        else:
            index = self._orders[sample]
            x, hit = self._x[index], self._hits[index]
            inputs, target = x.mT, self._targets[index]
        for layer, w in enumerate(self._weights):
            s, z = signs[layer], self._sums[layer]
            if not self._nodes:
                torch.addcmul(torch.bmm(w, x), torch.bmm(s, x), self._factors, out=z)
            elif layer:
                torch.baddbmm(s, w, x, out=z)
            else:
                torch.add(s, torch.bmm(w, x), out=z)
            if layer < last:
                self._activate(self._network.hidden, z, self._activations[layer])
                x = self._outputs[layer]
        if self._network.cost == "cross_entropy":
            terms = torch.exp2(z - z.amax((1, 2), keepdim=True))
            cost = terms.sum(1, keepdim=True).log2_() - torch.bmm(hit, z)
        else:
            y = self._activations[last]
            self._activate(self._network.output, z, y)
            cost = (y - target).square_().sum(1, keepdim=True)
        # The factors are ∓rate: this is minus the update's scalar, (seeds, 1, 1).
        share = torch.matmul(cost, self._to_share)
        for layer, w in enumerate(self._weights):
            if self._nodes:
                w.baddbmm_(updates[layer] * share, self._plus[layer - 1] if layer else inputs)
            else:
                w.addcmul_(updates[layer], share)

    def _activate(self, kind: str, z: Any, y: Any) -> None:
        if kind == "tanh":
            self._torch.tanh(z, out=y)
        elif kind == "relu":
            self._torch.clamp(z, min=0.0, out=y)
        else:
            y.copy_(z)
