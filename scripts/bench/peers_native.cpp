// Multiplexed gradient descent in float32 on one core, as fast as plain C++ gets: the baseline
// that `mgd bench peers` holds a core against.
//
// A vector holds one weight of LANES neighbouring nodes, so that sums, signs and updates need no
// horizontal adds.  Layer 1 is computed once for both passes, as in the core.  Nothing is
// allocated while training.  Sign bits come from eight xorshift64 generators side by side
// (Marsaglia 2003) and are used bit by bit.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int LANES = 16;
constexpr int STREAMS = 8;
typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint64_t Random __attribute__((vector_size(8 * STREAMS)));
typedef uint16_t Signs __attribute__((may_alias));  // written as Random, read as these

enum Activation { TANH, RELU, IDENTITY };

constexpr Bits TO_TOP = {31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16};

inline Vec splat(float value) { return Vec{} + value; }

inline Vec choose(Ints condition, Vec yes, Vec no) {
    return (Vec)(((Ints)yes & condition) | ((Ints)no & ~condition));
}

/// `value` with lane k negated where bit k of `bits` is 1.
inline Vec with_signs(Vec value, uint16_t bits) {
    Bits top = (Bits{} + uint32_t(bits)) << TO_TOP;
    return (Vec)((Bits)value ^ (top & 0x80000000u));
}

inline float sum(Vec value) {
    float part[LANES];
    std::memcpy(part, &value, sizeof part);
    for (int width = LANES / 2; width; width /= 2)
        for (int k = 0; k < width; k++) part[k] += part[k + width];
    return part[0];
}

inline float highest(Vec value) {
    float part[LANES];
    std::memcpy(part, &value, sizeof part);
    for (int width = LANES / 2; width; width /= 2)
        for (int k = 0; k < width; k++)
            part[k] = part[k] > part[k + width] ? part[k] : part[k + width];
    return part[0];
}

/// 2^x to about 2e-7, |x| limited to 126: a polynomial on [-1/2, 1/2] and the exponent's bits.
inline Vec exp2_of(Vec x) {
    x = choose(x < -126.0f, splat(-126.0f), choose(x > 126.0f, splat(126.0f), x));
    Ints whole = __builtin_convertvector(x + 256.5f, Ints) - 256;
    Vec f = x - __builtin_convertvector(whole, Vec);
    Vec y = splat(1.5403530e-4f);  // ln(2)^k / k!, k = 6 ... 0
    y = y * f + 1.3333558e-3f;
    y = y * f + 9.6181291e-3f;
    y = y * f + 5.5504109e-2f;
    y = y * f + 2.4022651e-1f;
    y = y * f + 6.9314718e-1f;
    y = y * f + 1.0f;
    return y * (Vec)((whole + 127) << 23);
}

inline Vec activate(int kind, Vec z) {
    if (kind == IDENTITY) return z;
    if (kind == RELU) return choose(z > 0.0f, z, Vec{});
    return 1.0f - 2.0f / (exp2_of(z * 2.8853901f) + 1.0f);  // 2 / ln(2)
}

struct Layer {
    int rows;    // inputs and the bias
    int blocks;  // of LANES nodes; those beyond the last node are never read
    int nodes;
    Vec* weights;       // [block][row]
    Signs* signs;       // [block] for node perturbation, [block][row] for weight perturbation
    const float* in[2];  // inputs of the + and the - pass, the last of them 1
};

/// W·x of one block of nodes and, if PERTURB, the same with signs in place of the weights.
template <bool PERTURB>
inline void sums(const float* x, const Vec* weights, const Signs* signs, int rows, Vec& total,
                 Vec& perturbation) {
    Vec a[4] = {}, p[4] = {};
    int row = 0;
    for (; row + 4 <= rows; row += 4)
        for (int k = 0; k < 4; k++) {  // four chains, or the adder's latency would be the speed
            a[k] += weights[row + k] * x[row + k];
            if (PERTURB) p[k] += with_signs(splat(x[row + k]), signs[row + k]);
        }
    for (; row < rows; row++) {
        a[0] += weights[row] * x[row];
        if (PERTURB) p[0] += with_signs(splat(x[row]), signs[row]);
    }
    total = (a[0] + a[1]) + (a[2] + a[3]);
    if (PERTURB) perturbation = (p[0] + p[1]) + (p[2] + p[3]);
}

struct Job {
    int depth;
    const int* sizes;  // nodes per layer, inputs first
    int hidden, output;
    bool cross_entropy;
    float target_low, target_high;
    float delta, rate;  // the perturbation; the factor of (C+ - C-) in an update
    int samples, tau_p;
    const float* x;  // [sample][input, and 1 for the bias]
    const int* labels;
};

