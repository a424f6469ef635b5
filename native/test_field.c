/* C unit test of the kernels, made to run under AddressSanitizer and UndefinedBehaviorSanitizer: every kernel of every table that this
 * machine runs, on exactly sized heap blocks, against bit-by-bit arithmetic written here.  Prints one line per table; exits 1 on a
 * difference.  Property tests against the exact Python reference are in tests/unit/field. */
#include "field.h"
#include "field_arith.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX 150
static const size_t counts[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 128, 129, 150};
static int failures = 0;

static uint64_t state = 88172645463325252u;

/* xorshift64*: test data, not randomness. */
static uint64_t next(void) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(2685821657736338717);
}

static void expect(int same, const char *table, const char *kernel, size_t count) {
    if (same) return;
    fprintf(stderr, "FAIL %s %s, %zu elements\n", table, kernel, count);
    failures++;
}

/* ---- the meaning, one bit at a time; `bits` is 61 or 127 */

static u128 modulus(unsigned bits) { return (((u128)1) << bits) - 1; }

static u128 slow_add(u128 a, u128 b, unsigned bits) {
    u128 room = modulus(bits) - a;
    return b >= room ? b - room : a + b;
}

static u128 slow_neg(u128 a, unsigned bits) { return a == 0 ? 0 : modulus(bits) - a; }

static u128 slow_mul(u128 a, u128 b, unsigned bits) {
    u128 total = 0;
    for (unsigned k = bits; k-- > 0;) {
        total = slow_add(total, total, bits);
        if (b >> k & 1) total = slow_add(total, a, bits);
    }
    return total;
}

static u128 slow_sample(const uint64_t *words, unsigned bits, uint64_t *rejected) {
    u128 v = (bits == P_BITS ? (u128)words[0] : q_load(words)) & modulus(bits);
    if (v != modulus(bits)) return v;
    ++*rejected;
    return 0;
}

static u128 get(const uint64_t *v, size_t i, unsigned bits) { return bits == P_BITS ? (u128)v[i] : q_load(v + 2 * i); }

/* ---- data: a heap block of exactly the elements, so that the sanitizer sees one word too many */

static uint64_t *block(size_t words) {
    uint64_t *v = malloc(words == 0 ? 1 : words * sizeof *v);
    if (v == NULL) abort();
    return v;
}

static uint64_t *random_words(size_t words) {
    uint64_t *v = block(words);
    for (size_t i = 0; i < words; i++) v[i] = next() % 4 == 0 ? UINT64_MAX : next();
    return v;
}

static uint64_t *elements(size_t count, unsigned bits) {
    size_t limbs = bits == P_BITS ? 1 : 2;
    uint64_t *v = block(count * limbs);
    for (size_t i = 0; i < count; i++) {
        u128 m = modulus(bits), r = ((u128)next() << 64 | next()) % m;
        const u128 edges[] = {0, 1, m - 1, m - 2, m / 2, m / 2 + 1, r, r};
        u128 e = edges[next() % 8];
        v[i * limbs] = (uint64_t)e;
        if (limbs == 2) v[i * limbs + 1] = (uint64_t)(e >> 64);
    }
    return v;
}

/* ---- one prime field of one table */

