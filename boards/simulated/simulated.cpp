// The simulated board: the top level that becomes a bitstream, and around it only what a real
// board has around it: a clock, a reset, and a serial adapter at the UART's pins. The adapter's
// other end is a pseudo-terminal, which a host opens like any serial port.
//
// The clock stands still while nothing happens (no byte on the wire, none waiting, the busy LED
// off), so that an idle board costs no processor time and counts no clocks.
//
// usage: board [TRACE_FILE] [+NAME=VALUE]...   prints the port's name, runs until standard input
// closes
//
// With TRACE_FILE, the probe's bits of every clock in which it has something to say are appended
// to it; mgd verify reads them. Without it the probe is not looked at. +NAME=VALUE is for the
// design's $value$plusargs. SIGUSR1 resets the board, as a loss of power does.

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <string>
#include <termios.h>
#include <unistd.h>

#include <verilated.h>

#include "Vtop.h"
#include "board.h"  // CLOCKS_PER_BIT, PROBE_WRITE, PROBE_COST, PROBE_DELTA: written by the build

namespace {

constexpr int kBitsPerByte = 10;
// A request of the longest kind, 250 weights that are written one after the other in some 25 clocks
// each, is executed and answered within this.
constexpr uint64_t kGraceClocks = 12288;
constexpr uint64_t kPollClocks = 512;

// Set by SIGUSR1: the board loses its power for a moment, the port stays.
volatile std::sig_atomic_t reset_asked = 0;

[[noreturn]] void fail(const char *what) {
    std::fprintf(stderr, "simulated board: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

// The adapter's transmitter: bytes from the pseudo-terminal to the rx pin.
struct ToBoard {
    uint8_t buffer[4096];
    size_t used = 0, filled = 0;
    unsigned frame = 0;
    int bits = 0, clocks = 0;

    bool empty() const { return used == filled; }
    bool idle() const { return bits == 0 && empty(); }

    int pin() {
        if (bits == 0) {
            if (empty()) return 1;
            frame = (1u << 9) | (unsigned(buffer[used++]) << 1);
            bits = kBitsPerByte;
            clocks = CLOCKS_PER_BIT;
        }
        int level = frame & 1;
        if (--clocks == 0) {
            clocks = CLOCKS_PER_BIT;
            frame >>= 1;
            --bits;
        }
        return level;
    }
};

// The adapter's receiver: the tx pin to bytes for the pseudo-terminal.
struct FromBoard {
    std::string bytes;
    unsigned frame = 0;
    int bits = 0, clocks = 0;

    bool idle() const { return bits == 0; }

    void pin(int level) {
        if (bits == 0) {
            if (level == 0) {
                bits = kBitsPerByte - 1;
                clocks = CLOCKS_PER_BIT + CLOCKS_PER_BIT / 2;
                frame = 0;
            }
            return;
        }
        if (--clocks != 0) return;
        clocks = CLOCKS_PER_BIT;
        frame |= unsigned(level) << (kBitsPerByte - 1 - bits);
        if (--bits == 0 && (frame >> 8 & 1)) bytes.push_back(char(frame & 0xff));
    }
};

int open_port() {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) fail("no pseudo-terminal");
    const char *name = ptsname(master);
    // Held open and raw: a master without a slave reads errors, and a cooked slave echoes.
    int slave = open(name, O_RDWR | O_NOCTTY);
    if (slave < 0) fail(name);
    termios mode;
    if (tcgetattr(slave, &mode) != 0) fail("tcgetattr");
    cfmakeraw(&mode);
    if (tcsetattr(slave, TCSANOW, &mode) != 0) fail("tcsetattr");
    if (fcntl(master, F_SETFL, O_NONBLOCK) != 0) fail("fcntl");
    std::printf("%s\n", name);
    std::fflush(stdout);
    return master;
}

void write_all(int port, std::string &bytes) {
    size_t done = 0;
    while (done < bytes.size()) {
        ssize_t n = write(port, bytes.data() + done, bytes.size() - done);
        if (n > 0) {
            done += size_t(n);
        } else if (errno == EAGAIN) {
            pollfd waiting[] = {{port, POLLOUT, 0}, {STDIN_FILENO, POLLIN, 0}};
            poll(waiting, 2, -1);
            if (waiting[1].revents) std::exit(0);
        } else if (errno != EINTR) {
            fail("write");
        }
    }
    bytes.clear();
}

// Bit `index` of a Verilator port of any width.
template <typename Port>
bool bit(const Port &port, int index) {
    const auto *bytes = reinterpret_cast<const uint8_t *>(&port);
    return bytes[index / 8] >> (index % 8) & 1;
}

}  // namespace

int main(int argc, char **argv) {
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGUSR1, [](int) { reset_asked = 1; });
    FILE *trace = nullptr;
    Verilated::commandArgs(argc, argv);
    bool traces = argc > 1 && argv[1][0] != '+';
    if (traces && !(trace = std::fopen(argv[1], "ab"))) fail(argv[1]);
    int port = open_port();

    auto top = std::make_unique<Vtop>();
    ToBoard to_board;
    FromBoard from_board;
    uint64_t clock = 0, active = 0;
    auto tick = [&] {
        top->clk = 0;
        top->eval();
        top->clk = 1;
        top->eval();
        ++clock;
        if (trace && (bit(top->probe, PROBE_WRITE) || bit(top->probe, PROBE_COST) ||
                      bit(top->probe, PROBE_DELTA))) {
            if (std::fwrite(&top->probe, sizeof top->probe, 1, trace) != 1) fail("trace");
        }
    };
    for (;;) {
        if (reset_asked) {
            reset_asked = 0;
            top->final();
            top = std::make_unique<Vtop>();
            from_board = FromBoard();
            active = clock;
        }
        if (to_board.idle() && from_board.idle()) {
            // Silence on the wire, as in most clocks: only a start bit can end it.
            top->rx = 1;
            int level = 1;
            for (uint64_t n = 0; n < kPollClocks && level; ++n) {
                tick();
                level = top->tx;
            }
            from_board.pin(level);
        } else {
            for (uint64_t n = 0; n < kPollClocks && !(to_board.idle() && from_board.idle()); ++n) {
                top->rx = to_board.pin();
                tick();
                from_board.pin(top->tx);
            }
            active = clock;
        }
        if (top->busy || !from_board.idle()) active = clock;
        if (!from_board.bytes.empty() && (from_board.idle() || from_board.bytes.size() > 1024)) {
            write_all(port, from_board.bytes);
        }
        if (!to_board.empty() || !from_board.idle()) continue;
        bool sleeps = clock - active >= kGraceClocks;
        if (sleeps && trace) std::fflush(trace);
        pollfd waiting[] = {{port, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        poll(waiting, 2, sleeps ? -1 : 0);
        if (waiting[1].revents) break;  // whoever started this board is gone
        if (waiting[0].revents & POLLIN) {
            ssize_t n = read(port, to_board.buffer, sizeof to_board.buffer);
            to_board.used = 0;
            to_board.filled = n > 0 ? size_t(n) : 0;
            if (n > 0) active = clock;
        }
    }
    top->final();
    if (trace) std::fclose(trace);
    return 0;
}
