"""The rules of a training step written out in Python integers, one number at a time.

Independent of golden_model but for the tables' values and the leap to a stream's start, which
have tests of their own.
"""

from __future__ import annotations

import itertools
import math

from mgd.golden_model.imperfections import Imperfections
from mgd.golden_model.network import ACT_MAX, ACT_MIN, ONE
from mgd.golden_model.seeds import start_state, words
from mgd.golden_model.signs.sequence import jump, spacing
from mgd.golden_model.tables import EXP2, LOG2, TANH

NONE = Imperfections()


def half_up(value: int, shift: int) -> int:
    return (2 * value + (1 << shift)) // (2 << shift)


def between(table, position: int, bits: int) -> int:
    """Linear interpolation at position / 2^bits of the table's width."""
    index, offset = divmod(position, 1 << (bits - table.segment_bits))
    left, right = table.values[index], table.values[index + 1]
    return left + half_up((right - left) * offset, bits - table.segment_bits)


class Oracle:
    """One seed, one number at a time.  Attributes as in Trainer, without the seeds' axis."""

    def __init__(self, network, settings, codes, labels, weights, seed, order, faults=NONE) -> None:
        self.net, self.set = network, settings
        self.x = [[c << settings.input_shift for c in row] for row in codes.tolist()]
        self.labels, self.order = labels.tolist(), order
        self.weights = [w.tolist() for w in weights]
        self.accumulators = [[[0] * len(row) for row in w] for w in self.weights]
        distance = spacing(network.neurons)
        start = start_state(seed)
        self.windows = [jump(start, i * distance) for i in range(network.neurons + 1)]
        self.codes = [int(word) for word in words(2, seed, "codes")]
        self.trained = list(settings.trainable) or [True] * network.depth
        self.bits: list[list[int]] = [[] for _ in self.windows]
        self.step_number = self.cost_sum = self.index = 0
        self.weight_saturations = self.activation_saturations = 0
        self.changed = True
        self.seed, self.faults = seed, faults
        self.measured = self.changes = 0
        self.words = False
        self.filtered = 0
        self.before: int | None = None
        self.node_sums: dict[tuple[int, int], int] = {}
        self.averages: dict[tuple[int, int, int], tuple[int, int]] = {}
        for layer, rows in enumerate(self.weights):
            for i, row in enumerate(rows):
                row[:] = [self.stored(layer, i, j, w) for j, w in enumerate(row)]

    def bell(self, purpose: str, n: int, deviation: float, frac: int) -> int:
        word = int(words(1, self.seed, purpose, n)[0])
        a = math.floor(deviation / math.sqrt(43690) * 2 ** (frac + 16) + 0.5)
        return half_up((sum(word.to_bytes(8, "little")) - 1020) * a, 16)

    def parameter(self, layer: int, i: int, j: int) -> int:
        sizes = self.net.layers
        before = sum((sizes[k] + 1) * sizes[k + 1] for k in range(layer))
        return before + i * (sizes[layer] + 1) + j

    def stored(self, layer: int, i: int, j: int, w: int, share: float | None = None) -> int:
        """The weight as a memory with stuck bits gives it back."""
        share = self.faults.stuck if share is None else share
        bits = self.faults.stuck_bits if share else 0
        for b in range(bits):
            n = self.parameter(layer, i, j) * bits + b
            word = int(words(1, self.seed, "stuck", n)[0])
            if word >> 32 < math.floor(share * 2**32):
                w = w - (w & 1 << b) + ((word & 1) << b)
        return w

    def neuron(self, layer: int, i: int, z: int) -> int:
        if not self.faults.gain and not self.faults.offset:
            return z
        n = sum(self.net.layers[1 : layer + 1]) + i
        gain = 4096 + self.bell("gains", n, self.faults.gain, 12)
        z = half_up(z * gain, 12) + self.bell("offsets", n, self.faults.offset, self.net.pre_frac)
        return max(-self.net.output_bound, min(self.net.output_bound, z))

    def reading(self, cost: int) -> int:
        """What is measured of a training cost."""
        frac = self.net.cost_frac
        cost += self.bell("cost_noise", self.measured, self.faults.cost_noise, frac)
        self.measured += 1
        if self.faults.cost_bits is not None and self.faults.cost_bits < frac:
            drop = frac - self.faults.cost_bits
            cost = half_up(cost, drop) << drop
        return cost

    def bit(self, neuron: int, n: int) -> int:
        bits, window = self.bits[neuron], self.windows[neuron]
        if not bits:
            bits.extend(window >> k & 1 for k in range(61))
        while len(bits) <= n:
            k = len(bits) - 61
            bits.append(bits[k] ^ bits[k + 1] ^ bits[k + 15] ^ bits[k + 16])
        return bits[n]

    def sign(self, layer: int, node: int, j: int, draw: int) -> int:
        neuron = sum(self.net.layers[1 : layer + 1]) + node
        width = 1 if self.set.method == "np" else self.net.layers[layer] + 1
        if self.set.skip_zeros and layer == 0 and width > 1:
            x = [*self.x[self.index], ONE]
            if x[j] == 0:
                return 0
            j = sum(v != 0 for v in x[:j])
        return 1 - 2 * self.bit(neuron, draw * width + (j if width > 1 else 0))

    def count(self, layer: int) -> int:
        """Quantities perturbed in a layer."""
        fan_in, nodes = self.net.layers[layer : layer + 2]
        return nodes if self.set.method == "np" else nodes * (fan_in + 1)

    def value(self, layer: int, node: int, j: int, draw: int) -> int:
        """The perturbation's value with the family's fraction bits; 0 in a frozen layer."""
        if not self.trained[layer]:
            return 0
        family = self.set.perturbation
        if family == "random":
            return self.sign(layer, node, j, draw)
        others = [k for k in range(self.net.depth) if self.trained[k]]
        if self.set.scope == "layer":
            others = [layer]
        total = sum(self.count(k) for k in others)
        width = 1 if self.set.method == "np" else self.net.layers[layer] + 1
        j = j if width > 1 else 0
        k = sum(self.count(other) for other in others if other < layer) + node * width + j
        if family == "sequential":
            step = self.codes[1] % total
            while math.gcd(step, total) > 1:
                step = (step + 1) % total
            return int(k == (self.codes[0] + step * draw) % total)
        if family == "walsh":
            length = 2 ** math.ceil(math.log2(total + 1))
            row = (self.codes[1] % length // 2 * 2 + 1) * (k + 1) % length
            sign = (-1) ** (bin(row & draw).count("1"))
            return sign * (-1) ** (draw // length)
        bits = 5
        while 2**bits <= 2 * total:
            bits += 1
        neuron = sum(self.net.layers[1 : layer + 1]) + node
        start = sum(self.bit(neuron, j * bits + b) << b for b in range(bits))
        turn = ((k + 1) * draw + start) / 2**bits % 1.0
        if family == "square":
            return 1 if turn < 0.5 else -1
        return math.floor(8 * math.sin(2 * math.pi * math.floor(turn * 32) / 32) + 0.5)

    def activate(self, kind: str, z: int) -> int:
        frac = self.net.pre_frac
        if kind == "tanh":
            if z >= 4 << frac:
                return TANH.values[-1]
            return between(TANH, max(0, z + (4 << frac)), frac + 3)
        if kind == "sigmoid":  # the table of tanh at half of z
            if z >= 8 << frac:
                return half_up(ONE + TANH.values[-1], 1)
            return half_up(ONE + between(TANH, max(0, z + (8 << frac)), frac + 4), 1)
        if kind == "hard_tanh":
            return max(-ONE, min(ONE, z << (14 - frac)))
        y = (max(z, 0) if kind == "relu" else z) << (14 - frac)
        if kind == "leaky_relu" and z < 0:
            y = y // 8
        self.activation_saturations += not ACT_MIN <= y <= ACT_MAX
        return min(max(y, ACT_MIN), ACT_MAX)

    def cost(self, index: int, factor: int, draw: int, only: int | None = None):
        """(cost, inputs of every layer) with perturbation factor·θ, in one layer or in all."""
        net, x, inputs = self.net, self.x[index], []
        exp = self.set.delta_exp + (3 if self.set.perturbation == "sine" else 0)
        for layer in range(net.depth):
            x = [*x, ONE]
            inputs.append(x)
            sums = []
            for i, row in enumerate(self.weights[layer]):
                used = enumerate(row)
                used = [self.stored(layer, i, j, w, self.faults.stuck_synapse) for j, w in used]
                total = sum(w * v for w, v in zip(used, x, strict=True))
                total <<= net.grid_frac - net.weight_frac
                if only not in (None, layer):
                    moved = 0
                elif self.set.method == "np":
                    moved = ONE * self.value(layer, i, 0, draw)
                else:
                    moved = sum(v * self.value(layer, i, j, draw) for j, v in enumerate(x))
                total += factor * moved << (net.grid_frac - exp)
                sums.append(self.neuron(layer, i, half_up(total, net.pre_shift)))
            if layer < net.depth - 1:
                x = [self.activate(net.hidden, z) for z in sums]
        label = self.labels[index]
        if net.cost == "hinge":
            one, finer = 1 << net.pre_frac, net.cost_frac - net.pre_frac
            if len(sums) == 1:
                return max(0, one - sums[0] if label else one + sums[0]) << finer, inputs
            best = max(z for k, z in enumerate(sums) if k != label)
            return max(0, one + best - sums[label]) << finer, inputs
        if net.cost in ("mse", "l1"):
            y = [self.activate(net.output, z) for z in sums]
            hit = [label == (i + 1 if len(y) == 1 else i) for i in range(len(y))]
            t = [net.target_high if h else net.target_low for h in hit]
            if net.cost == "l1":
                total = sum(abs(a - b) for a, b in zip(y, t, strict=True))
                drop = 14 - net.cost_frac
                return half_up(total, drop) if drop > 0 else total << -drop, inputs
            squares = sum((a - b) ** 2 for a, b in zip(y, t, strict=True))
            return half_up(squares, 28 - net.cost_frac), inputs
        total = 0
        for z in sums:
            whole, part = divmod(max(sums) - z, 1 << net.pre_frac)
            total += between(EXP2, part, net.pre_frac) >> whole
        exponent = total.bit_length() - 1
        mantissa = total - (1 << exponent)
        log2 = between(LOG2, mantissa << (40 - exponent), 40) + ((exponent - 14) << 14)
        shift = net.cost_frac - 14
        cost = log2 << shift if shift >= 0 else half_up(log2, -shift)
        finer = net.cost_frac - net.pre_frac
        cost += (max(sums) - sums[label]) << finer
        if net.smoothing_exp:
            part = half_up((1 << 25) // len(sums), 1)  # 2^24/n, rounded half up
            below = sum(max(sums) - z for z in sums)
            extra = part * below - ((max(sums) - sums[label]) << 24)
            cost += half_up(extra << finer, 24 + net.smoothing_exp)
        return cost, inputs

    def place(self, n: int) -> int:
        """Place of sample n in the order given."""
        count, kind = len(self.labels), self.set.sample_order
        if self.set.resident:
            return self.windowed(n)
        if kind == "cycle":
            return n % count
        if kind == "random":
            return self.word(n) * count >> 32
        a, b, c, e = (self.word(n // count * 4 + k) for k in range(4))
        bits, x = (count - 1).bit_length(), n % count
        if bits < 2:
            return (x + b) % count
        while True:
            for factor, added in ((a, b), (c, e)):
                x = (x * (factor // 2 * 2 + 1) + added) % 2**bits
                x ^= x // 2 ** math.ceil(bits / 2)
            if x < count:
                return x

    def windowed(self, n: int) -> int:
        """Sample n's place: the slots are filled, gone through, and changed, as a core's are."""
        resident, passes = self.set.resident, self.set.passes
        fresh = itertools.count()
        slots = [0] * resident
        for turn in range(passes):
            for slot in range(turn, resident, passes):
                slots[slot] = next(fresh)
        for whole in range(n // resident):
            for slot in range(whole % passes, resident, passes):
                slots[slot] = next(fresh)
        return slots[n % resident] % len(self.labels)

    def word(self, n: int) -> int:
        """32 bits of the second half of stretch K."""
        if not self.words:
            distance = spacing(self.net.neurons)
            window = jump(start_state(self.seed), self.net.neurons * distance + distance // 2)
            self.windows.append(window)
            self.bits.append([])
            self.words = True
        return sum(self.bit(-1, 32 * n + k) << k for k in range(32))

    def step(self) -> int | list[int]:
        """D, one for each trained layer where they are perturbed one at a time."""
        s, t = self.set, self.step_number
        draw = t // s.tau_p
        index = self.index = self.order[self.place(t // s.tau_x)]
        groups = [None] if s.scope == "network" else [k for k, f in enumerate(self.trained) if f]
        ds, inputs, seen = [], [], []
        if s.difference == "forward" and (self.changed or t % s.tau_x == 0):
            exact, self.inputs = self.cost(index, 0, draw)
            self.baseline = self.reading(exact)
        for number, only in enumerate(groups):
            plus, mine = self.cost(index, 1, draw, only)
            plus = self.reading(plus)
            other = plus
            if s.difference == "antithetic":
                other, others = self.cost(index, -1, draw, only)
                other = self.reading(other)
                seen.append([mine, others])
                ds.append(plus - other)
                inputs.append(mine)
            elif s.difference == "highpass":
                rise = 0 if self.before is None else plus - self.before
                total = self.filtered + 256 * rise
                self.filtered, self.before = total - half_up(total, s.highpass_exp), plus
                ds.append(half_up(self.filtered, 7))
                inputs.append(mine)
                seen.append([mine])
            else:
                ds.append(2 * (plus - self.baseline))
                inputs.append(self.inputs)
                seen.append([mine, self.inputs])
            if number == 0:
                self.cost_sum += plus + other
        if self.faults.any:
            ds = [max(-2 * self.net.cost_bound, min(2 * self.net.cost_bound, d)) for d in ds]
        self.changed = (t + 1) % s.tau_theta == 0
        random = sum(self.bit(self.net.neurons, 8 * t + k) << k for k in range(8))
        for layer, rows in enumerate(self.weights):
            if not self.trained[layer]:
                continue
            own = 0 if s.scope == "network" else groups.index(layer)
            for i, row in enumerate(rows):
                self.sum_up(layer, i, ds[own], draw)
                for j in range(len(row)):
                    self.update(layer, i, j, ds[own], inputs[own], seen[own], random, draw)
        self.changes += self.changed
        self.step_number += 1
        return ds[0] if s.scope == "network" else ds

    def sum_up(self, layer: int, i: int, d: int, draw: int) -> None:
        """A node's sum, from 0 again in the first step of every tau_theta."""
        before = self.node_sums.get((layer, i), 0) if self.step_number % self.set.tau_theta else 0
        self.node_sums[layer, i] = before + d * self.value(layer, i, 0, draw)

    def outer(self, layer: int, i: int, x: int, shift: int, random: int) -> int:
        """Weight units that a weight with input x loses for the sum of its node."""
        w, total = self.net.weight_frac, self.node_sums[layer, i]
        down = shift + w - 14 + (3 if self.set.perturbation == "sine" else 0)
        turned = sum((random >> k & 1) << (7 - k) for k in range(8))
        if down < 0:
            error = total << -down  # whole already
        else:
            error = ((total << 8) + (turned << down)) >> (8 + down)
        error = min(max(error, -(1 << 15)), (1 << 15) - 1)
        return (error * x * 256 + (random << (28 - w))) // (256 << (28 - w))

    def adam(self, layer, i, j, g, eta_exp, random) -> int:
        """Weight units that Adam takes off a weight; averages are kept in exact integers."""
        n, s = self.changes + 1, self.set
        m, v = self.averages.get((layer, i, j), (0, 0))
        g = min(max(g, -(2**27) + 1), 2**27 - 1)
        m += (256 * g - m) // 2 ** min(s.adam_mean_exp, math.floor(math.log2(n)))
        v += (256 * g * g - v) // 2 ** min(s.adam_square_exp, math.floor(math.log2(n)))
        self.averages[layer, i, j] = m, v
        if m == 0:
            return 0
        log = self.log2(abs(m)) - (8 << 14) - (self.log2(max(v, 1)) - (8 << 14)) // 2
        log += (self.net.weight_frac + 8 - eta_exp) << 14
        whole, part = divmod(-log, 1 << 14)
        size = between(EXP2, part, 14)
        down = 14 + whole
        size = size >> down if down >= 0 else size << -down
        return (1 if m > 0 else -1) * ((size + random) // 256)

    @staticmethod
    def log2(n: int) -> int:
        exponent = n.bit_length() - 1
        mantissa = (n << 30 >> exponent) - (1 << 30)
        return between(LOG2, mantissa, 30) + (exponent << 14)

    def update(self, layer, i, j, d, inputs, seen, random, draw) -> None:
        s, row, net = self.set, self.weights[layer][i], self.net
        x = inputs[layer][j] if s.method == "np" else ONE
        shift = s.shift(net)
        slower = max(0, s.warmup_exp - self.step_number // s.warmup_every)
        slower += self.step_number // s.halve_every if s.halve_every else 0
        finer = 3 if s.perturbation == "sine" else 0
        if s.optimizer == "sgd":
            shift = min(shift + slower, net.shift_max - finer - s.momentum_exp)
        drop = 14 if s.rounding == "residual" else 14 + shift
        # ⌊d·x / 2^drop + random / 256⌋
        term = (d * x * 256 + (random << drop)) // (256 << drop)
        change = term * self.value(layer, i, j, draw)
        if s.accumulate == "nodes":
            change = self.outer(layer, i, x, shift, random)
        if s.gate_zeros and s.method == "wp" and not any(v[layer][j] for v in seen):
            change = 0
        if s.rounding == "residual":
            g = self.accumulators[layer][i][j] + change
            change = 0
            if self.changed:
                unit = shift + finer
                if s.optimizer == "adam":
                    change, g = self.adam(layer, i, j, g, s.eta_exp + slower, random), 0
                elif unit < 0:
                    change, g = g << -unit, 0
                else:
                    if s.decay_exp:
                        bits = s.decay_exp - unit
                        g += row[j] << -bits if bits < 0 else half_up(row[j], bits)
                    change = g // (1 << (unit + s.momentum_exp))
                    g -= change << unit
            self.accumulators[layer][i][j] = g
        if not self.changed:
            return
        n = self.changes * net.parameters + self.parameter(layer, i, j)
        if self.faults.update_noise:
            change = max(-(1 << net.weight_bits), min(1 << net.weight_bits, change))
            change -= self.bell("update_noise", n, self.faults.update_noise, net.weight_frac)
        moved = row[j] - change
        limited = min(max(moved, net.weight_min), net.weight_max)
        self.weight_saturations += limited != moved
        row[j] = self.stored(layer, i, j, limited)