static void check_prime(const char *table, unsigned bits, size_t count) {
    int p = bits == P_BITS;
    size_t limbs = p ? 1 : 2;
    uint64_t *a = elements(count, bits), *b = elements(count, bits), *c = elements(count, bits), *d = elements(count, bits);
    uint64_t *k0 = random_words(count * limbs), *k1 = random_words(count * limbs), *out = block(count * limbs), one[2] = {0, 0};
    uint64_t *factor = elements(1, bits);
    u128 sum = 0, inner = 0, cross = 0;
    uint64_t rejected = 0, sampled = 0;

#define CALL(kernel, ...) (p ? field_p_##kernel(__VA_ARGS__) : field_q_##kernel(__VA_ARGS__))
#define EACH(kernel, expected)                                                                                              \
    do {                                                                                                                    \
        int same = 1;                                                                                                       \
        for (size_t i = 0; i < count; i++) same &= get(out, i, bits) == (expected);                                         \
        expect(same, table, p ? "p." kernel : "q." kernel, count);                                                          \
    } while (0)
#define A get(a, i, bits)
#define B get(b, i, bits)
#define C get(c, i, bits)
#define D get(d, i, bits)
#define CROSS slow_add(slow_mul(A, slow_add(C, D, bits), bits), slow_mul(B, C, bits), bits)

    CALL(add, out, a, b, count);
    EACH("add", slow_add(A, B, bits));
    CALL(sub, out, a, b, count);
    EACH("sub", slow_add(A, slow_neg(B, bits), bits));
    CALL(neg, out, a, count);
    EACH("neg", slow_neg(A, bits));
    CALL(mul, out, a, b, count);
    EACH("mul", slow_mul(A, B, bits));
    CALL(scale, out, a, factor, count);
    EACH("scale", slow_mul(A, get(factor, 0, bits), bits));
    uint64_t got = CALL(sample, out, k0, count);
    EACH("sample", slow_sample(k0 + i * limbs, bits, &sampled));
    expect(got == sampled, table, "sample's count", count);
    got = CALL(mul_masked, out, a, b, c, d, k0, k1, count);
    EACH("mul_masked", slow_add(CROSS, slow_add(slow_sample(k0 + i * limbs, bits, &rejected),
                                                slow_neg(slow_sample(k1 + i * limbs, bits, &rejected), bits), bits), bits));
    expect(got == rejected, table, "mul_masked's count", count);

    for (size_t i = 0; i < count; i++) {
        sum = slow_add(sum, A, bits);
        inner = slow_add(inner, slow_mul(A, B, bits), bits);
        cross = slow_add(cross, CROSS, bits);
    }
    CALL(sum, one, a, count);
    expect(get(one, 0, bits) == sum, table, "sum", count);
    CALL(dot, one, a, b, count);
    expect(get(one, 0, bits) == inner, table, "dot", count);
    CALL(matmul, one, a, b, 1, count, 1);
    expect(get(one, 0, bits) == inner, table, "matmul", count);
    if (count > 0) {
        u128 mask = slow_add(slow_sample(k0, bits, &rejected), slow_neg(slow_sample(k1, bits, &rejected), bits), bits);
        CALL(dot_masked, one, a, b, c, d, k0, k1, 1, count);
        expect(get(one, 0, bits) == slow_add(cross, mask, bits), table, "dot_masked", count);
        CALL(matmul_masked, one, a, b, c, d, k0, k1, 1, count, 1);
        expect(get(one, 0, bits) == slow_add(cross, mask, bits), table, "matmul_masked", count);
    }

    expect(CALL(is_canonical, a, count) == 1, table, "is_canonical accepts", count);
    for (size_t i = 0; i < count; i++) {
        uint64_t low = a[i * limbs], high = a[(i + 1) * limbs - 1];
        a[i * limbs] = p ? P_MODULUS : UINT64_MAX;
        if (!p) a[i * limbs + 1] = UINT64_MAX >> 1;
        expect(CALL(is_canonical, a, count) == 0, table, "is_canonical refuses the modulus", count);
        a[i * limbs] = low;
        a[(i + 1) * limbs - 1] = high | UINT64_C(1) << 63;
        expect(CALL(is_canonical, a, count) == 0, table, "is_canonical refuses a high bit", count);
        a[(i + 1) * limbs - 1] = high;
    }
    free(a), free(b), free(c), free(d), free(k0), free(k1), free(out), free(factor);
}

