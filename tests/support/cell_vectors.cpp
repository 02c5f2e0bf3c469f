// Drives a Verilog module top(clk, i, o): every line of standard input is a value of i in
// hexadecimal, every line of standard output is o behind the rising edge that follows.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "Vtop.h"
#include "board.h"  // BYTES_IN and BYTES_OUT, of the ports as Verilator keeps them

int main() {
    Vtop top;
    static_assert(sizeof top.i >= BYTES_IN && sizeof top.o >= BYTES_OUT, "ports hold the vectors");
    auto *in = reinterpret_cast<uint8_t *>(&top.i);
    auto *out = reinterpret_cast<uint8_t *>(&top.o);
    char line[2 * BYTES_IN + 8];
    top.clk = 0;
    top.eval();
    while (std::fgets(line, sizeof line, stdin)) {
        for (int k = 0; k < BYTES_IN; ++k) {
            const char digits[] = {line[2 * (BYTES_IN - 1 - k)], line[2 * (BYTES_IN - 1 - k) + 1], 0};
            in[k] = uint8_t(std::strtoul(digits, nullptr, 16));
        }
        top.clk = 0;
        top.eval();
        top.clk = 1;
        top.eval();
        for (int k = BYTES_OUT - 1; k >= 0; --k) std::printf("%02x", out[k]);
        std::printf("\n");
    }
    return 0;
}
