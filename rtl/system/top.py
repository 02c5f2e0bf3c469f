"""The top level of a bitstream: a core, its sample memory, and the link to the host."""

from __future__ import annotations

from fractions import Fraction

from amaranth import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect

from mgd.protocol.registers import CORE_REPORTS
from mgd.rtl.core_kinds import AnyConfig, gateware_of
from mgd.rtl.system.control import Control
from mgd.rtl.system.link import Link
from mgd.rtl.system.uart import UARTReceiver, UARTTransmitter


def probe_layout(config: AnyConfig) -> data.StructLayout:
    """The signals of Top that verification watches."""
    return gateware_of(config).probe_layout(config)


class Top(wiring.Component):
    """rx and tx are the UART's pins, 8N1; `busy` is high while the core works (an LED).

    sample_memory: 16-bit words, even.  storage: the kind of memory, as in
    rtl.memory.samples.SampleMemory.  clocks_per_bit: the UART's divider, 4 or more, may be
    fractional.  clock_hz goes into the identity record only.  Leave `probe` unconnected on a board.
    """

    def __init__(
        self,
        config: AnyConfig,
        sample_memory: int,
        clocks_per_bit: float | Fraction,
        clock_hz: int,
        storage: str = "block",
    ) -> None:
        self.config = config
        self.sample_memory = sample_memory
        self.clocks_per_bit = clocks_per_bit
        self.clock_hz = clock_hz
        self.storage = storage
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "busy": Out(1),
                "probe": Out(probe_layout(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UARTReceiver(self.clocks_per_bit)
        m.submodules.transmitter = transmitter = UARTTransmitter(self.clocks_per_bit)
        m.submodules.link = link = Link()
        gateware = gateware_of(self.config)
        m.submodules.core = core = gateware.core(self.config)
        m.submodules.samples = samples = gateware.sample_memory(
            self.config, self.sample_memory, self.storage
        )
        m.submodules.control = control = Control(
            self.config, self.sample_memory, self.clock_hz, samples.latency
        )

        connect(m, receiver.o, link.i)
        connect(m, link.o, transmitter.i)
        connect(m, link.bus, control.bus)
        connect(m, control.command, core.command)
        connect(m, core.evaluation, control.evaluation)
        connect(m, control.weight_request, core.weight_request)
        connect(m, core.weight_reply, control.weight_reply)
        samples.serve(m, core)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            self.busy.eq(core.busy | control.command.valid),
            core.settings.eq(control.settings),
            control.status.busy.eq(core.busy),
            *(
                getattr(control.status, report.field).eq(getattr(core, report.field))
                for report in CORE_REPORTS
            ),
            control.status.frame_errors.eq(link.errors),
            samples.train_end.eq(control.train_end),
            samples.eval_test.eq(control.eval_test),
            samples.host_address.eq(control.sample_address),
            samples.host_write.eq(control.sample_write),
            samples.host_write_data.eq(control.sample_write_data),
            control.sample_ready.eq(samples.host_ready),
            control.sample_read_data.eq(samples.host_read_data),
        ]
        m.d.comb += self.probe.eq(core.probe)
        return m