/* Shapes that touch every tail; `inner` above the longest lazy block. */
static void check_matrices(const char *table, unsigned bits, size_t rows, size_t inner, size_t columns) {
    int p = bits == P_BITS;
    size_t limbs = p ? 1 : 2;
    uint64_t *a = elements(rows * inner, bits), *b = elements(rows * inner, bits);
    uint64_t *c = elements(inner * columns, bits), *d = elements(inner * columns, bits);
    uint64_t *k0 = random_words(rows * columns * limbs), *k1 = random_words(rows * columns * limbs);
    uint64_t *out = block(rows * columns * limbs), *masked = block(rows * columns * limbs);
    uint64_t expected = 0, got;
    CALL(matmul, out, a, c, rows, inner, columns);
    got = CALL(matmul_masked, masked, a, b, c, d, k0, k1, rows, inner, columns);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            size_t at = i * columns + j;
            u128 plain = 0, cross = 0;
            for (size_t k = 0; k < inner; k++) {
                u128 x = get(a, i * inner + k, bits), y = get(c, k * columns + j, bits);
                plain = slow_add(plain, slow_mul(x, y, bits), bits);
                cross = slow_add(cross, slow_mul(x, slow_add(y, get(d, k * columns + j, bits), bits), bits), bits);
                cross = slow_add(cross, slow_mul(get(b, i * inner + k, bits), y, bits), bits);
            }
            u128 plus = slow_sample(k0 + at * limbs, bits, &expected), minus = slow_sample(k1 + at * limbs, bits, &expected);
            expect(get(out, at, bits) == plain, table, "matmul", inner);
            expect(get(masked, at, bits) == slow_add(cross, slow_add(plus, slow_neg(minus, bits), bits), bits), table, "matmul_masked", inner);
        }
    }
    expect(got == expected, table, "matmul_masked's count", inner);
    free(a), free(b), free(c), free(d), free(k0), free(k1), free(out), free(masked);
}

/* ---- bits */

static void check_bits(const char *table, size_t count) {
    uint64_t *v[6], *out = block(count);
    for (size_t k = 0; k < 6; k++) v[k] = random_words(count);
    int same = 1;
    field_bits_xor(out, v[0], v[1], count);
    for (size_t i = 0; i < count; i++) same &= out[i] == (v[0][i] ^ v[1][i]);
    field_bits_and(out, v[0], v[1], count);
    for (size_t i = 0; i < count; i++) same &= out[i] == (v[0][i] & v[1][i]);
    field_bits_not(out, v[0], count);
    for (size_t i = 0; i < count; i++) same &= out[i] == ~v[0][i];
    field_bits_and_masked(out, v[0], v[1], v[2], v[3], v[4], v[5], count);
    for (size_t i = 0; i < count; i++) {
        same &= out[i] == (((v[0][i] & (v[2][i] ^ v[3][i])) ^ (v[1][i] & v[2][i])) ^ v[4][i] ^ v[5][i]);
    }
    expect(same, table, "bits", count);

    for (size_t width = 1; width <= 64; width += width < 60 ? 9 : 1) {
        size_t words = bits_words(count);
        uint64_t *planes = block(width * words);
        field_to_planes(planes, v[0], count, width);
        same = 1;
        for (size_t j = 0; j < width; j++) {
            for (size_t i = 0; i < 64 * words; i++) {
                uint64_t bit = planes[j * words + i / 64] >> i % 64 & 1;
                same &= bit == (i < count ? v[0][i] >> j & 1 : 0);
            }
        }
        expect(same, table, "to_planes", count);
        if (count % 64 != 0) planes[words - 1] |= UINT64_MAX << count % 64; /* unused bits are ignored */
        field_from_planes(out, planes, count, width);
        same = 1;
        for (size_t i = 0; i < count; i++) same &= out[i] == (v[0][i] & (UINT64_MAX >> (64 - width)));
        expect(same, table, "from_planes", count);
        free(planes);
    }
    for (size_t k = 0; k < 6; k++) free(v[k]);
    free(out);
}

/* ---- K */

static uint64_t slow_k(uint64_t a, uint64_t b) {
    uint64_t total = 0;
    for (unsigned i = 64; i-- > 0;) {
        total = total << 1 ^ (total >> 63) * 0x1b;
        if (b >> i & 1) total ^= a;
    }
    return total;
}

