// Read, check and run a plan. A plan that would access memory out of bounds is refused.
//
// A file holds a header of 64-bit words, tensors, steps and weights. plan.py writes the file and describes the layout.
#include "plan.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#ifndef _WIN32
#include <pthread.h>
#endif
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#else  // one thread
static int omp_get_num_procs() { return 1; }
static int omp_get_thread_num() { return 0; }
static int omp_get_num_threads() { return 1; }
#endif

#include "shapes.h"

namespace plan {

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
#endif
namespace plain {
extern const Kernels kernels;
}

}  // namespace plan

namespace {

using namespace plan;

// Kernels for the widest vectors of this processor, or for the vectors that MICRONET_PLAN_VECTORS names.
const Kernels &chosen_kernels() {
    const char *wanted = std::getenv("MICRONET_PLAN_VECTORS");
    const auto allowed = [=](const char *name) { return !wanted || !*wanted || !std::strcmp(wanted, name); };
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (allowed("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return avx512::kernels;
    if ((allowed("avx512") || allowed("avx2")) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return avx2::kernels;
#else
    (void)allowed;
#endif
    return plain::kernels;
}

// Threads share one image if it needs this many multiply-adds. Waking a thread takes as long as some millions of them.
// Most of its convolutions have at most MOST_THREADS groups.
constexpr int64_t WORTH_SHARING = 30000000;
constexpr int MOST_THREADS = 8;
constexpr char MAGIC[] = "MICRONET";
constexpr int64_t VERSION = 2, HEADER = 8, LARGEST = int64_t(1) << 24,
                  MEMORY = int64_t(1) << 30;
constexpr Kind OF_LINEAR[] = {FLOATS, HALVES, BYTES};  // indexed by the number in the step

struct Broken : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void require(bool holds, const char *what) {
    if (!holds) throw Broken(what);
}

constexpr std::align_val_t ALIGNMENT{WIDEST * sizeof(float)};

struct Release {
    void operator()(float *memory) const { ::operator delete[](memory, ALIGNMENT); }
};

// Zeros, aligned for the widest vector. The allocation has exactly the requested size, so that a sanitizer finds
// accesses beyond the end.
struct Memory {
    std::unique_ptr<float[], Release> data;

    explicit Memory(int64_t floats) : data(static_cast<float *>(::operator new[](floats * sizeof(float), ALIGNMENT))) {
        std::memset(data.get(), 0, floats * sizeof(float));
    }
    float *begin() const { return data.get(); }
};

struct Tensor {
    int64_t kind, offset, C, H, W;
    Map map(float *arena) const { return {arena + offset, C, H, W}; }
};

// Arguments of a step at run time.
struct Frame {
    float *arena, *scratch;
    const float *const *inputs;
    float *const *outputs;
    int64_t image;
    Share share;
};

typedef std::function<void(const Frame &)> Step;

// Barrier for threads. Steps take microseconds, so threads spin before they yield the processor.
struct Barrier {
    std::atomic<int> arrived{0};
    std::atomic<unsigned> round{0};

    void wait(int threads) {
        if (threads == 1) return;
        const unsigned now = round.load();
        if (arrived.fetch_add(1) + 1 == threads) {
            arrived.store(0);
            round.store(now + 1);
            return;
        }
        for (int looks = 0; round.load(std::memory_order_acquire) == now; ++looks)
            if (looks > 4096) std::this_thread::yield();
    }
};

Map map_or_none(const Tensor *tensor, float *arena) { return tensor ? tensor->map(arena) : Map{}; }
float *vector_or_none(const Tensor *tensor, float *arena) { return tensor ? arena + tensor->offset : nullptr; }

}  // namespace

struct micronet_plan {
    const Kernels &kernels = chosen_kernels();
    std::vector<Tensor> tensors;
    std::vector<int64_t> inputs, outputs;
    std::vector<bool> stored;  // whether a step writes each output
    std::vector<Step> steps;
    std::unique_ptr<Memory> weights;
    int64_t weight_floats = 0, arena_floats = 0, scratch_floats = 0;
    double work = 0;  // multiply-adds of convolutions, for one image
    std::vector<Memory> arenas, scratches;  // one arena per concurrent image, one scratch per thread

    // Allocate memory for this many concurrent images and threads.
    void reserve(int images, int threads) {
        while (int(arenas.size()) < images) arenas.emplace_back(arena_floats);
        while (int(scratches.size()) < threads) scratches.emplace_back(scratch_floats);
    }
};

namespace {

// Reads the words of one step in order, and checks each word.
struct Reader {
    micronet_plan &plan;
    const int64_t *word, *end;

    int64_t number(int64_t low, int64_t high) {
        require(word < end, "a step is too short");
        const int64_t value = *word++;
        require(low <= value && value <= high, "a number is out of range");
        return value;
    }
    float real() {
        require(word < end, "a step is too short");
        double value;
        std::memcpy(&value, word++, sizeof(value));
        return float(value);
    }
    Range range() {
        const float low = real();
        return {low, real()};
    }
    const Tensor *maybe(int64_t kind) {
        const int64_t index = number(-1, int64_t(plan.tensors.size()) - 1);
        if (index < 0) return nullptr;
        require(plan.tensors[index].kind == kind, "a step refers to a tensor of another kind");
        return &plan.tensors[index];
    }
    const Tensor &one(int64_t kind) {
        const Tensor *tensor = maybe(kind);
        require(tensor, "a step lacks a tensor");
        return *tensor;
    }
    const Tensor &map() { return one(MAP); }
    const Tensor &vector(int64_t count) {
        const Tensor &tensor = one(VECTOR);
        require(tensor.C == count, "a vector has another length than its step needs");
        return tensor;
    }
    const Tensor *maybe_vector(int64_t count) {
        const Tensor *tensor = maybe(VECTOR);
        require(!tensor || tensor->C == count, "a vector has another length than its step needs");
        return tensor;
    }
    const Tensor *maybe_like(const Tensor &other) {
        const Tensor *tensor = maybe(MAP);
        require(!tensor || (tensor->C == other.C && tensor->H == other.H && tensor->W == other.W),
                "what is added has another shape");
        return tensor;
    }
    const float *weights(Kind kind, int64_t count) {
        const Tensor &tensor = one(kind);
        require(tensor.C == count, "there are other numbers of weights than a step needs");
        return plan.weights->begin() + tensor.offset;
    }
    const float *floats(int64_t count) { return weights(FLOATS, count); }
    const int32_t *maybe_places(int64_t count, int64_t below) {
        const Tensor *tensor = maybe(INTS);
        if (!tensor) return nullptr;
        require(tensor->C == count, "there are other numbers of places than a step needs");
        const int32_t *places = reinterpret_cast<const int32_t *>(plan.weights->begin() + tensor->offset);
        for (int64_t i = 0; i < count; ++i) require(0 <= places[i] && places[i] < below, "a place is out of range");
        return places;
    }
    void works(const Tensor &map, int64_t inputs) { plan.work += double(map.C) * map.H * map.W * inputs; }
    void scratch(int64_t floats) {
        require(floats <= MEMORY, "a step needs too much memory");
        plan.scratch_floats = std::max(plan.scratch_floats, floats);
    }
};

// A map that is read directly or through Shift-Max.
struct SourceTensors {
    const Tensor *x, *a, *factor;
    Source source{};

    SourceTensors(Reader &reader, int64_t channels) {
        x = &reader.map();
        source.order = reader.maybe_places(channels, x->C);
        require(source.order || channels == x->C, "a map has other channels than its step needs");
        source.J = reader.number(0, 2), source.K = reader.number(0, 2);
        require((source.J == 0) == (source.K == 0), "Shift-Max has shifts without fusions");
        source.partner = reader.maybe_places(std::max<int64_t>(source.J - 1, 0) * x->C, x->C);
        a = reader.maybe_vector(source.K * source.J * x->C);
        require((source.J > 0) == (a != nullptr) && (source.J > 1) == (source.partner != nullptr),
                "Shift-Max lacks something");
        factor = reader.maybe(MAP);
        require(!factor || (factor->C == 1 && factor->H == x->H && factor->W == x->W), "factors have another shape");
    }

    Source at(float *arena) const {
        Source here = source;
        here.x = x->map(arena), here.a = vector_or_none(a, arena), here.factor = vector_or_none(factor, arena);
        return here;
    }
};

Pointwise read_pointwise(Reader &reader) {
    Pointwise conv;
    conv.groups = reader.number(1, LARGEST), conv.inputs = reader.number(1, LARGEST);
    conv.outputs = reader.number(1, LARGEST);
    require(conv.groups * conv.inputs <= LARGEST && conv.groups * conv.outputs <= LARGEST, "a convolution is too large");
    conv.w = reader.floats(conv.groups * conv.inputs * conv.outputs);
    conv.bias = reader.floats(conv.groups * conv.outputs);
    conv.range = reader.range();
    return conv;
}

Step read_load(Reader &reader) {
    const int64_t input = reader.number(0, int64_t(reader.plan.inputs.size()) - 1);
    const Tensor &y = reader.map();
    require(&y == &reader.plan.tensors[reader.plan.inputs[input]], "an input is loaded elsewhere");
    return [=, &y](const Frame &frame) {
        const Map map = y.map(frame.arena);
        const float *from = frame.inputs[input] + frame.image * map.C * map.size();
        for (int64_t c = frame.share.begin(map.C); c < frame.share.end(map.C); ++c)
            std::copy_n(from + c * map.size(), map.size(), map.plane(c));
    };
}

Step read_store(Reader &reader) {
    const int64_t output = reader.number(0, int64_t(reader.plan.outputs.size()) - 1);
    const Tensor &x = reader.plan.tensors[reader.plan.outputs[output]];
    reader.plan.stored[output] = true;
    const int64_t count = reader.number(x.C, x.C);
    const int32_t *order = reader.maybe_places(count, x.C);
    require(x.kind == MAP || !order, "a vector is stored in another order");
    return [=, &x](const Frame &frame) {
        const Map map = x.map(frame.arena);
        const int64_t size = map.size(), pitch = x.kind == MAP ? map.pitch() : 1;
        float *to = frame.outputs[output] + frame.image * map.C * size;
        for (int64_t c = frame.share.begin(map.C); c < frame.share.end(map.C); ++c)
            std::copy_n(map.data + (order ? order[c] : c) * pitch, size, to + c * size);
    };
}

Step read_stem(Reader &reader) {
    const int64_t input = reader.number(0, int64_t(reader.plan.inputs.size()) - 1);
    const Tensor &image = reader.plan.tensors[reader.plan.inputs[input]], &y = reader.map();
    Stem conv;
    conv.s1 = reader.number(1, LARGEST), conv.s2 = reader.number(1, LARGEST);
    require(conv.s1 * conv.s2 == y.C && y.H == (image.H + 1) / 2 && y.W == (image.W + 1) / 2,
            "the stem gives another shape");
    conv.scale = reader.floats(image.C), conv.shift = reader.floats(image.C);
    conv.vertical = reader.floats(conv.s1 * image.C * 3), conv.vertical_bias = reader.floats(conv.s1);
    conv.horizontal = reader.floats(y.C * 3), conv.horizontal_bias = reader.floats(y.C);
    conv.range = reader.range();
    reader.scratch(conv.scratch(image.C, image.W));
    return [=, &image, &y, &kernels = reader.plan.kernels](const Frame &frame) {
        kernels.stem(conv, frame.inputs[input] + frame.image * image.C * image.H * image.W, image.C, image.H, image.W,
             y.map(frame.arena), frame.scratch, frame.share);
    };
}

Step read_pointwise_step(Reader &reader) {
    const Pointwise conv = read_pointwise(reader);
    const SourceTensors source(reader, conv.groups * conv.inputs);
    const Tensor &y = reader.map(), *added = reader.maybe_like(y), *mean = reader.maybe_vector(y.C);
    require(y.C == conv.groups * conv.outputs && y.H == source.x->H && y.W == source.x->W,
            "a pointwise convolution gives another shape");
    reader.scratch(conv.scratch(y.H * y.W)), reader.works(y, conv.inputs);
    return [=, &y, &kernels = reader.plan.kernels](const Frame &frame) {
        kernels.pointwise(conv, source.at(frame.arena), y.map(frame.arena), map_or_none(added, frame.arena),
                          vector_or_none(mean, frame.arena), frame.scratch, frame.share);
    };
}

Step read_elementwise(Reader &reader) {
    const Tensor &y = reader.map();
    const SourceTensors source(reader, y.C);
    const Range range = reader.range();
    const Tensor *added = reader.maybe_like(y), *mean = reader.maybe_vector(y.C);
    require(y.H == source.x->H && y.W == source.x->W, "a step gives another shape");
    return [=, &y, &kernels = reader.plan.kernels](const Frame &frame) {
        kernels.elementwise(source.at(frame.arena), range, y.map(frame.arena), map_or_none(added, frame.arena),
                            vector_or_none(mean, frame.arena), frame.share);
    };
}

Step read_lines(Reader &reader) {
    const Tensor &x = reader.map();
    Pointwise expand{};  // no inputs means no expansion
    const bool expands = reader.number(0, 1);
    if (expands) expand = read_pointwise(reader);
    const int64_t read = expands ? expand.groups * expand.inputs : x.C;
    const int64_t C = expands ? expand.groups * expand.outputs : x.C;
    const int32_t *order = reader.maybe_places(read, x.C);
    require(order || read == x.C, "a map has other channels than its step needs");
    Lines conv;
    conv.C = C;
    conv.M1 = reader.number(1, LARGEST), conv.M2 = reader.number(1, LARGEST);
    conv.k = reader.number(3, 7), conv.stride = reader.number(1, 2);
    require(conv.k % 2 && C * conv.M1 <= LARGEST, "there is no code for a kernel of this size");
    const Tensor &y = reader.map();
    require(y.C == conv.M2 * conv.M1 * C && y.H == (x.H + conv.stride - 1) / conv.stride &&
                y.W == (x.W + conv.stride - 1) / conv.stride,
            "a depthwise convolution gives another shape");
    conv.vertical = reader.floats(conv.M1 * C * conv.k), conv.vertical_bias = reader.floats(conv.M1 * C);
    conv.horizontal = reader.floats(y.C * conv.k), conv.horizontal_bias = reader.floats(y.C);
    conv.range = reader.range();
    const Tensor *mean = reader.maybe_vector(y.C);
    reader.works(y, 2 * conv.k + expand.inputs * conv.stride * conv.stride);
    const Map shape{nullptr, x.C, x.H, x.W};
    const auto source = [=, &x](const Frame &frame) { return Source{x.map(frame.arena), order, nullptr, nullptr, nullptr, 0, 0}; };
    if (!expands) {
        reader.scratch(conv.scratch(shape));
        return [=, &y, &kernels = reader.plan.kernels](const Frame &frame) {
            kernels.lines(conv, source(frame), y.map(frame.arena), vector_or_none(mean, frame.arena), frame.scratch,
                          frame.share);
        };
    }
    require(expand.outputs >= WIDEST && conv.M1 == 1 && conv.M2 == 1, "there is no code for an expansion of this shape");
    reader.scratch(conv.scratch(shape, expand));
    return [=, &y, &kernels = reader.plan.kernels](const Frame &frame) {
        kernels.expanded_lines(conv, expand, source(frame), y.map(frame.arena), vector_or_none(mean, frame.arena),
                               frame.scratch, frame.share);
    };
}

Axis read_axis(Reader &reader) {
    const int64_t k = reader.number(1, 7), stride = reader.number(1, 2);
    return {k, stride, reader.number(0, LARGEST)};
}

Step read_convolution(Reader &reader) {
    Convolution conv;
    conv.rows = read_axis(reader), conv.columns = read_axis(reader);
    conv.groups = reader.number(1, LARGEST), conv.inputs = reader.number(1, LARGEST);
    conv.outputs = reader.number(1, LARGEST);
    require(conv.groups * conv.inputs <= LARGEST && conv.groups * conv.outputs <= LARGEST, "a convolution is too large");
    conv.w = reader.floats(conv.groups * conv.outputs * conv.inputs * conv.rows.k * conv.columns.k);
    conv.bias = reader.floats(conv.groups * conv.outputs);
    conv.range = reader.range();
    const Tensor &x = reader.map();
    const int32_t *order = reader.maybe_places(conv.groups * conv.inputs, x.C);
    require(order || conv.groups * conv.inputs == x.C, "a map has other channels than its step needs");
    const Tensor &y = reader.map(), *added = reader.maybe_like(y);
    require(y.C == conv.groups * conv.outputs, "a convolution gives another shape");
    reader.scratch(conv.scratch(Map{nullptr, x.C, x.H, x.W}, Map{nullptr, y.C, y.H, y.W}));
    reader.works(y, conv.inputs * conv.rows.k * conv.columns.k);
    return [=, &x, &y, &kernels = reader.plan.kernels](const Frame &frame) {
        kernels.convolution(conv, x.map(frame.arena), order, y.map(frame.arena), map_or_none(added, frame.arena),
                            frame.scratch, frame.share);
    };
}

Step read_pool(Reader &reader) {
    const Tensor &x = reader.map(), &y = reader.vector(x.C);
    const Range range = reader.range();
    const bool swish = reader.number(0, 1);
    return [=, &x, &y, &kernels = reader.plan.kernels](const Frame &frame) {
        kernels.pool(x.map(frame.arena), range, swish, frame.arena + y.offset, frame.share);
    };
}

Step read_linear(Reader &reader) {
    const Tensor &x = reader.one(VECTOR), &y = reader.one(VECTOR);
    const int64_t padded = rounded(y.C, TILE);
    Linear layer{};
    layer.inputs = x.C, layer.outputs = y.C;
    layer.kind = OF_LINEAR[reader.number(0, int64_t(std::size(OF_LINEAR)) - 1)];
    layer.w = reader.weights(layer.kind, padded * x.C);
    if (layer.kind == BYTES) layer.scale = reader.floats(padded);
    layer.bias = reader.floats(padded);
    layer.swish = reader.number(0, 1);
    layer.range = reader.range();
    if (reader.number(0, 1)) layer.start = reader.floats(padded);
    require(x.offset != y.offset, "a linear layer overwrites its input");
    return [=, &x, &y, &kernels = reader.plan.kernels](const Frame &frame) {
        kernels.linear(layer, frame.arena + x.offset, frame.arena + y.offset, frame.share);
    };
}

Step read_attend(Reader &reader) {
    const Tensor &x = reader.map(), &y = reader.map();
    const float temperature = reader.real();
    require(x.C == 1 && y.C == 1 && y.H == x.H && y.W == x.W, "attention is of one channel");
    return [=, &x, &y, &kernels = reader.plan.kernels](const Frame &frame) {
        kernels.attend(x.map(frame.arena), temperature, frame.arena + y.offset, frame.share);
    };
}

Step read_doubled(Reader &reader) {
    const Tensor &x = reader.map(), &y = reader.map();
    const bool smooth = reader.number(0, 1);
    require(y.C == x.C && y.H == 2 * x.H && y.W == 2 * x.W, "an enlargement gives another shape");
    reader.scratch(rounded(x.W, WIDEST) + 2 * WIDEST);
    return [=, &x, &y, &kernels = reader.plan.kernels](const Frame &frame) {
        kernels.doubled(x.map(frame.arena), smooth, y.map(frame.arena), frame.scratch, frame.share);
    };
}

Step read_picked(Reader &reader) {
    const Tensor &x = reader.map(), &y = reader.map();
    const int32_t *rows = reader.maybe_places(y.H, x.H), *columns = reader.maybe_places(y.W, x.W);
    require(y.C == x.C && rows && columns, "a step lacks places");
    return [=, &x, &y, &kernels = reader.plan.kernels](const Frame &frame) {
        kernels.picked(x.map(frame.arena), rows, columns, y.map(frame.arena), frame.share);
    };
}

typedef Step (*ReadStep)(Reader &);
const ReadStep READ[] = {read_load,        read_store, read_stem,   read_pointwise_step, read_elementwise, read_lines,
                         read_pool,        read_linear, read_attend, read_doubled,        read_convolution, read_picked};

// Number of floats that a tensor occupies.
int64_t floats_of(const Tensor &tensor) {
    return tensor.kind == MAP      ? tensor.C * pitch_of(tensor.H, tensor.W)
           : tensor.kind == VECTOR ? rounded(tensor.C, TILE)
           : tensor.kind == HALVES ? (tensor.C + 1) / 2
           : tensor.kind == BYTES  ? (tensor.C + 3) / 4
                                   : tensor.C;
}

void check(const Tensor &tensor, const micronet_plan &plan) {
    require(MAP <= tensor.kind && tensor.kind <= BYTES, "a tensor is of no known kind");
    for (int64_t size : {tensor.C, tensor.H, tensor.W}) require(0 < size && size <= LARGEST, "a tensor has no sensible shape");
    require(tensor.H <= LARGEST / tensor.W && tensor.C <= (int64_t(1) << 40) / (tensor.H * tensor.W + 2 * WIDEST),
            "a tensor is too large");
    require(tensor.kind == MAP || (tensor.H == 1 && tensor.W == 1), "a vector has rows");
    const int64_t floats = floats_of(tensor);
    const int64_t memory = tensor.kind <= VECTOR ? plan.arena_floats : plan.weight_floats;
    require(tensor.offset >= 0 && tensor.offset % WIDEST == 0 && tensor.offset <= memory && floats <= memory - tensor.offset,
            "a tensor lies outside the memory");
}

void read_plan(const char *content, size_t bytes, micronet_plan &plan) {
    require(bytes >= 8 && !std::memcmp(content, MAGIC, 8), "it does not begin as a plan does");
    const int64_t available = int64_t((bytes - 8) / 8);
    require(available >= HEADER, "it is cut off");
    std::vector<int64_t> words(HEADER);
    std::memcpy(words.data(), content + 8, HEADER * 8);
    require(words[0] == VERSION, "it is of another version");
    const int64_t total = words[1];
    require(HEADER <= total && total <= available, "it is cut off");
    words.resize(total);
    std::memcpy(words.data(), content + 8, total * 8);
    plan.arena_floats = words[2], plan.weight_floats = words[3];
    require(0 <= plan.arena_floats && plan.arena_floats <= MEMORY, "its memory has no sensible size");
    require(0 <= plan.weight_floats && plan.weight_floats <= int64_t(bytes - 8 - total * 8) / 4, "it is cut off");
    plan.weights = std::make_unique<Memory>(plan.weight_floats);
    std::memcpy(plan.weights->begin(), content + 8 + total * 8, plan.weight_floats * 4);

    const int64_t *word = words.data() + HEADER, *const end = words.data() + total;
    const auto take = [&](int64_t count) {
        require(0 <= count && count <= end - word, "it is cut off");
        word += count;
        return word - count;
    };
    require(0 <= words[4] && words[4] <= total, "it is cut off");
    for (int64_t i = 0; i < words[4]; ++i) {
        const int64_t *given = take(5);
        plan.tensors.push_back({given[0], given[1], given[2], given[3], given[4]});
        check(plan.tensors.back(), plan);
    }
    for (auto [list, count] : {std::pair{&plan.inputs, words[5]}, std::pair{&plan.outputs, words[6]}}) {
        require(0 <= count && count <= 1024, "it has too many inputs or outputs");
        for (const int64_t *given = take(count); count > 0; --count, ++given) {
            require(0 <= *given && *given < int64_t(plan.tensors.size()) && plan.tensors[*given].kind <= VECTOR,
                    "an input or output is no tensor");
            list->push_back(*given);
        }
    }
    int64_t needed = 0;
    for (const Tensor &tensor : plan.tensors)
        if (tensor.kind <= VECTOR) needed = std::max(needed, tensor.offset + floats_of(tensor));
    require(plan.arena_floats == needed, "its memory is not what its tensors need");
    plan.stored.resize(plan.outputs.size());
    while (word < end) {
        const int64_t *given = take(2), op = given[0];
        require(0 <= op && op < int64_t(std::size(READ)), "there is no code for one of its steps");
        const int64_t *arguments = take(given[1]);
        Reader reader{plan, arguments, arguments + given[1]};
        plan.steps.push_back(READ[op](reader));
        require(reader.word == reader.end, "a step is too long");
    }
    for (const bool stored : plan.stored) require(stored, "an output is not written");
    plan.reserve(1, 1);
}

int shape_of(const micronet_plan *plan, const std::vector<int64_t> &list, int i, int64_t shape[3]) {
    if (i < 0 || i >= int(list.size())) return 0;
    const Tensor &tensor = plan->tensors[list[i]];
    shape[0] = tensor.C, shape[1] = tensor.H, shape[2] = tensor.W;
    return 1;
}

}  // namespace

extern "C" micronet_plan *micronet_plan_open(const void *content, size_t bytes, char error[256]) {
    try {
        auto plan = std::make_unique<micronet_plan>();
        read_plan(static_cast<const char *>(content), bytes, *plan);
        return plan.release();
    } catch (const std::bad_alloc &) {
        std::snprintf(error, 256, "there is not enough memory");
    } catch (const std::exception &broken) {
        std::snprintf(error, 256, "%s", broken.what());
    }
    return nullptr;
}

extern "C" int micronet_plan_input(const micronet_plan *plan, int i, int64_t shape[3]) {
    return shape_of(plan, plan->inputs, i, shape);
}

extern "C" int micronet_plan_output(const micronet_plan *plan, int i, int64_t shape[3]) {
    return shape_of(plan, plan->outputs, i, shape);
}

// A forked process does not have OpenMP's threads. A parallel region would wait for these threads forever.
static bool forked = false;
#ifndef _WIN32
[[maybe_unused]] static const int at_fork = pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif

extern "C" void micronet_plan_run(micronet_plan *plan, const float *const *inputs, float *const *outputs, int64_t batch,
                                  int threads) {
    // Each thread runs a different image, or all threads share one image at a time.
    const bool shared = batch < threads && plan->work >= WORTH_SHARING;
    const int64_t most = shared ? std::min(MOST_THREADS, omp_get_num_procs()) : batch;
    int used = forked ? 1 : int(std::max<int64_t>(1, std::min<int64_t>(threads, most)));
    try {
        plan->reserve(shared ? 1 : used, used);
    } catch (const std::bad_alloc &) {
        used = 1;  // read_plan reserved memory for one thread
    }
    Barrier barrier;
#pragma omp parallel num_threads(used) if (used > 1)
    {
        const int thread = omp_get_thread_num(), count = omp_get_num_threads();
        const Share share = shared ? Share{thread, count} : Share{0, 1};
        float *const arena = plan->arenas[shared ? 0 : thread].begin(), *const scratch = plan->scratches[thread].begin();
        for (int64_t image = shared ? 0 : thread; image < batch; image += shared ? 1 : count)
            for (const Step &step : plan->steps) {
                step(Frame{arena, scratch, inputs, outputs, image, share});
                barrier.wait(int(share.count));
            }
    }
}

extern "C" int micronet_plan_steps(const micronet_plan *plan) { return int(plan->steps.size()); }

extern "C" void micronet_plan_time(micronet_plan *plan, const float *const *inputs, float *const *outputs, double *seconds) {
    micronet_plan_run(plan, inputs, outputs, 1, 1);
    const Frame frame{plan->arenas[0].begin(), plan->scratches[0].begin(), inputs, outputs, 0, Share{0, 1}};
    for (const Step &step : plan->steps) {
        const auto begin = std::chrono::steady_clock::now();
        step(frame);
        *seconds++ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
}

// Whether words in memory still have these values. It detects changes of weights by other code.
extern "C" int micronet_words_equal(const uint32_t *const *places, const uint32_t *values, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (*places[i] != values[i]) return 0;
    return 1;
}

extern "C" void micronet_plan_close(micronet_plan *plan) { delete plan; }
