"""Products outside the lanes, in a DSP block or, where the lanes use them all, in logic."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed

from mgd.rtl.lib.arithmetic import as_signed

DSP_BITS = 18
"""Widest signed number that an ECP5's DSP block multiplies."""

LOW_BITS = 15
"""The lower part of a wider number, unsigned, as an iCE40's block of 16 signed bits holds it."""


def recoded(b):
    """An unsigned b, or the bits below b's sign, recoded for `product` in logic: with
    1 + 4 + 16 + ... added each base-4 digit is one of −1 ... 2, plus one."""
    bits = len(b)
    digits = -(-bits // 2)
    return (b + Const(sum(1 << 2 * k for k in range(digits))))[: 2 * digits + 1]


def product(
    m: Module,
    a,
    b,
    *,
    dsp: bool,
    enable=1,
    pipelined: bool = False,
    b_recoded=None,
    added: tuple | None = None,
):
    """a·b, exact, of a `b` that comes one clock before its `a`, one clock after `a`.

    Clocks with `enable` low do not count.  With `dsp` the result is a register, which Yosys may
    take into the DSP block; where `a` is wider than DSP_BITS, the sum of two such registers.
    Without, the last one or two of the adders are behind the register; with `pipelined` there is a
    register more behind the first adders: the result comes a clock later, and a stays for it.
    b_recoded, added: without `dsp` only; recoded(b), where that is there already; and (place,
    number), of the clock of `a`: the result is a·b + number·2^place, the register is behind the
    first adders, and the other two or so behind it.

    In logic b is cut into base-4 digits −1, 0, 1 and 2: a digit's part of the product is then
    one four-input LUT per bit of a, and so is its addition.
    Cost: about (bits of a + 2)·(bits of b + 1) LUTs.
    """
    exact = a * b
    result = Signal.like(exact, reset_less=True)
    if dsp:
        # Without a reset they can be the multiplier's own registers.
        later = Signal.like(b, reset_less=True)
        if len(a) <= DSP_BITS:
            with m.If(enable):
                m.d.sync += [later.eq(b), result.eq(a * later)]
            return result
        # Two blocks: the sum of the two products is behind the register.
        cut = LOW_BITS
        a_low, a_high = a[:cut], as_signed(a)[cut:].as_signed()
        low, high = (
            Signal.like(part * b, reset_less=True, name=name)
            for part, name in ((a_low, "low"), (a_high, "high"))
        )
        with m.If(enable):
            m.d.sync += [
                later.eq(b),
                low.eq(a_low * later),
                high.eq(a_high * later),
            ]
        m.d.comb += result.eq(low + (high << cut))
        return result

    x, signed_b = as_signed(a), b.shape().signed
    bits = len(b) - signed_b  # the sign bit has a term of its own
    digits = -(-bits // 2)
    code, minus = Signal(2 * digits + 1), Signal()
    with m.If(enable):
        m.d.sync += [
            code.eq(recoded(b[:bits]) if b_recoded is None else b_recoded),
            minus.eq(b[-1]),
        ]
    terms = []
    for k in range(digits):
        low, high = code[2 * k], code[2 * k + 1]
        double, inverse = Cat(0, x).as_signed(), ~x
        term = Mux(high, Mux(low, double, x), Mux(low, 0, inverse))
        # −x is the inverse plus 1.  The top digit of an odd number of bits is never −1.
        ones = [] if 2 * k + 1 == bits else [(2 * k, ~low & ~high)]
        terms.append((2 * k, term, ones))
    if bits % 2 == 0:
        terms.append((bits, Mux(code[bits], x, 0), []))

    if pipelined:
        assert len(terms) > 2
        terms = [_registered(m, enable, *term) for term in _sums(m, terms)]
        with m.If(enable):
            later_minus = Signal()
            m.d.sync += later_minus.eq(minus)
        minus = later_minus
    if added is not None:
        assert not signed_b
        assert not pipelined
        terms = sorted((*_sums(m, terms), (*added, [])), key=lambda term: term[0])
        terms = [_registered(m, enable, *term) for term in terms]
        while len(terms) > 1:
            terms = _sums(m, terms)
        return terms[0][1]
    while len(terms) > 2:
        terms = _sums(m, terms)
    registered = [_registered(m, enable, *term) for term in terms]
    _, total, _ = registered[0] if len(registered) == 1 else _sum(m, *registered)
    if signed_b:
        negative, minus_x = Signal(), Signal.like(x)
        with m.If(enable):
            m.d.sync += [negative.eq(minus), minus_x.eq(Mux(minus, ~x, 0))]
        upper = Cat(1, total[bits:]).as_signed() + Cat(negative, minus_x).as_signed()
        total = Cat(total[:bits], upper[1:]).as_signed()
    m.d.comb += result.eq(total)
    return result


def _sums(m: Module, terms: list) -> list:
    """Half as many terms: each the sum of two neighbours."""
    pairs = [_sum(m, *terms[k : k + 2]) for k in range(0, len(terms) - 1, 2)]
    return pairs + terms[2 * len(pairs) :]


def _registered(m: Module, enable, at: int, term, ones: list) -> tuple:
    """A term in registers."""
    register, carried = Signal.like(term), [(k, Signal(name="one")) for k, _ in ones]
    with m.If(enable):
        m.d.sync += register.eq(term)
        m.d.sync += [to.eq(one) for (_, to), (_, one) in zip(carried, ones, strict=True)]
    return at, register, carried


def _sum(m: Module, low, high):
    """The sum of two terms (place, value, ones to add), `high` at the higher place.

    The ones that belong to `low` take the places that `high` leaves free: no further adder.
    """
    (at, a, ones), (above, b, later) = low, high
    free = {place - at: one for place, one in ones}
    assert all(place < above - at for place in free)
    # Cutting off bits to which nothing is added also keeps Yosys from adding three terms in one
    # go, which takes more LUTs than two adders.
    cut = min(free, default=above - at)
    filled = Cat(*(free.get(k, Const(0, 1)) for k in range(cut, above - at)), b).as_signed()
    upper = a[cut:].as_signed() + filled
    total = Signal(signed(cut + len(upper)))
    m.d.comb += total.eq(Cat(a[:cut], upper))
    return at, total, later