template <bool NODES>
void train(const Job& job, long first, long steps, float* packed, uint64_t* seeds) {
    std::vector<Layer> layers(job.depth);
    size_t weight_count = 0, sign_count = 0, node_count = 0;
    for (int l = 0; l < job.depth; l++) {
        Layer& layer = layers[l];
        layer.rows = job.sizes[l] + 1;
        layer.nodes = job.sizes[l + 1];
        layer.blocks = (layer.nodes + LANES - 1) / LANES;
        weight_count += size_t(layer.blocks) * layer.rows;
        sign_count += size_t(layer.blocks) * (NODES ? 1 : layer.rows);
        node_count += size_t(layer.blocks) + 1;
    }
    const size_t draws = (sign_count * LANES + 64 * STREAMS - 1) / (64 * STREAMS);
    std::vector<Vec> weights(weight_count), values(2 * node_count);
    std::vector<Random> random(draws);
    std::memcpy(weights.data(), packed, weight_count * sizeof(Vec));
    Random state;
    std::memcpy(&state, seeds, sizeof state);

    Vec* w = weights.data();
    Signs* s = reinterpret_cast<Signs*>(random.data());
    Vec* v = values.data();
    std::vector<Vec*> out[2] = {std::vector<Vec*>(job.depth), std::vector<Vec*>(job.depth)};
    for (int l = 0; l < job.depth; l++) {
        Layer& layer = layers[l];
        layer.weights = w, w += size_t(layer.blocks) * layer.rows;
        layer.signs = s, s += size_t(layer.blocks) * (NODES ? 1 : layer.rows);
        for (int pass = 0; pass < 2; pass++) {
            out[pass][l] = v, v += layer.blocks + 1;
            if (l + 1 < job.depth)
                layers[l + 1].in[pass] = reinterpret_cast<const float*>(out[pass][l]);
        }
    }
    const int last = job.depth - 1;
    const Vec delta = splat(job.delta);

    for (long step = first; step < first + steps; step++) {
        for (size_t n = 0; n < draws && (step - first) % job.tau_p == 0; n++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            random[n] = state;
        }
        const int sample = int(step % job.samples);
        layers[0].in[0] = layers[0].in[1] = job.x + size_t(sample) * layers[0].rows;

        for (int l = 0; l < job.depth; l++) {
            const Layer& layer = layers[l];
            const int kind = l < last ? job.hidden : job.cross_entropy ? IDENTITY : job.output;
            for (int b = 0; b < layer.blocks; b++) {
                const Vec* row = layer.weights + size_t(b) * layer.rows;
                const Signs* bits = layer.signs + size_t(b) * (NODES ? 1 : layer.rows);
                Vec total[2], extra[2];
                sums<!NODES>(layer.in[0], row, bits, layer.rows, total[0], extra[0]);
                if (l) {
                    sums<!NODES>(layer.in[1], row, bits, layer.rows, total[1], extra[1]);
                } else {
                    total[1] = total[0], extra[1] = extra[0];
                }
                if (NODES) {
                    extra[0] = extra[1] = with_signs(delta, bits[0]);
                } else {
                    extra[0] *= delta, extra[1] *= delta;
                }
                out[0][l][b] = activate(kind, total[0] + extra[0]);
                out[1][l][b] = activate(kind, total[1] - extra[1]);
            }
            for (int pass = 0; pass < 2; pass++)
                reinterpret_cast<float*>(out[pass][l])[layer.nodes] = 1.0f;  // the bias input
        }

        const int nodes = layers[last].nodes, label = job.labels[sample];
        const float* plus = reinterpret_cast<const float*>(out[0][last]);
        const float* minus = reinterpret_cast<const float*>(out[1][last]);
        float change = 0.0f;
        Ints lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        if (job.cross_entropy) {
            // Both passes are shifted by the same number: it drops out of the difference.
            Vec top = splat(-1e30f);
            for (int b = 0; b < layers[last].blocks; b++) {
                Vec z = out[0][last][b];
                top = choose((lane + b * LANES < nodes) & (z > top), z, top);
            }
            const float shift = highest(top);
            Vec total[2] = {};
            for (int b = 0; b < layers[last].blocks; b++)
                for (int pass = 0; pass < 2; pass++)
                    total[pass] += choose(lane + b * LANES < nodes,
                                          exp2_of(out[pass][last][b] - shift), Vec{});
            change = std::log2(sum(total[0]) / sum(total[1])) - (plus[label] - minus[label]);
        } else {
            const int hit = nodes == 1 ? label - 1 : label;
            for (int n = 0; n < nodes; n++) {
                const float target = n == hit ? job.target_high : job.target_low;
                change += (plus[n] - minus[n]) * (plus[n] + minus[n] - 2.0f * target);
            }
        }

        const Vec share = splat(change * job.rate);
        for (int l = 0; l < job.depth; l++) {
            const Layer& layer = layers[l];
            for (int b = 0; b < layer.blocks; b++) {
                Vec* row = layer.weights + size_t(b) * layer.rows;
                if (NODES) {
                    const Vec mine = with_signs(share, layer.signs[b]);
                    for (int j = 0; j < layer.rows; j++) row[j] -= mine * layer.in[0][j];
                } else {
                    const Signs* bits = layer.signs + size_t(b) * layer.rows;
                    for (int j = 0; j < layer.rows; j++) row[j] -= with_signs(share, bits[j]);
                }
            }
        }
    }
    std::memcpy(packed, weights.data(), weight_count * sizeof(Vec));
    std::memcpy(seeds, &state, sizeof state);
}

}  // namespace

/// Steps `first` to `first + steps - 1`, with new signs in the first and every tau_p behind.  weights: per layer [block of 16 nodes][input, bias][16].
/// seeds: eight words, none of them 0; weights and seeds are written back.
extern "C" void mgd_train(int depth, const int* sizes, int nodes, int hidden, int output,
                          int cross_entropy, float target_low, float target_high, float delta,
                          float rate, int samples, int tau_p, const float* x, const int* labels,
                          long first, long steps, float* weights, uint64_t* seeds) {
    Job job{depth, sizes, hidden,  output, cross_entropy != 0, target_low, target_high,
            delta, rate,  samples, tau_p,  x,                  labels};
    if (nodes)
        train<true>(job, first, steps, weights, seeds);
    else
        train<false>(job, first, steps, weights, seeds);
}