static void check_binary(const char *table, size_t count) {
    uint64_t *v[6], *out = block(count), one[1] = {0}, two[4];
    for (size_t k = 0; k < 6; k++) v[k] = random_words(count);
    int same = 1;
    uint64_t inner = 0, cross = 0;
    for (size_t i = 0; i < count; i++) {
        inner ^= slow_k(v[0][i], v[1][i]);
        cross ^= slow_k(v[0][i], v[2][i] ^ v[3][i]) ^ slow_k(v[1][i], v[2][i]);
    }
    field_k_mul(out, v[0], v[1], count);
    for (size_t i = 0; i < count; i++) same &= out[i] == slow_k(v[0][i], v[1][i]);
    expect(same, table, "k.mul", count);
    if (count > 0) {
        field_k_scale(out, v[0], v[1], count);
        for (size_t i = 0; i < count; i++) same &= out[i] == slow_k(v[0][i], v[1][0]);
        field_k_dot_masked(one, v[0], v[1], v[2], v[3], v[4], v[5], 1, count);
        same &= one[0] == (cross ^ v[4][0] ^ v[5][0]);
        field_k_matmul_masked(one, v[0], v[1], v[2], v[3], v[4], v[5], 1, count, 1);
        same &= one[0] == (cross ^ v[4][0] ^ v[5][0]);
        field_k_matmul(two, v[0], v[1], count > 1 ? 2 : 1, 1, count > 1 ? 2 : 1);
        same &= two[0] == slow_k(v[0][0], v[1][0]) && (count == 1 || two[2] == slow_k(v[0][1], v[1][0]));
    }
    expect(same, table, "k.scale, dot_masked, matmul", count);
    field_k_mul_masked(out, v[0], v[1], v[2], v[3], v[4], v[5], count);
    for (size_t i = 0; i < count; i++) {
        same &= out[i] == (slow_k(v[0][i], v[2][i] ^ v[3][i]) ^ slow_k(v[1][i], v[2][i]) ^ v[4][i] ^ v[5][i]);
    }
    field_k_dot(one, v[0], v[1], count);
    same &= one[0] == inner;
    field_k_matmul(one, v[0], v[1], 1, count, 1);
    same &= one[0] == inner;
    field_k_sum(one, v[0], count);
    for (size_t i = 0; i < count; i++) one[0] ^= v[0][i];
    same &= one[0] == 0 && field_k_is_canonical(v[0], count) == 1 && field_k_sample(out, v[0], count) == 0;
    expect(same, table, "k.mul_masked, dot, sum", count);

    uint64_t *alpha = random_words(8 * count), *folded = block(8 * count), *weights = random_words(8), gram[80] = {0}, expected[80] = {0};
    field_bits_gram_k(gram, alpha, v[0], v[1], v[2], v[3], v[4], v[5], count);
    for (size_t c = 0; c < 8 * count; c++) {
        unsigned byte[6];
        for (size_t k = 0; k < 6; k++) byte[k] = (unsigned)(v[k][c / 8] >> (8 * (c % 8)) & 0xff);
        for (unsigned j = 0; j < 8; j++) {
            for (unsigned k = 0; k < 8; k++) {
                unsigned bit = (byte[0] >> j & (byte[2] ^ byte[3]) >> k & 1) ^ (byte[1] >> j & byte[2] >> k & 1);
                if (j != k && bit) expected[8 * j + k] ^= alpha[c];
            }
            if (byte[4] >> j & 1) expected[64 + j] ^= alpha[c];
            if (byte[5] >> j & 1) expected[72 + j] ^= alpha[c];
        }
    }
    expect(memcmp(gram, expected, sizeof gram) == 0, table, "bits_gram", count);
    for (int with = 0; with < 2; with++) {
        field_bits_fold_k(folded, with ? alpha : NULL, weights, v[0], count);
        same = 1;
        for (size_t c = 0; c < 8 * count; c++) {
            uint64_t total = 0;
            for (unsigned j = 0; j < 8; j++) total ^= v[0][c / 8] >> (8 * (c % 8) + j) & 1 ? weights[j] : 0;
            same &= folded[c] == (with ? slow_k(total, alpha[c]) : total);
        }
        expect(same, table, "bits_fold", count);
    }
    for (size_t k = 0; k < 6; k++) free(v[k]);
    free(out), free(alpha), free(folded), free(weights);
}

/* ---- conversions */

