"""When the lanes add to their sums, and take them."""

from __future__ import annotations

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lanes.lane import SUM_CONTROL
from mgd.rtl.folded.program.loop_engine import token_layout
from mgd.rtl.folded.program.token_timing import TokenTiming
from mgd.rtl.lib.delay import delayed


class SumControl(wiring.Component):
    """Controls of both sums of all lanes, out of registers since they are far away.

    A token that is `valid` while `flush` is low is added to its sums; a group's last one has them
    taken, and `take` is high TokenTiming.take clocks after it.  `bias` is the token's,
    TokenTiming.mac clocks after it; `group` its group and `pass_mask` its passes, together with
    `take`.

    `host_reads`: the sum of the lanes' product, of a weight and 1.0, is taken READ_LATENCY clocks
    later.  Sums are empty while the core is not `busy`.
    """

    READ_LATENCY = 3
    """Clocks from `host_reads` to the sum in its output register: the control's own register, the
    sum's, and that one."""

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        group = range(max(sum(config.groups), 2))
        super().__init__(
            {
                "token": In(token_layout(config)),
                "valid": In(1),
                "flush": In(1),
                "token_passes": In(2),
                "busy": In(1),
                "host_reads": In(1),
                "signs": Out(SUM_CONTROL),
                "products": Out(SUM_CONTROL),
                "take": Out(1),
                "bias": Out(1),
                "mac_group": Out(group),
                "group": Out(group),
                "pass_mask": Out(2),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, at, token = self.config, TokenTiming.of(self.config), self.token
        # The sums of products are a clock behind those of signs.
        own = cfg.operand_clocks
        accumulates = [delayed(m, self.valid & ~self.flush, at.mac + own - 1)]
        accumulates.append(delayed(m, accumulates[0], 1))
        takes = [accumulates[1] & delayed(m, self.bias, own)]
        takes.append(delayed(m, takes[0], 1))
        takes_weight = delayed(m, self.host_reads, 1)
        for control, accumulate, take in zip(
            (self.signs, self.products), accumulates, takes, strict=True
        ):
            empty = take | (~self.busy & ~self.host_reads)
            m.d.comb += [
                control.accumulate.eq(delayed(m, accumulate | self.host_reads, 1)),
                control.take.eq(delayed(m, take | takes_weight, 1)),
                control.empty.eq(delayed(m, empty, 1)),
                # Always: nobody reads the ring once its group has left it, nor before the next one
                # is taken, and so its registers need no enable.
                control.shift.eq(1),
            ]
        m.d.comb += [
            self.take.eq(takes[1]),
            self.bias.eq(delayed(m, token.bias, at.mac)),
            self.mac_group.eq(delayed(m, token.group, at.mac)),
            self.group.eq(delayed(m, self.mac_group, at.take - at.mac)),
            self.pass_mask.eq(delayed(m, self.token_passes, at.take)),
        ]
        return m
