"""Which buffer of the activation memories holds which sample, and the samples' labels."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.units.costs import label_shape


class SampleBuffers(wiring.Component):
    """Three buffers of inputs trade places: in use, used in the step before, loaded next; two sets
    of hidden activations do so between a step and the next one.

    `train` and `evaluate` put the loaded sample, whose label is `next_label`, in use.  `keep`: what
    a step had in use is what the pending update multiplies, from the next clock on.  An evaluation
    leaves the samples of training where they are: it uses the buffer of the sample before, which no
    update needs after the flush, and the other set of hidden activations.
    `switch_hidden`: the step that begins writes the other set.  All outputs are right from the
    clock after a request on.
    """

    def __init__(self, config: CoreConfig) -> None:
        label = label_shape(config.network)
        super().__init__(
            {
                "train": In(1),
                "evaluate": In(1),
                "evaluating": In(1),
                "keep": In(1),
                "switch_hidden": In(1),
                "next_label": In(label),
                "label": Out(label),
                "sample_current": Out(2),
                "sample_previous": Out(2),
                "sample_next": Out(2),
                "hidden_current": Out(1),
                "hidden_previous": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        current, previous, loaded = (Signal(2, init=k) for k in range(3))
        hidden = Signal()
        label_train, label_evaluate = Signal.like(self.label), Signal.like(self.label)
        m.d.comb += [
            self.sample_next.eq(loaded),
            self.sample_current.eq(Mux(self.evaluating, previous, current)),
            self.hidden_current.eq(hidden ^ self.evaluating),
            self.label.eq(Mux(self.evaluating, label_evaluate, label_train)),
        ]
        # Copies of the numbers: the pending update reads its sample while the next `train` already
        # gives the buffers other roles.
        with m.If(self.keep):
            m.d.sync += [self.sample_previous.eq(current), self.hidden_previous.eq(hidden)]
        with m.If(self.switch_hidden):
            m.d.sync += hidden.eq(~hidden)
        # The sample of training stays in `current`, with its own label, for the steps that follow.
        with m.If(self.evaluate):
            m.d.sync += [
                label_evaluate.eq(self.next_label),
                previous.eq(loaded),
                loaded.eq(previous),
            ]
        with m.If(self.train):
            m.d.sync += [
                label_train.eq(self.next_label),
                current.eq(loaded),
                previous.eq(current),
                loaded.eq(previous),
            ]
        return m
