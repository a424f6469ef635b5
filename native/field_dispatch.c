/* Picks the kernel table once, when the library is loaded, and forwards the public functions to it.  See field.h. */
#include "field.h"

#include <stdatomic.h>
#include <string.h>

#define TABLES_MAX 3

static _Atomic(const struct field_kernels *) active = &field_portable;

/* The tables that this machine can run, best first; ends with NULL.  __builtin_cpu_supports also asks the system. */
static void runnable(const struct field_kernels *tables[TABLES_MAX + 1]) {
    size_t count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi") &&
        __builtin_cpu_supports("gfni") && __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("avx2")) {
        tables[count++] = &field_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul")) tables[count++] = &field_avx2;
#endif
    tables[count++] = &field_portable;
    tables[count] = NULL;
}

__attribute__((constructor)) static void pick(void) {
    const struct field_kernels *tables[TABLES_MAX + 1];
    runnable(tables);
    atomic_store_explicit(&active, tables[0], memory_order_relaxed);
}

static inline const struct field_kernels *kernels(void) { return atomic_load_explicit(&active, memory_order_relaxed); }

const char *field_active(void) { return kernels()->name; }

const char *field_available(size_t index) {
    const struct field_kernels *tables[TABLES_MAX + 1];
    runnable(tables);
    for (size_t i = 0; tables[i] != NULL; i++) {
        if (i == index) return tables[i]->name;
    }
    return NULL;
}

int field_force(const char *name) {
    const struct field_kernels *tables[TABLES_MAX + 1];
    runnable(tables);
    for (size_t i = 0; tables[i] != NULL; i++) {
        if (strcmp(tables[i]->name, name) == 0) {
            atomic_store_explicit(&active, tables[i], memory_order_relaxed);
            return 1;
        }
    }
    return 0;
}

#define UNARY(name, kernel) \
    void name(uint64_t *out, const uint64_t *a, size_t count) { kernels()->kernel(out, a, count); }
#define BINARY(name, kernel) \
    void name(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) { kernels()->kernel(out, a, b, count); }
#define PRODUCT(name, kernel)                                                                                            \
    void name(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns) {          \
        kernels()->kernel(out, a, b, rows, inner, columns);                                                              \
    }
#define COUNTING(name, kernel) \
    uint64_t name(uint64_t *out, const uint64_t *words, size_t count) { return kernels()->kernel(out, words, count); }
#define CHECKING(name, kernel) \
    uint64_t name(const uint64_t *a, size_t count) { return kernels()->kernel(a, count); }
#define MASKED(name, kernel)                                                                                             \
    uint64_t name(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,         \
                  const uint64_t *k0, const uint64_t *k1, size_t count) {                                                \
        return kernels()->kernel(out, x0, x1, y0, y1, k0, k1, count);                                                    \
    }
#define MASKED_GROUPS(name, kernel)                                                                                      \
    uint64_t name(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,         \
                  const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length) {                                \
        return kernels()->kernel(out, x0, x1, y0, y1, k0, k1, groups, length);                                           \
    }
#define MASKED_PRODUCT(name, kernel)                                                                                     \
    uint64_t name(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,         \
                  const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns) {                   \
        return kernels()->kernel(out, x0, x1, y0, y1, k0, k1, rows, inner, columns);                                     \
    }
#define TRANSPOSE(name, kernel)                                                                                          \
    void name(uint64_t *out, const uint64_t *in, size_t count, size_t width) { kernels()->kernel(out, in, count, width); }
#define PRIME(f)                                        \
    BINARY(field_##f##_add, f.add)                      \
    BINARY(field_##f##_sub, f.sub)                      \
    BINARY(field_##f##_mul, f.mul)                      \
    UNARY(field_##f##_neg, f.neg)                       \
    BINARY(field_##f##_scale, f.scale)                  \
    UNARY(field_##f##_sum, f.sum)                       \
    BINARY(field_##f##_dot, f.dot)                      \
    PRODUCT(field_##f##_matmul, f.matmul)               \
    COUNTING(field_##f##_sample, f.sample)              \
    CHECKING(field_##f##_is_canonical, f.is_canonical)  \
    MASKED(field_##f##_mul_masked, f.mul_masked)        \
    MASKED_GROUPS(field_##f##_dot_masked, f.dot_masked) \
    MASKED_PRODUCT(field_##f##_matmul_masked, f.matmul_masked)

PRIME(p)
PRIME(q)
PRIME(k)

void field_p_gram4(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t chunks) {
    kernels()->p.gram4(out, x0, x1, y0, y1, chunks);
}

void field_p_first4(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                    const uint64_t *z0, const uint64_t *z1, size_t count) {
    kernels()->p.first4(out, alpha, x0, x1, y0, y1, z0, z1, count);
}

void field_p_fold4(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t count) {
    kernels()->p.fold4(out, alpha, weights, a, count);
}

void field_k_gram4(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t chunks) {
    kernels()->k.gram4(out, x0, x1, y0, y1, chunks);
}

void field_bits_gram_k(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
                       const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t words) {
    kernels()->bits_gram(out, alpha, x0, x1, y0, y1, z0, z1, words);
}

void field_bits_fold_k(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *a, size_t words) {
    kernels()->bits_fold(out, alpha, weights, a, words);
}

BINARY(field_bits_xor, bits_xor)
BINARY(field_bits_and, bits_and)
UNARY(field_bits_not, bits_not)
MASKED(field_bits_and_masked, bits_and_masked)
TRANSPOSE(field_to_planes, to_planes)
TRANSPOSE(field_from_planes, from_planes)