static void check_conversions(void) {
    const int64_t integers[] = {0, 1, -1, 42, -42, (INT64_C(1) << 60) - 1, 1 - (INT64_C(1) << 60), INT64_MAX, INT64_MIN, INT64_MIN + 1};
    enum { INTEGERS = sizeof integers / sizeof integers[0] };
    uint64_t v[2 * INTEGERS];
    int64_t back[INTEGERS];
    field_p_from_int64(v, integers, 7);
    expect(field_p_to_int64(back, v, 7) == 0 && memcmp(back, integers, 7 * sizeof back[0]) == 0, "convert", "p int64", 7);
    field_q_from_int64(v, integers, INTEGERS);
    expect(field_q_to_int64(back, v, INTEGERS) == 0 && memcmp(back, integers, sizeof back) == 0, "convert", "q int64", INTEGERS);
    const uint64_t wide[] = {UINT64_C(1) << 63, 0, 0, 1, UINT64_MAX - (UINT64_C(1) << 63), UINT64_MAX >> 1}; /* 2^63, 2^64, -2^63 - 1 + ... */
    expect(field_q_to_int64(back, wide, 2) == 2 && back[0] == 0 && back[1] == 0, "convert", "q int64 outside", 2);
    expect(field_q_to_int64(back, wide + 4, 1) == 0 && back[0] == INT64_MIN, "convert", "q int64 least", 1);

    const double floats[] = {0.0, -0.0, 0.5, 1.5, 2.5, -2.5, 0.25, 1e-310, 3.0, -7.0, 1048576.0};
    const double whole[] = {0.0, 0.0, 0.0, 2.0, 2.0, -2.0, 0.0, 0.0, 3.0, -7.0, 1048576.0};
    enum { FLOATS = sizeof floats / sizeof floats[0] };
    uint64_t u[2 * FLOATS];
    double r[FLOATS];
    expect(field_p_from_float64(u, floats, FLOATS, 0) == 0, "convert", "p float64", FLOATS);
    field_p_to_float64(r, u, FLOATS, 0);
    for (size_t i = 0; i < FLOATS; i++) expect(r[i] >= whole[i] && r[i] <= whole[i], "convert", "p float64 value", i);
    expect(field_q_from_float64(u, floats, FLOATS, 40) == 0, "convert", "q float64", FLOATS);
    field_q_to_float64(r, u, FLOATS, 40);
    for (size_t i = 0; i < FLOATS; i++) {
        if (i != 7) expect(r[i] >= floats[i] && r[i] <= floats[i], "convert", "q float64 value", i);
    }
    double bad[4] = {1e300, -1e300, 0.0, 0.0};
    const uint64_t infinite = UINT64_C(0x7ff) << 52, no_number = infinite | 1;
    memcpy(bad + 2, &infinite, sizeof infinite);
    memcpy(bad + 3, &no_number, sizeof no_number);
    expect(field_p_from_float64(u, bad, 4, 0) == 4 && field_q_from_float64(u, bad, 4, 200) == 4, "convert", "refused floats", 4);
}

int main(void) {
    check_conversions();
    for (size_t t = 0; field_available(t) != NULL; t++) {
        const char *table = field_available(t);
        if (!field_force(table) || strcmp(field_active(), table) != 0) return 1;
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            check_prime(table, P_BITS, counts[i]);
            check_prime(table, Q_BITS, counts[i]);
            check_bits(table, counts[i]);
            check_binary(table, counts[i]);
        }
        for (unsigned bits = P_BITS; bits <= Q_BITS; bits += Q_BITS - P_BITS) {
            check_matrices(table, bits, 5, 3, 9);
            check_matrices(table, bits, 1, 20, 2);
            check_matrices(table, bits, 4, 1, 4);
            check_matrices(table, bits, 3, 1030, 3);
            check_matrices(table, bits, 9, 9, 17);
            check_matrices(table, bits, 2, 0, 2);
        }
        check_prime(table, P_BITS, 9000);
        printf("%s: %s\n", table, failures == 0 ? "ok" : "FAILED");
    }
    if (field_force("no such table")) return 1;
    return failures != 0;
}
