"""The folded core: any dense network on P lanes."""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import connect, flipped

from mgd.golden_model.network import ACT_BITS, ACT_FRAC, ONE, SHIFT_MIN
from mgd.protocol.run_codes import PERTURBATION
from mgd.rtl.folded.broadcast import Broadcast
from mgd.rtl.folded.collector import Collector, tag_layout
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.input_gate import Gate
from mgd.rtl.folded.lane import SUM_CONTROL, Lane
from mgd.rtl.folded.nonzero_inputs import LitInputs
from mgd.rtl.folded.perturbations import FAMILIES, Family
from mgd.rtl.folded.signs import SignGenerator
from mgd.rtl.folded.step_control import Schedule, cost_sum_shape, with_wiring
from mgd.rtl.folded.sweeper import Sweeper
from mgd.rtl.interface import (
    CoreSignature,
)
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.magnitude import ONE_FOLD, scaled
from mgd.rtl.lib.piecewise import SharedTables
from mgd.rtl.memory.loader import Loader
from mgd.rtl.memory.sample_order import SampleOrder
from mgd.rtl.memory.samples import sample_link
from mgd.rtl.units.activation import Activation
from mgd.rtl.units.costs import cost_unit, result_layout


def probe_layout(config: CoreConfig) -> data.StructLayout:
    """What verification watches: every cost, every D, every weight and accumulator written
    while training.

    The lanes' values are side by side, lane 0 lowest.  Leave it unconnected on a board: it
    then costs nothing.
    """
    net = config.network
    return data.StructLayout(
        {
            "write": 1,
            "word": range(max(config.lane_words, 2)),
            "weights": config.lanes * net.weight_bits,
            "gradients": max(config.lanes * net.gradient_bits, 1),
            "cost_valid": 1,
            "cost": result_layout(net, config.cost_shape),
            "delta_valid": 1,
            "delta": signed(net.delta_cost_bits),
        }
    )


