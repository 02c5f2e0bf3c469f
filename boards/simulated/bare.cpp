// A core and its sample memory in the tightest clock loop Verilator allows: no UART, no
// pseudo-terminal, nothing looked at. What the simulated board is measured against.
//
// usage: bare CLOCKS   trains that many clocks, prints the processor seconds they took

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "Vtop.h"
#include "board.h"  // SETTINGS (packed, 32-bit words), INIT, TRAIN: written by the build

static void tick(Vtop &top) {
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
}

static void send(Vtop &top, int code) {
    top.command = code;
    top.load = 1;
    tick(top);
    top.load = 0;
    tick(top);
    tick(top);
}

int main(int argc, char **argv) {
    uint64_t clocks = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1000000;
    Vtop top;
    static_assert(sizeof top.settings == sizeof SETTINGS, "settings are packed in 32-bit words");
    std::memcpy(&top.settings, SETTINGS, sizeof SETTINGS);
    tick(top);
    send(top, INIT);
    while (top.busy) tick(top);
    send(top, TRAIN);
    std::clock_t begin = std::clock();
    for (uint64_t clock = 0; clock < clocks; ++clock) tick(top);
    double seconds = double(std::clock() - begin) / CLOCKS_PER_SEC;
    if (!top.busy) {
        std::fprintf(stderr, "bare core: it stopped training\n");
        return 1;
    }
    std::printf("%.6f\n", seconds);
    top.final();
    return 0;
}
