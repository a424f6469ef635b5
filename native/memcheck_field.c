/* Constant time, checked by valgrind: every input of every kernel is marked undefined, and memcheck complains about each branch and
 * each address that depends on an undefined value.  Linked with the static libraries that the extension is linked with.
 *
 *   valgrind --error-exitcode=9 memcheck_field TABLE       must be silent
 *   valgrind --error-exitcode=9 memcheck_field control     must complain: a kernel that branches on its input
 *
 * Results stay undefined: nothing here looks at them. */
#include "field.h"

#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

#define COUNT 203
#define SIDE 13

static uint64_t in[6][2 * COUNT], out[2 * COUNT];
static volatile uint64_t sink;

/* Fresh secrets, canonical in either field: the addresses are public, the contents are not. */
static void poison(void) {
    for (size_t k = 0; k < 6; k++) {
        for (size_t i = 0; i < 2 * COUNT; i++) in[k][i] = (i * 6 + k) * UINT64_C(0x0123456789abcdef) & ((UINT64_C(1) << 61) - 2);
        (void)VALGRIND_MAKE_MEM_UNDEFINED(in[k], sizeof in[k]);
    }
}

#define SECRET(call) \
    do {             \
        poison();    \
        call;        \
    } while (0)
#define KERNELS_OF_K                                                    \
    SECRET(field_k_mul(out, in[0], in[1], COUNT));                      \
    SECRET(field_k_gram4(out, in[0], in[1], in[2], in[3], COUNT / 4));  \
    SECRET(field_p_gram4(out, in[0], in[1], in[2], in[3], COUNT / 4));  \
    SECRET(field_p_first4(out, in[0], in[1], in[2], in[3], in[4], in[5], in[5], COUNT)); \
    SECRET(field_p_fold4(out, in[0], in[1], in[2], COUNT));             \
    SECRET(field_p_fold4(out, NULL, in[1], in[2], COUNT));              \
    SECRET(field_k_scale(out, in[0], in[1], COUNT));                    \
    SECRET(field_k_sum(out, in[0], COUNT));                             \
    SECRET(field_k_dot(out, in[0], in[1], COUNT));                      \
    SECRET(field_k_matmul(out, in[0], in[1], SIDE, SIDE, SIDE));        \
    SECRET(sink = field_k_mul_masked(out, MASKED, COUNT));              \
    SECRET(sink = field_k_dot_masked(out, MASKED, COUNT / 7, 7));       \
    SECRET(sink = field_k_matmul_masked(out, MASKED, SIDE, SIDE, SIDE)); \
    SECRET(field_bits_gram_k(out, in[0], in[1], in[2], in[3], in[4], in[5], in[5], COUNT / 8)); \
    SECRET(field_bits_fold_k(out, in[0], in[1], in[2], COUNT / 8));     \
    SECRET(field_bits_fold_k(out, NULL, in[1], in[2], COUNT / 8))
#define MASKED in[0], in[1], in[2], in[3], in[4], in[5]
#define PRIME(f)                                                                                      \
    SECRET(field_##f##_add(out, in[0], in[1], COUNT));                                                \
    SECRET(field_##f##_sub(out, in[0], in[1], COUNT));                                                \
    SECRET(field_##f##_neg(out, in[0], COUNT));                                                       \
    SECRET(field_##f##_mul(out, in[0], in[1], COUNT));                                                \
    SECRET(field_##f##_scale(out, in[0], in[1], COUNT));                                              \
    SECRET(field_##f##_sum(out, in[0], COUNT));                                                       \
    SECRET(field_##f##_dot(out, in[0], in[1], COUNT));                                                \
    SECRET(field_##f##_matmul(out, in[0], in[1], SIDE, SIDE, SIDE));                                  \
    SECRET(sink = field_##f##_sample(out, in[0], COUNT));                                             \
    SECRET(sink = field_##f##_is_canonical(in[0], COUNT));                                            \
    SECRET(sink = field_##f##_mul_masked(out, MASKED, COUNT));                                        \
    SECRET(sink = field_##f##_dot_masked(out, MASKED, 1, COUNT));                                     \
    SECRET(sink = field_##f##_dot_masked(out, MASKED, COUNT / 7, 7));                                 \
    SECRET(sink = field_##f##_matmul_masked(out, MASKED, SIDE, SIDE, SIDE));                          \
    SECRET(field_##f##_from_int64(out, (const int64_t *)in[0], COUNT));                               \
    SECRET(sink = field_##f##_to_int64((int64_t *)out, in[0], COUNT));                                \
    SECRET(sink = field_##f##_from_float64(out, (const double *)in[0], COUNT, 20));                   \
    SECRET(field_##f##_to_float64((double *)out, in[0], COUNT, 20))

/* What no kernel may do. */
static uint64_t branching(const uint64_t *a, size_t count) {
    uint64_t large = 0;
    for (size_t i = 0; i < count; i++) {
        if (a[i] > UINT64_C(1) << 60) sink = large++;
    }
    return large;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    if (strcmp(argv[1], "control") == 0) {
        SECRET(sink = branching(in[0], COUNT));
        return 0;
    }
    if (!field_force(argv[1])) {
        fprintf(stderr, "this machine does not run %s\n", argv[1]);
        return 3;
    }
    PRIME(p);
    PRIME(q);
    KERNELS_OF_K;
    SECRET(field_bits_xor(out, in[0], in[1], COUNT));
    SECRET(field_bits_and(out, in[0], in[1], COUNT));
    SECRET(field_bits_not(out, in[0], COUNT));
    SECRET(sink = field_bits_and_masked(out, MASKED, COUNT));
    static uint64_t planes[64 * (COUNT / 64 + 1)];
    SECRET(field_to_planes(planes, in[0], COUNT, 61));
    SECRET(field_from_planes(out, in[0], COUNT, 2));
    printf("%s: every kernel ran on undefined inputs\n", argv[1]);
    return 0;
}
