"""The spatial core: the network itself, a circuit for every synapse."""

from __future__ import annotations

from itertools import pairwise

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import connect, flipped

from mgd.golden_model.network import ONE, ROUND_BITS
from mgd.rtl.interface import (
    CoreSignature,
    with_constants,
)
from mgd.rtl.lib.adder_tree import add_tree, tree_latency
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.delay_line import DelayLine
from mgd.rtl.lib.wide_sum import Total
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.layer import Layer
from mgd.rtl.spatial.record_memory import record_link
from mgd.rtl.spatial.sequencer import Sequencer
from mgd.rtl.spatial.sign_windows import SignWindow, WindowLoader
from mgd.rtl.spatial.timing import Timing
from mgd.rtl.spatial.update_terms import Sources, UpdateTerms
from mgd.rtl.spatial.weight_ring import WeightRing
from mgd.rtl.units.costs import is_correct, parallel_cost, result_layout

SETTLING = 8
"""Clocks that counters may be behind the last result."""


def spatial_probe_layout(config: SpatialConfig) -> data.StructLayout:
    """What verification watches (rtl.folded.core.probe_layout), with all weights side by side.

    A step's costs come with its delta_cost: the first one in `cost`, the second of an antithetic
    pair in `second_cost`.  A write shows weights and accumulators as the step leaves them.
    """
    net = config.network
    return data.StructLayout(
        {
            "write": 1,
            "weights": config.lane_words * net.weight_bits,
            "gradients": max(config.lane_words * config.gradient_bits, 1),
            "cost_valid": 1,
            "cost": result_layout(net),
            "second_valid": 1,
            "second_cost": net.cost_bits,
            "delta_valid": 1,
            "delta": signed(net.delta_cost_bits),
        }
    )