class FoldedCore(wiring.Component):
    """Trains and evaluates one network; equals golden_model.trainer.Trainer bit for bit.

    Streams: `command` (protocol.registers.Command codes), `sample_request`/`record` (to a
    rtl.memory.samples.SampleMemory or any other source of records), `evaluation` (one result per
    evaluated sample), `weight_request`/`weight_reply` (host access while not busy: a weight is
    answered 17 clocks and one per lane before its own later, 0 in the bits above it, an accumulator
    4; writing a weight takes 17 clocks, writing an accumulator two).  `settings` are the run-time
    registers; those that are fixed are not looked at.

    A step takes groups·(fan_in+1) clocks for the first layer, twice that for each other one,
    and what it takes to fill and empty the pipeline (docs/architecture.md has the formula).

    In a design of your own connect sample_request, record and the two restart signals to a
    rtl.memory.samples.SampleMemory, and hold evaluation.ready high if you do not take results.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            CoreSignature(
                config,
                sample_link(addressed=config.variant.ordered),
                probe_layout(config),
                cost_sum_shape(config),
                self._ports(),
            )
        )

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.schedule = schedule = self._schedule()
        m.submodules.loader = loader = Loader(cfg.network)
        m.submodules.sweeper = sweeper = Sweeper(cfg)
        m.submodules.signs = signs = SignGenerator(cfg)
        m.submodules.broadcast = broadcast = Broadcast(cfg)
        m.submodules.collector = collector = Collector(cfg)
        m.submodules.activation = activation = Activation(
            cfg.network,
            tag_layout(cfg),
            dsp=cfg.activation_dsp,
            shared_tables=cfg.shared_tables,
            table_memory=cfg.table_memory,
            position_register=cfg.position_register,
        )
        m.submodules.cost = cost = cost_unit(
            cfg.network,
            dsp=cfg.cost_dsp,
            registered=cfg.memory_register,
            shared_tables=cfg.shared_tables,
        )
        if cfg.shared_tables:
            m.submodules.tables = tables = SharedTables(
                activation.tables[0].table,
                activation.position_bits,
                cost.position_bits,
                len(activation.table_beyond),
                dsp=cfg.cost_dsp,
                memory=cfg.table_memory,
            )
            m.d.comb += [
                tables.activates.eq(activation.table_asked),
                tables.position.eq(activation.table_position),
                tables.beyond.eq(activation.table_beyond),
                tables.cost_position.eq(cost.table_position),
                tables.logarithm.eq(cost.table_logarithm),
                activation.table_value.eq(tables.value),
                cost.table_value.eq(tables.value),
            ]
        lanes = [self._lane(p) for p in range(cfg.lanes)]
        for p, lane in enumerate(lanes):
            m.submodules[f"lane_{p}"] = lane
        s = with_wiring(m, self.settings, cfg)

        connect(m, flipped(self.evaluation), schedule.evaluation)
        self._requests(m, schedule, loader)
        connect(m, loader.record, flipped(self.record))
        self._measure(m, schedule, cost)
        m.d.comb += schedule.cost_soon.eq(cost.soon)
        m.d.comb += [
            schedule.settings.eq(s),
            loader.taken.eq(schedule.taken),
            loader.input_shift.eq(s.input_shift),
            schedule.loading.eq(loader.busy | loader.start),
            schedule.loaded.eq(loader.loaded),
            schedule.next_label.eq(loader.label),
            cost.label.eq(schedule.label),
            sweeper.start.eq(schedule.sweep),
            sweeper.passes.eq(schedule.passes),
            sweeper.flush.eq(schedule.flush),
            schedule.sweeping.eq(sweeper.busy),
            self.busy.eq(schedule.busy),
            self.step.eq(schedule.step),
            self.cost_sum.eq(schedule.cost_sum),
            self.train_clocks.eq(schedule.train_clocks),
        ]

        # These reach far, from a state of the schedule; none is awaited as soon as a clock later.
        m.d.sync += [
            self.restart_train.eq(schedule.restart_train),
            self.restart_evaluate.eq(schedule.restart_evaluate),
            loader.start.eq(schedule.load),
            loader.evaluate.eq(schedule.load_evaluate),
        ]
        self._results(m, schedule, sweeper, collector, activation, cost, lanes)
        m.d.comb += collector.delta_exp.eq(s.delta_exp)

        # Clock of a token at each place: 0 sweeper, 2 activations read, `shared` share and signs.
        shared = 1 + Broadcast.latency(cfg)
        to_signs = shared - SignGenerator.LATENCY
        # Products with the perturbation's values take the lanes a clock more.
        more, fine = cfg.value_clocks, cfg.variant.value_frac
        address_clock = shared + more - 2
        use = address_clock + Lane.update_latency(cfg)
        token, valid = sweeper.token, sweeper.valid
        # Both come out of the activation memories 2 clocks after they are addressed.
        x, x_before = self._activations(
            m, schedule, sweeper, loader, collector, activation, late=use - more - 2
        )
        early_x, x = x, delayed(m, x, more)
        m.d.comb += [
            broadcast.x.eq(x_before),
            broadcast.delta.eq(self._delta(m, schedule, token)),
            broadcast.random.eq(schedule.step_random),
            broadcast.nodes.eq(s.nodes),
            broadcast.accumulates.eq(s.accumulates),
            broadcast.delta_exp.eq(s.delta_exp),
            broadcast.eta_exp.eq(s.eta_exp),
        ]
        update_0 = Signal()
        m.d.comb += update_0.eq(valid & token.lead & schedule.update)
        updates = delayed(m, update_0, shared - 1)
        trained = delayed(m, self._trained(token), shared - 1)
        m.d.comb += broadcast.update.eq(updates & trained)
        if cfg.variant.skip_zeros:
            self._visits(m, s, schedule, sweeper, loader)
            with m.If(~delayed(m, token.before, shared - 1)):
                m.d.comb += broadcast.update.eq(0)
        if cfg.variant.gate_zeros:
            opens = self._gate(m, schedule, token, activation, x_before)
            with m.If(~delayed(m, opens, shared - 1 - Gate.LATENCY)):
                m.d.comb += broadcast.update.eq(0)
        update = delayed(m, updates, 1 + more)
        # Weights that are not trained do not decay either.
        gives = update & s.accumulates & schedule.change
        if cfg.variant.decay_exp:
            gives &= delayed(m, trained, 1 + more)
        written = delayed(m, update, use - shared - more)
        self._disturb(m, schedule, token, valid, lanes, address_clock + Lane.change_latency(cfg))
        # One address for all lanes, in a register; the host's is there when its access begins.
        address = Signal.like(token.word, reset_less=True)
        word = delayed(m, token.word, address_clock - 1)
        m.d.sync += address.eq(Mux(schedule.busy, word, self.weight_request.payload.word))
        # Updates are written to one word after the other, from the first one on; the host's word
        # stands there in time for its write.
        written_word = Signal.like(token.word, reset_less=True)
        skips = cfg.variant.skip_zeros
        if skips:  # not to one after the other
            m.d.sync += written_word.eq(delayed(m, address, use - address_clock - 1))
        with m.If(~schedule.busy):
            m.d.sync += written_word.eq(self.weight_request.payload.word)
        if not skips:
            with m.Elif(written):
                m.d.sync += written_word.eq(written_word + 1)
            with m.If(delayed(m, schedule.sweep, 1)):
                m.d.sync += written_word.eq(0)
        bias = delayed(m, token.bias, use)
        self._signs(m, s, schedule, sweeper, signs, to_signs)
        drawn, previous_signs = signs, signs.previous_signs
        # The host's shares are added as they are.  An access begins in a register.
        host_access = Signal()
        m.d.comb += signs.minus.eq(host_access)
        allows, adds_sign = Const(~0, cfg.lanes), Const(~0, cfg.lanes)
        if cfg.variant.perturbation != "random":
            drawn = self._family(m, schedule, token, valid, signs, to_signs)
            # The host's writes are shares too.
            allows = drawn.previous_active | (~schedule.busy).replicate(cfg.lanes)
            adds_sign = delayed(m, drawn.active, use - to_signs - drawn.SIGNS_LATENCY)
            adds = delayed(m, host_access, 1).replicate(cfg.lanes)
            previous_signs = drawn.previous_signs | adds
        previous_signs = delayed(m, previous_signs, more)
        current_signs = delayed(m, drawn.signs, use - to_signs - SignGenerator.SIGNS_LATENCY)
        # A flush ends when its last write has: no token between the sweeper and the memories.
        in_flight = Signal(use + 2)
        m.d.sync += in_flight.eq(Cat(valid, in_flight))
        m.d.comb += schedule.drained.eq(in_flight == 0)
        # What is known of a group by its number is looked up where it is used.  The last group
        # of a layer may not fill all lanes; the others' numbers mean nothing.
        group = delayed(m, token.group, use)
        active = self._of_group(group, "active")
        taken_group = delayed(m, group, cfg.operand_clocks + 1)

        # The host's writes are two updates: one that clips to the least weight, and one by what
        # the new weight is more than that.  So they need no way of their own into the lanes.
        # The lower half of the clocks is for the first; the last one of each writes.
        # A weight is read as the sum of a single product, of it and 1.0: the lanes' sums are taken
        # and turned as those of a group.
        host = self.weight_request.payload
        clocks, stores = Signal(4), Signal(cfg.lanes)
        # Half of them is enough from the address to the new weight, which the second half reads
        # again, and from the share, which is in the lanes 1 + more clocks after the address.
        half = 1 << (len(clocks) - 1)
        assert half >= Lane.update_latency(cfg) + max(more, 1)
        clips = Const(-(1 << (cfg.change_bits - 1)), signed(cfg.change_bits))
        of_accumulator = host.accumulator if cfg.network.accumulators else Const(0)
        full, following_clock = Signal(), Signal.like(clocks)
        writes, reads = Signal(), Signal()
        turns, turned, turn = Signal(), Signal(), Signal(range(max(cfg.lanes, 2)))
        sign = cfg.network.weight_bits - 1
        above_least = Cat(host.data[:sign], ~host.data[sign])
        m.d.comb += [
            writes.eq(host_access & host.write & ~of_accumulator),
            reads.eq(host_access & ~host.write & ~of_accumulator & ~self.weight_reply.valid),
            following_clock.eq(clocks + 1),
            broadcast.given.eq(writes),
            broadcast.given_share.eq(Mux(clocks[-1], above_least, clips)),
            # The last clock of a read lasts until the lane's sum is in the first one.
            turns.eq(full & ~host.write),
            turned.eq(turns & (turn == host.lane)),
        ]
        # A bit for each lane: from here the way to its memory has a clock of its own.
        stored = writes & following_clock[:-1].all()
        m.d.sync += stores.eq(Cat(stored & (host.lane == p) for p in range(cfg.lanes)))
        with m.If(turns & ~turned):
            m.d.sync += turn.eq(turn + 1)
        with m.Else():
            m.d.sync += turn.eq(0)
            with m.If(reads | writes):
                m.d.sync += [clocks.eq(following_clock), full.eq(following_clock.all())]
        # A command waits for the end of an access, and goes before one that has not begun.
        asked = self.weight_request.valid & ~self.weight_request.ready & ~schedule.busy
        m.d.sync += host_access.eq(asked & (host_access | ~self.command.valid))
        m.d.comb += [
            schedule.command.payload.eq(self.command.payload),
            schedule.command.valid.eq(self.command.valid & ~host_access),
            self.command.ready.eq(schedule.command.ready & ~host_access),
        ]
        # Accumulators are finer by as many bits as the values have.
        shift = broadcast.shift + fine if fine else broadcast.shift
        shift_right, residual_mask = Signal(6), Signal(max(cfg.network.gradient_bits, 1))
        m.d.sync += [
            shift_right.eq(shift - SHIFT_MIN),
            residual_mask.eq(Mux(shift > 0, (1 << shift[:6]) - 1, 0)),
        ]
        reading, read_lane = Signal(2), Signal.like(host.lane)
        for p, lane in enumerate(lanes):
            following = lanes[(p + 1) % len(lanes)]
            share = Mux(allows[p], broadcast.share, 0)
            if fine:
                later = use - more - to_signs - drawn.SIGNS_LATENCY
                share = self._times_values(m, schedule, lane, p, drawn, share, early_x, later)
            m.d.comb += [
                lane.address.eq(address),
                lane.share.eq(share),
                lane.previous_sign.eq(previous_signs[p]),
                lane.gives.eq(gives),
                lane.accumulates.eq(s.accumulates & ~host_access),
                lane.shift_right.eq(shift_right),
                lane.residual_mask.eq(residual_mask),
                lane.write.eq(written | stores[p]),
                lane.write_address.eq(
                    Mux(
                        schedule.clear if cfg.network.accumulators else 0,
                        schedule.clear_word,
                        written_word,
                    )
                ),
                lane.host_gradient.eq(host.data),
                lane.host_write_gradient.eq(
                    host_access & host.write & of_accumulator & (host.lane == p)
                ),
                # Of all lanes only the one that is asked shows an accumulator: their OR is what it
                # holds, which takes fewer cells than choosing would.
                lane.hide_gradient.eq(reading.any() & (read_lane != p)),
                lane.clear.eq(schedule.clear),
                lane.x.eq(x),
                lane.sign.eq(current_signs[p]),
                lane.add_sign.eq((~s.nodes | bias) & adds_sign[p]),
                lane.chain_sum.eq(following.sum),
                lane.chain_sign_sum.eq(following.sign_sum),
            ]

        # The sums of products are a clock behind those of signs.  What controls them comes out of
        # registers, as it is on the way to all lanes.
        of_signs, of_products = Signal(SUM_CONTROL), Signal(SUM_CONTROL)
        own = cfg.operand_clocks
        accumulates = [delayed(m, valid & ~schedule.flush, use + own - 1)]
        accumulates.append(delayed(m, accumulates[0], 1))
        takes = [accumulates[1] & delayed(m, bias, own)]
        takes.append(delayed(m, takes[0], 1))
        # In clocks 13 and 14 there.
        adds_weight = Signal()
        m.d.comb += adds_weight.eq(reads & (clocks == 12))
        takes_weight = delayed(m, adds_weight, 1)
        for control, accumulate, take in zip(
            (of_signs, of_products), accumulates, takes, strict=True
        ):
            empty = take | (~schedule.busy & ~adds_weight)
            m.d.comb += [
                control.accumulate.eq(delayed(m, accumulate | adds_weight, 1)),
                control.take.eq(delayed(m, take | takes_weight, 1)),
                control.empty.eq(delayed(m, empty, 1)),
            ]
        m.d.comb += [
            # What left the ring, or was not taken yet, is not looked at again: it turns always, and
            # its registers need no enable.
            of_signs.shift.eq(1),
            of_products.shift.eq(1),
            collector.take.eq(takes[1]),
            collector.group.passes.eq(delayed(m, sweeper.serves, use + own + 1)),
        ]
        for lane in lanes:
            m.d.comb += [lane.signs.eq(of_signs), lane.products.eq(of_products)]
        for name in ("node", "active", "last", "output"):
            m.d.comb += collector.group[name].eq(self._of_group(taken_group, name))
        if cfg.variant.selects:
            layer = self._of_group(taken_group, "layer")
            m.d.comb += collector.group.plain.eq(~schedule.perturbed.bit_select(layer, 1))

        # Saturations, and the host's way to the weights.
        clipped = Cat(*(lane.clipped & (active > p) for p, lane in enumerate(lanes)))
        count = Signal(range(cfg.lanes + 1))
        m.d.sync += count.eq(sum(clipped[p] for p in range(cfg.lanes)))
        counted = delayed(m, written, 1)
        with m.If(schedule.start_signs):
            m.d.sync += [self.weight_saturations.eq(0), self.activation_saturations.eq(0)]
        with m.Elif(counted):
            m.d.sync += self.weight_saturations.eq(self.weight_saturations + count)
        saturated_output = activation.o.valid & activation.o.ready & activation.o.payload.saturated
        with m.If(~schedule.start_signs & schedule.training & saturated_output):
            m.d.sync += self.activation_saturations.eq(self.activation_saturations + 1)

        m.d.comb += [
            self.weight_request.ready.eq(
                host_access
                & Mux(
                    of_accumulator,
                    host.write | (~self.weight_reply.valid & ~reading.any()),
                    Mux(host.write, full, turned),
                )
            ),
            schedule.weights_written.eq(stores.any()),
        ]
        # Above sum_cut is what rounds a sum, and above the fraction of 1.0 is the weight.
        net = cfg.network
        weight = lanes[0].sum[ACT_FRAC - cfg.sum_cut :][: net.weight_bits]
        if cfg.sum_start >> ACT_FRAC:
            weight = (weight - (cfg.sum_start >> ACT_FRAC))[: net.weight_bits]
        with m.If(turned):
            m.d.sync += [self.weight_reply.valid.eq(1), self.weight_reply.payload.eq(weight)]
        with m.Elif(self.weight_reply.ready):
            m.d.sync += self.weight_reply.valid.eq(0)
        if net.accumulators:
            accepted = host_access & of_accumulator & self.weight_request.ready & ~host.write
            m.d.sync += reading.eq(Cat(accepted, reading))
            with m.If(accepted):
                m.d.sync += read_lane.eq(host.lane)
            shown = Const(0)
            for lane in lanes:
                shown |= lane.read_gradient.as_unsigned()
            with m.If(reading[-1]):
                m.d.sync += [self.weight_reply.valid.eq(1), self.weight_reply.payload.eq(shown)]

        probe = self.probe
        m.d.comb += [
            probe.write.eq(written),
            probe.word.eq(written_word),
            probe.weights.eq(Cat(*(lane.new_weight for lane in lanes))),
            probe.cost_valid.eq(schedule.cost.valid & schedule.cost.ready & schedule.training),
            probe.cost.eq(schedule.cost.payload),
            probe.delta_valid.eq(delayed(m, schedule.delta_valid, 1)),
            probe.delta.eq(schedule.delta),
        ]
        if cfg.network.accumulators:
            m.d.comb += probe.gradients.eq(Cat(*(lane.new_gradient for lane in lanes)))
        return m

    # -- what rtl.imperfect makes imperfect ---------------------------------------------------

    def _ports(self) -> dict[str, wiring.Member]:
        """More ports."""
        return {}

    def _schedule(self) -> Schedule:
        return Schedule(self.config)

    def _lane(self, number: int) -> Lane:
        return Lane(self.config)

    def _measure(self, m, schedule, cost) -> None:
        """The cost unit's results to the schedule."""
        connect(m, schedule.cost, cost.o)

    def _pre_activation(self, m, z):
        """A neuron's pre-activation, of the collector's output {value, output, tag}."""
        return z.value

    def _disturb(self, m, schedule, token, valid, lanes, clocks) -> None:
        """What else lanes are given; a token's weight takes its change `clocks` after it."""

    # -- parts of the core --------------------------------------------------------------------

    def _of_group(self, number, name: str):
        """A field of rtl.folded.collector.group_layout that is the same for both passes."""
        return Array([group[name] for group in self.config.group_table])[number]

    def _trained(self, token):
        """Whether the token's layer takes its share of the cost change."""
        if not self.config.variant.trainable:
            return Const(1)
        layers = self.config.variant.layers(self.config.network)
        flags = [group["layer"] in layers for group in self.config.group_table]
        return Array([Const(flag, 1) for flag in flags])[token.group]

    def _family(self, m, schedule, token, valid, signs, late) -> Family:
        """The perturbation in place of random signs; it too sees a token `late` clocks after it
        was issued."""
        m.submodules.family = family = FAMILIES[self.config.variant.perturbation](self.config)
        m.d.comb += [
            family.data.eq(self.settings.seed),
            family.nodes.eq(self.settings.nodes),
            family.load.eq(schedule.codes & (self.settings.sign_layer == PERTURBATION)),
            schedule.codes_ready.eq(family.ready),
            family.keep.eq(schedule.keeps_draw),
            family.take.eq(schedule.takes_draw),
            family.valid.eq(delayed(m, valid, late)),
            family.group.eq(delayed(m, token.group, late)),
            family.input.eq(delayed(m, token.input, late)),
            family.word.eq(delayed(m, token.word, late)),
            family.lead.eq(delayed(m, token.lead, late)),
        ]
        family.listen(m, signs)
        return family

    def _times_values(self, m, schedule, lane, p, drawn, share, early_x, later):
        """x times a lane's value, which has left the family `later` clocks before, goes to its
        sign sum; returns the share times that of before."""
        # The host's writes are shares too.
        previous = Mux(schedule.busy, drawn.previous_magnitudes[p], ONE_FOLD)
        magnitude = delayed(m, drawn.magnitudes[p], later)
        own_share, value_x = Signal.like(lane.share), Signal.like(lane.value_x)
        m.d.sync += [
            own_share.eq(scaled(share, previous)),
            value_x.eq(scaled(early_x, magnitude)),
        ]
        m.d.comb += lane.value_x.eq(value_x)
        return own_share

    def _gate(self, m, schedule, token, activation, x_before):
        """Whether the token's input was there in the step whose update is pending, Gate.LATENCY
        clocks later."""
        m.submodules.gate = gate = Gate(self.config)
        y, step = activation.o.payload, schedule.step[0]
        m.d.comb += [
            gate.x.eq(x_before),
            gate.sample.eq(token.layer_0),
            gate.node.eq(token.hidden + token.input),
            # The step whose update is flushed is the last one that has begun.
            gate.set_read.eq(Mux(schedule.flush, step, ~step)),
            gate.stores.eq(activation.stores & y.tag.second),
            gate.set_written.eq(step),
            gate.node_written.eq(y.tag.node),
            gate.value.eq(y.value),
        ]
        return gate.open

    def _visits(self, m, settings, schedule, sweeper, loader) -> None:
        """The first layer's tokens: inputs that are not 0 in this sample, and in the one before
        where its update is due; all where weights take what their accumulators have."""
        m.submodules.lit = lit = LitInputs(self.config)
        connect(m, lit.o, sweeper.visits)
        loaded = loader.o.payload
        # A sweep begins two clocks or more behind its sample's last input.
        m.d.sync += [
            lit.write.eq(loader.o.valid & loader.o.ready),
            lit.buffer.eq(schedule.sample_next),
            lit.index.eq(loaded.index),
            lit.lit.eq(loaded.value.any()),
        ]
        m.d.comb += [
            lit.start.eq(schedule.sweep),
            lit.sample_now.eq(schedule.sample_now),
            lit.sample_before.eq(schedule.sample_before),
            lit.uses_now.eq(~schedule.flush),
            lit.uses_before.eq(schedule.update),
            lit.all.eq(schedule.update & schedule.change & settings.accumulates),
        ]

    def _requests(self, m, schedule, loader) -> None:
        """For samples: in the memory's order, or where another one says."""
        kind = self.config.variant.sample_order
        if not self.config.variant.ordered:
            connect(m, flipped(self.sample_request), loader.request)
            return
        m.submodules.sample_order = order = SampleOrder(kind, self.config.record_stride)
        m.d.comb += [
            order.load.eq(schedule.codes),
            order.part.eq(self.settings.sign_layer),
            order.data.eq(self.settings.seed),
        ]
        connect(m, loader.request, order.i)
        connect(m, flipped(self.sample_request), order.o)

    def _delta(self, m, schedule, token):
        """D of the token's layer, in the clock behind its x."""
        if not self.config.variant.by_layer:
            return schedule.delta
        return Array(schedule.deltas)[self._of_group(delayed(m, token.group, 2), "layer")]

    def _results(self, m, schedule, sweeper, collector, activation, cost, lanes) -> None:
        """Sums to pre-activations, to activations, to the cost."""
        net = self.config.network
        z = collector.o
        value = self._pre_activation(m, z.payload)
        m.d.comb += [
            collector.sum.eq(lanes[0].sum),
            collector.sign_sum.eq(lanes[0].sign_sum),
            collector.factor_0.eq(schedule.factor_0),
            collector.factor_1.eq(schedule.factor_1),
            activation.i.payload.value.eq(value),
            activation.i.payload.output.eq(z.payload.output),
            activation.i.payload.tag.eq(z.payload.tag),
        ]
        # Nothing here ever waits: a cost unit has room for a second pass, and the next sweep begins
        # when both costs, or the evaluated one, are as good as there.  So the ring's registers need
        # not hear of it.
        m.d.comb += [z.ready.eq(1), activation.o.ready.eq(1)]
        # Some costs read the outputs' pre-activations, the others their activations.
        source = z if net.reads_sums else activation.o
        m.d["sync" if self.config.cost_register else "comb"] += [
            cost.i.payload.value.eq(value if net.reads_sums else activation.o.payload.value),
            cost.i.payload.node.eq(source.payload.tag.node),
            # The cost unit announces second passes: in the continuous form all are the last.
            cost.i.payload.second.eq(source.payload.tag.second | self.config.variant.continuous),
            cost.i.payload.last.eq(source.payload.tag.last),
            cost.i.valid.eq(source.valid & source.payload.output),
        ]
        activates = ~z.payload.output if net.reads_sums else 1
        m.d.comb += activation.i.valid.eq(z.valid & activates)

    def _activations(self, m, schedule, sweeper, loader, collector, activation, late):
        """Activation memories; returns x of the step before, 2 clocks after the token, and x of
        this step `late` clocks after that.

        They are two, written alike: one is read for the forward pass, the other for the update
        of the step before.  Only the first holds the second pass's activations.
        """
        cfg, net = self.config, self.config.network
        inputs = net.layers[0]
        minus = cfg.plus_words
        depth = minus + max(cfg.hidden_nodes, 1)
        m.submodules.now = now = Memory(shape=signed(ACT_BITS), depth=depth, init=[])
        m.submodules.before = before = Memory(shape=signed(ACT_BITS), depth=minus, init=[])
        ports = now.write_port(), before.write_port()
        read_now, read_before = now.read_port(), before.read_port()

        def sample_base(number):
            return Array([Const(k * inputs) for k in range(4)])[number]

        def hidden_base(hidden_set):
            return 3 * inputs + Mux(hidden_set, cfg.hidden_nodes, 0)

        token = sweeper.token
        base, address = Signal(range(depth)), Signal(range(depth))
        hidden_now = Mux(token.second, minus, hidden_base(schedule.hidden_now)) + token.hidden
        hidden_before = hidden_base(schedule.hidden_before) + token.hidden
        # There is time for a register behind each adder.
        m.d.sync += [
            base.eq(Mux(token.layer_0, sample_base(schedule.sample_now), hidden_now)),
            address.eq(base + delayed(m, token.input, 1)),
        ]
        m.d.comb += [
            read_now.addr.eq(delayed(m, address, late - 2)),
            read_before.addr.eq(
                Mux(token.layer_0, sample_base(schedule.sample_before), hidden_before) + token.input
            ),
        ]
        bias_1 = delayed(m, token.bias, 1)
        x_now = Signal(signed(ACT_BITS), reset_less=True)
        x_before = Signal(signed(ACT_BITS))
        m.d.sync += x_now.eq(Mux(delayed(m, bias_1, late) | ~schedule.busy, ONE, read_now.data))
        # The broadcast has the register behind this memory.
        m.d.comb += x_before.eq(Mux(bias_1, ONE, read_before.data))

        # Results come first, the next sample's inputs are written when none is there.
        y = activation.o.payload
        stored, write, data = Signal(), Signal(), Signal(signed(ACT_BITS))
        written = Signal(range(depth))
        m.d.comb += stored.eq(activation.stores)
        with m.If(stored):
            hidden_set = Mux(y.tag.second, minus, hidden_base(schedule.hidden_now))
            m.d.comb += [write.eq(1), data.eq(y.value), written.eq(hidden_set + y.tag.node)]
        with m.Else():
            m.d.comb += [
                loader.o.ready.eq(1),
                write.eq(loader.o.valid),
                data.eq(loader.o.payload.value),
                written.eq(sample_base(schedule.sample_next) + loader.o.payload.index),
            ]
        for port in ports:
            m.d.comb += [port.addr.eq(written), port.data.eq(data)]
        m.d.comb += [
            ports[0].en.eq(write),
            ports[1].en.eq(write & ~(stored & y.tag.second)),
        ]

        # An activation is written `way` clocks after its sum has left the first lane, and a token
        # reads it `late` clocks after it was issued: it need not wait for what is under way.
        # (Without the other registers there is time for one, which the sweeper is glad of.)
        way = Collector.LATENCY + activation.latency
        clocks = max(way - late, 0 if cfg.memory_register else 1)
        m.d.comb += sweeper.arrives.eq(delayed(m, collector.leaves, clocks))
        return x_now, x_before

    def _signs(self, m, settings, schedule, sweeper, signs, late) -> None:
        """The tokens' signs; the generator sees a token `late` clocks after it was issued."""
        token = sweeper.token
        saves = token.lead & schedule.training & ~schedule.flush
        m.d.comb += [
            signs.start.eq(schedule.start_signs),
            signs.seed.eq(settings.seed),
            signs.first_layer.eq(settings.sign_layer),
            signs.nodes.eq(settings.nodes),
            signs.valid.eq(delayed(m, sweeper.valid, late)),
            signs.first.eq(delayed(m, token.first, late)),
            signs.last.eq(delayed(m, token.bias, late)),
            signs.group.eq(delayed(m, token.group, late)),
            signs.slot.eq(schedule.slot),
            signs.previous_slot.eq(schedule.previous_slot),
            signs.save.eq(delayed(m, saves, late)),
            signs.next_random.eq(schedule.next_random),
            schedule.signs_ready.eq(signs.ready),
            schedule.random.eq(signs.random),
        ]
        if self.config.variant.skip_zeros:
            m.d.comb += [
                signs.now.eq(delayed(m, token.now, late)),
                signs.before.eq(delayed(m, token.before, late)),
            ]
