"""The bus between the link, its initiator, and Control, its responder."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

SPACE_BITS = 3
ADDRESS_BITS = 24
STATUS_BITS = 2
WORD_BITS = 32


class BusSignature(wiring.Signature):
    """One word at a time, seen from the initiator.

    The initiator raises `strobe` and holds it and `space`, `address`, `write` and, for a write,
    `write_data` until the clock in which the responder raises `ack`, be it the same one or any
    later.  In that clock `status` (a protocol.Status) and, for a read that is OK, `read_data` are
    valid.  The next clock `strobe` is low.  A responder acknowledges every access, also a refused
    one, and raises `ack` only while `strobe` is high.
    """

    def __init__(self):
        super().__init__(
            {
                "space": Out(SPACE_BITS),
                "address": Out(ADDRESS_BITS),
                "write": Out(1),
                "write_data": Out(WORD_BITS),
                "strobe": Out(1),
                "ack": In(1),
                "status": In(STATUS_BITS),
                "read_data": In(WORD_BITS),
            }
        )