class SpatialCore(wiring.Component):
    """Trains and evaluates one network; equals golden_model.trainer.Trainer bit for bit.

    Ports as rtl.folded.core.FoldedCore, except for the samples: `begin`, `stop`, `evaluate`,
    `restart_train`, `next_sample` and `record` go to a rtl.spatial.record_memory.RecordMemory.

    A step enters in every clock, until a window of tau_theta steps is over; the next one begins
    Timing.weights clocks after the last token, but in a pipelined core at once.  Before the first
    token of a sample, and of a window, come SpatialConfig.planes − 1 clocks more, and for the
    forward difference one for C0.
    """

    def __init__(self, config: SpatialConfig) -> None:
        self.config = config
        self.timing = Timing.of(config)
        if config.update_delay != self.timing.delay:
            raise ValueError(f"update_delay {config.update_delay} instead of {self.timing.delay}")
        super().__init__(CoreSignature(config, record_link(config), spatial_probe_layout(config)))

    def elaborate(self, platform):
        m = Module()
        cfg, net, at = self.config, self.config.network, self.timing
        s = with_constants(m, self.settings, cfg.constants) if cfg.fixed else self.settings
        # The last registers that a token reaches are those of the counters, behind a tree that adds
        # up a bit for every weight.
        flight = max(at.weights, at.cost) + tree_latency(net.parameters) + SETTLING
        sources = Sources.of(cfg)
        # The other layers are neither perturbed nor changed: synthesis removes the logic for both.
        trained = cfg.variant.layers(net)
        layers = [Layer(cfg, k, term_of) for k, term_of in enumerate(sources.term_of)]
        m.submodules.sequencer = sequencer = Sequencer(cfg, flight)
        m.submodules.starter = starter = WindowLoader(cfg)
        m.submodules.ring = ring = WeightRing(cfg)
        for k, layer in enumerate(layers):
            m.submodules[f"layer_{k}"] = layer
        m.submodules.update_terms = terms = UpdateTerms(cfg, len(sources.x))
        self._control(m, s, sequencer, starter, ring)
        token = Marks(m, sequencer.token, unperturbed=~sequencer.token.step)

        # Forward: from layer to layer, then all passes' costs, then their difference.
        scale = Signal(range(net.grid_frac + 1))
        # The setting changes only while the core is idle, so a register costs no clock.
        domain = m.d.comb if "delta_exp" in cfg.constants else m.d.sync
        domain += scale.eq(net.grid_frac - s.delta_exp)
        codes = layers[0].codes.as_value()
        m.d.comb += [
            codes.eq(sequencer.sample.codes.as_value()),
            layers[0].plane.eq(sequencer.plane),
            layers[0].plane_first.eq(sequencer.plane_first),
            layers[0].plane_last.eq(sequencer.plane_last),
        ]
        m.d.comb += [layer.x.eq(previous.y) for previous, layer in pairwise(layers)]
        for k, layer in enumerate(layers):
            m.d.comb += [
                layer.unperturbed.eq(token("unperturbed", at.inputs[k]) if k in trained else 1),
                layer.scale.eq(scale),
                layer.next_draw.eq(token("ends_draw", at.inputs[k] + layer.signs_after - 1)),
            ]
        delta_cost = self._costs(m, token, sequencer, layers[-1].y)

        # Back: the same delta_cost for every synapse, times its sign, which is replayed there.
        m.d.comb += [
            terms.delta_cost.eq(delta_cost),
            terms.valid.eq(token("step", at.delta)),
            terms.delta_exp.eq(s.delta_exp),
            terms.eta_exp.eq(s.eta_exp),
        ]
        if not UpdateTerms.is_direct(cfg):
            m.submodules.random = random = SignWindow(ROUND_BITS)
            m.d.comb += [
                random.load.eq(starter.load[net.neurons]),
                random.bit.eq(starter.bit),
                random.advance.eq(token("step", at.delta + UpdateTerms.random_after(cfg))),
                terms.random.eq(random.signs),
            ]
        gates = self._previous_inputs(m, token, sources, layers, terms)
        for k, layer in enumerate(layers):
            first = cfg.nodes_before(k)
            loads = Signal(name=f"loads_{k}")
            m.d.sync += loads.eq(s.sign_layer <= k)
            skew = at.skew[k]
            term_clocks = skew + at.update_term - at.delta - terms.latency
            m.d.comb += [
                *(
                    layer.update_term[n].eq(
                        delayed(m, terms.update_term[w], term_clocks) if k in trained else 0
                    )
                    for n, w in enumerate(sources.layer_terms[k])
                ),
                layer.gates.eq(gates if k == 0 else ~0),
                layer.next_replay.eq(token("ends_draw", at.update_term - cfg.nodes + skew)),
                layer.change.eq(token("ends_window", at.change - 1)),
                layer.load.eq(Mux(loads, starter.load[first : first + layer.nodes], 0)),
                layer.bit.eq(starter.bit),
                layer.clear.eq(sequencer.start),
                layer.turns.eq(ring.turns),
            ]
        # Against the order of the weights, so that one turn brings the next of them to the front.
        weight = ring.entering
        for layer in reversed(layers):
            m.d.comb += layer.entering.eq(weight)
            weight = layer.leaving
        m.d.comb += [
            ring.leaving.eq(weight),
            sequencer.changed.eq(token("ends_window", at.weights - 1)),
        ]
        self._counters(m, token, sequencer, layers)
        self._watch(m, token, layers)
        return m

    def _control(self, m, s, sequencer, starter, ring) -> None:
        connect(m, flipped(self.record), sequencer.record)
        connect(m, flipped(self.weight_request), ring.request)
        connect(m, ring.reply, flipped(self.weight_reply))
        m.d.comb += [
            # A command waits until every weight is in its place.
            ring.return_home.eq(self.command.valid),
            sequencer.command.valid.eq(self.command.valid & ring.home),
            sequencer.command.payload.eq(self.command.payload),
            self.command.ready.eq(sequencer.command.ready & ring.home),
            sequencer.settings.eq(s),
            sequencer.weights_written.eq(ring.written),
            starter.start.eq(sequencer.start),
            starter.seed.eq(s.seed),
            ring.busy.eq(sequencer.busy),
            *(
                getattr(self, name).eq(getattr(sequencer, name))
                for name in (
                    *("begin", "stop", "evaluate", "restart_train"),
                    *("busy", "step", "train_clocks"),
                )
            ),
        ]

        # Registers, which nothing reads a clock later: the memory's position is read when the next
        # command begins, and `starting` some clocks after INIT.
        m.d.sync += [
            self.next_sample.eq(sequencer.next_sample),
            sequencer.starting.eq(starter.busy | sequencer.start),
        ]

    def _costs(self, m, token, sequencer, outputs):
        """The cost of each pass, and delta_cost."""
        cfg, net, at = self.config, self.config.network, self.timing
        label = delayed(m, sequencer.sample.label, at.inputs[-1])
        units = []
        for k in range(cfg.passes):
            m.submodules[f"cost_{k}"] = unit = parallel_cost(net, dsp=cfg.table_dsp)
            m.d.comb += [unit.values[n].eq(outputs[k][n]) for n in range(net.outputs)]
            m.d.comb += unit.label.eq(label)
            units.append(unit)
        first, last = units[0].cost, units[-1].cost
        delta_cost = Signal(signed(cfg.delta_bits), reset_less=True)
        # A step adds both passes' costs to the sum of all costs, or twice that of its only one.
        both = Signal(net.cost_bits + 1, reset_less=True)
        m.d.sync += both.eq(Mux(token("step", at.cost), first + last, 0))
        m.submodules.cost_sum = cost_sum = Total(len(both), len(self.cost_sum))
        m.d.comb += [
            cost_sum.term.eq(both),
            cost_sum.clear.eq(sequencer.start),
            self.cost_sum.eq(cost_sum.total),
        ]
        if cfg.antithetic:
            m.d.sync += delta_cost.eq(first - last)
        else:
            baseline = Signal(net.cost_bits, reset_less=True)
            with m.If(token("baseline", at.cost)):
                m.d.sync += baseline.eq(first)
            m.d.sync += delta_cost.eq((first - baseline) << 1)
        after = at.delta - at.cost
        delta_cost = delayed(m, delta_cost, after - 1)

        result = self.evaluation.payload
        m.d.comb += [
            self.evaluation.valid.eq(token("evaluation", at.cost)),
            result.cost.eq(first),
            result.category.eq(units[0].category),
            result.correct.eq(
                is_correct(net, units[0].category, delayed(m, label, units[0].latency))
            ),
        ]
        probe = self.probe
        m.d.comb += [
            probe.cost_valid.eq(token("step", at.delta) | token("baseline", at.delta)),
            probe.cost.cost.eq(delayed(m, first, after)),
            probe.second_valid.eq(token("step", at.delta) & cfg.antithetic),
            probe.second_cost.eq(delayed(m, last, after)),
            probe.delta_valid.eq(token("step", at.delta)),
            probe.delta.eq(delta_cost),
        ]
        return delta_cost

    def _previous_inputs(self, m, token, sources, layers, terms):
        """Connects the update terms' x: under node perturbation the inputs of all layers in the
        step that delta_cost belongs to.  Returns which synapses of the first layer let their term
        pass."""
        cfg, net, at = self.config, self.config.network, self.timing
        open_gates = Const(~0, net.layers[0] + 1)
        if not cfg.nodes:
            m.d.comb += terms.x[0].eq(ONE)
            return open_gates
        inputs = []
        for k, layer in enumerate(layers):
            x = layer.codes if k == 0 else layer.x[0]
            value = x.as_value()
            m.submodules[f"previous_x_{k}"] = line = DelayLine(
                len(value), at.previous_x - at.inputs[k]
            )
            m.d.comb += line.i.eq(value)
            held = line.o
            if not cfg.antithetic:
                # The golden model multiplies with the inputs of the pass for C0, which are held
                # until the next such pass.
                held = Signal(len(value), name=f"held_{k}", reset_less=True)
                with m.If(token("baseline", at.previous_x)):
                    m.d.sync += held.eq(line.o)
            inputs.append(data.View(x.shape(), held))
        for k, source in enumerate(sources.x):
            if isinstance(source, tuple):
                layer, number = source
                value = inputs[layer][number]
                source = value << cfg.input_shift if layer == 0 else value
            m.d.comb += terms.x[k].eq(source)
        if not cfg.gated_codes:
            return open_gates
        codes = delayed(m, inputs[0].as_value(), at.update_term + at.skew[0] - at.previous_x)
        return Cat(codes, Const(1, 1))

    def _counters(self, m, token, sequencer, layers) -> None:
        at = self.timing
        trains = []
        for k, layer in enumerate(layers):
            # Activations of evaluated samples are not counted.  `clipped` needs no mark: it is high
            # only behind a change.
            counts = token("step", at.inputs[k + 1]) | token("baseline", at.inputs[k + 1])
            trains.append(layer.saturated & counts.replicate(len(layer.saturated)))
        for bits, counter in (
            (Cat(*(layer.clipped for layer in layers)), self.weight_saturations),
            (Cat(*trains), self.activation_saturations),
        ):
            m.d.sync += counter.eq(counter + add_tree(m, list(bits), len(bits).bit_length() + 1))
            with m.If(sequencer.start):
                m.d.sync += counter.eq(0)

    def _watch(self, m, token, layers) -> None:
        at, probe = self.timing, self.probe
        # As a step leaves them in all layers, although it reaches each of them in another clock.
        weights = [
            delayed(m, layer.weights, at.skew[-1] - skew)
            for layer, skew in zip(layers, at.skew, strict=True)
        ]
        written = token("ends_window", at.weights)
        if self.config.network.accumulators:
            within = token("step", at.update + 1) & ~token("ends_window", at.update + 1)
            written = written | within
        m.d.comb += [
            probe.write.eq(written),
            probe.weights.eq(Cat(*weights)),
            probe.gradients.eq(Cat(*(layer.gradients for layer in layers))),
        ]


class Marks:
    """A token's marks in a pipeline: token("step", 5) is the mark of 5 clocks ago."""

    def __init__(self, m: Module, token, **more) -> None:
        self._m = m
        self._marks = {name: [token[name]] for name in token.shape().members}
        for name, value in more.items():
            mark = Signal(name=name)
            m.d.comb += mark.eq(value)
            self._marks[name] = [mark]

    def __call__(self, name: str, clocks: int):
        marks = self._marks[name]
        while len(marks) <= clocks:
            later = Signal(name=f"{name}_{len(marks)}")
            self._m.d.sync += later.eq(marks[-1])
            marks.append(later)
        return marks[clocks]
