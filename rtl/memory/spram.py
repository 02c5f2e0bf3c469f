"""The iCE40 UltraPlus' large memories."""

from amaranth import ClockSignal, Const, Instance, Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mgd.rtl.lib.unit import Unit

ADDRESS_BITS = 14
WORDS = 1 << ADDRESS_BITS
"""Words of 16 bits in a block; a UP5K has four blocks."""


class SPRAM(Unit):
    """One SB_SPRAM256KA: 16,384 words of 16 bits, one port.

    In a clock with `enable` the word at `address` is written or else read; `read_data` then
    holds it from the next clock until the next read.  After a write it is not defined.

    behavioural: the same in Amaranth's terms, for simulation and for other FPGAs.
    """

    latency = 1
    """Clocks from the address to the word."""

    address: In(ADDRESS_BITS)
    enable: In(1)
    write: In(1)
    write_data: In(16)
    read_data: Out(16)

    def __init__(self, *, behavioural: bool = False) -> None:
        self.behavioural = behavioural
        super().__init__()

    def elaborate(self, platform) -> Module:
        m = Module()
        if self.behavioural:
            m.submodules.words = words = Memory(shape=16, depth=WORDS, init=[])
            write, read = words.write_port(), words.read_port()
            m.d.comb += [
                write.addr.eq(self.address),
                write.data.eq(self.write_data),
                write.en.eq(self.enable & self.write),
                read.addr.eq(self.address),
                read.en.eq(self.enable & ~self.write),
                self.read_data.eq(read.data),
            ]
        else:
            m.submodules.block = Instance(
                "SB_SPRAM256KA",
                i_CLOCK=ClockSignal(),
                i_ADDRESS=self.address,
                i_DATAIN=self.write_data,
                i_MASKWREN=Const(0b1111, 4),
                i_WREN=self.write,
                i_CHIPSELECT=self.enable,
                i_STANDBY=Const(0, 1),
                i_SLEEP=Const(0, 1),
                i_POWEROFF=Const(1, 1),  # low-active
                o_DATAOUT=self.read_data,
            )
        return m
