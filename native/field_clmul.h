/* K = GF(2^64) with carry-less multiplication, once for every vector width.  A sibling defines, before it includes this file,
 *
 *   vector, LANES           a register of LANES words, an even number
 *   lanes_of, at_most         which lanes: the first n of them, all for n >= LANES; from lengths, never from secrets
 *   load_n, store_n         these words of an array; the other lanes are zero
 *   splat, xor2, xor3       one word in every lane; exclusive or
 *   left, right             shift every word
 *   clmul_even, clmul_odd   128-bit products of the words with even (odd) numbers, side by side
 *   words_low, words_high   low (high) halves of the products, back in the order of the factors
 *
 * Products are added before they are reduced: reduction is linear. */
#ifndef MPCD_FIELD_CLMUL_H
#define MPCD_FIELD_CLMUL_H

struct products {
    vector even, odd;
};

static inline struct products products_zero(void) {
    struct products s = {splat(0), splat(0)};
    return s;
}

static inline void products_add(struct products *s, vector a, vector b) {
    s->even = xor2(s->even, clmul_even(a, b));
    s->odd = xor2(s->odd, clmul_odd(a, b));
}

/* s + x0 (y0 + y1) + x1 y0. */
static inline void products_cross(struct products *s, vector x0, vector x1, vector y0, vector y1) {
    vector both = xor2(y0, y1);
    s->even = xor3(s->even, clmul_even(x0, both), clmul_even(x1, y0));
    s->odd = xor3(s->odd, clmul_odd(x0, both), clmul_odd(x1, y0));
}

/* See k_reduce. */
static inline vector products_reduce(struct products s) {
    vector high = words_high(s.even, s.odd), low = words_low(s.even, s.odd);
    high = xor2(high, xor3(right(high, 63), right(high, 61), right(high, 60)));
    return xor3(xor3(low, high, left(high, 1)), left(high, 3), left(high, 4));
}

static inline vector multiply(vector a, vector b) {
    struct products s = products_zero();
    products_add(&s, a, b);
    return products_reduce(s);
}

/* The sum of all lanes, unreduced. */
static inline u128 products_across(struct products s) {
    uint64_t words[LANES];
    u128 total = 0;
    store_n(words, xor2(s.even, s.odd), at_most(LANES));
    for (size_t i = 0; i < LANES; i += 2) total ^= (u128)words[i + 1] << 64 | words[i];
    return total;
}

static void k_mul_clmul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    for (size_t i = 0; i < count; i += LANES) {
        lanes_of n = at_most(count - i);
        store_n(out + i, multiply(load_n(a + i, n), load_n(b + i, n)), n);
    }
}

static void k_scale_clmul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    vector factor = splat(b[0]);
    for (size_t i = 0; i < count; i += LANES) {
        lanes_of n = at_most(count - i);
        store_n(out + i, multiply(load_n(a + i, n), factor), n);
    }
}

static void k_dot_clmul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t count) {
    struct products s = products_zero();
    for (size_t i = 0; i < count; i += LANES) {
        lanes_of n = at_most(count - i);
        products_add(&s, load_n(a + i, n), load_n(b + i, n));
    }
    out[0] = k_reduce(products_across(s));
}

/* sum of v[k] w[k stride + c] for n neighbouring c. */
static inline vector k_combine(const uint64_t *v, const uint64_t *w, size_t inner, size_t stride, lanes_of n) {
    struct products s = products_zero();
    for (size_t k = 0; k < inner; k++) products_add(&s, splat(v[k]), load_n(w + k * stride, n));
    return products_reduce(s);
}

static void k_matmul_clmul(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t rows, size_t inner, size_t columns) {
    for (size_t i = 0; i < rows; i++) {
        if (columns == 1) {
            k_dot_clmul(out + i, a + i * inner, b, inner);
            continue;
        }
        for (size_t j = 0; j < columns; j += LANES) {
            lanes_of n = at_most(columns - j);
            store_n(out + i * columns + j, k_combine(a + i * inner, b + j, inner, columns, n), n);
        }
    }
}

static uint64_t k_mul_masked_clmul(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                   const uint64_t *k0, const uint64_t *k1, size_t count) {
    for (size_t i = 0; i < count; i += LANES) {
        lanes_of n = at_most(count - i);
        struct products s = products_zero();
        products_cross(&s, load_n(x0 + i, n), load_n(x1 + i, n), load_n(y0 + i, n), load_n(y1 + i, n));
        store_n(out + i, xor3(products_reduce(s), load_n(k0 + i, n), load_n(k1 + i, n)), n);
    }
    return 0;
}

static inline u128 k_cross_clmul(const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1, size_t count) {
    struct products s = products_zero();
    for (size_t i = 0; i < count; i += LANES) {
        lanes_of n = at_most(count - i);
        products_cross(&s, load_n(x0 + i, n), load_n(x1 + i, n), load_n(y0 + i, n), load_n(y1 + i, n));
    }
    return products_across(s);
}

static uint64_t k_dot_masked_clmul(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                   const uint64_t *k0, const uint64_t *k1, size_t groups, size_t length) {
    for (size_t g = 0; g < groups; g++) {
        size_t at = g * length;
        out[g] = k_reduce(k_cross_clmul(x0 + at, x1 + at, y0 + at, y1 + at, length)) ^ k0[g] ^ k1[g];
    }
    return 0;
}

/* Eight products of one row at a time. */
static uint64_t k_matmul_masked_clmul(uint64_t *out, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0, const uint64_t *y1,
                                      const uint64_t *k0, const uint64_t *k1, size_t rows, size_t inner, size_t columns) {
    for (size_t i = 0; i < rows; i++) {
        const uint64_t *a = x0 + i * inner, *b = x1 + i * inner;
        for (size_t j = 0; j < columns; j += LANES) {
            lanes_of n = at_most(columns - j);
            size_t at = i * columns + j;
            struct products s = products_zero();
            for (size_t k = 0; k < inner; k++) {
                vector y = load_n(y0 + k * columns + j, n);
                products_cross(&s, splat(a[k]), splat(b[k]), y, load_n(y1 + k * columns + j, n));
            }
            store_n(out + at, xor3(products_reduce(s), load_n(k0 + at, n), load_n(k1 + at, n)), n);
        }
    }
    return 0;
}

static inline void k_gram_tile(uint64_t *out, const uint64_t *alpha, const struct gram_blocks *g, size_t start, size_t chunks) {
    uint64_t x0[GRAM_TILE], x1[GRAM_TILE];
    for (size_t j = 0; j < g->chunk; j++) {
        size_t size = gram_size(g, j, start, chunks), at = j * g->chunks + start;
        if (size == 0) break;
        const uint64_t *a = g->x0 + at, *b = g->x1 + at;
        if (alpha != NULL) {
            k_mul_clmul(x0, a, alpha + start, size);
            k_mul_clmul(x1, b, alpha + start, size);
            a = x0;
            b = x1;
            uint64_t z;
            k_dot_clmul(&z, g->z0 + at, alpha + start, size);
            out[g->chunk * g->chunk + j] ^= z;
            k_dot_clmul(&z, g->z1 + at, alpha + start, size);
            out[g->chunk * g->chunk + g->chunk + j] ^= z;
        }
        for (size_t k = 0; k < g->chunk; k++) {
            size_t other = k * g->chunks + start, both = gram_size(g, k, start, size);
            if (both == 0) break;
            if (k != j) out[g->chunk * j + k] ^= k_reduce(k_cross_clmul(a, b, g->y0 + other, g->y1 + other, both));
        }
    }
}

static void k_gram_clmul(uint64_t *out, const uint64_t *alpha, const uint64_t *x0, const uint64_t *x1, const uint64_t *y0,
                         const uint64_t *y1, const uint64_t *z0, const uint64_t *z1, size_t count, size_t chunk) {
    struct gram_blocks g = {x0, x1, y0, y1, z0, z1, count, chunk, chunk_count(count, chunk)};
    for (size_t i = 0; i < chunk * (chunk + 2); i++) out[i] = 0;
    for (size_t start = 0; start < g.chunks; start += GRAM_TILE) k_gram_tile(out, alpha, &g, start, gram_tile(&g, start));
}

static void k_fold_clmul(uint64_t *out, const uint64_t *alpha, const uint64_t *weights, const uint64_t *v, size_t count, size_t chunk) {
    size_t chunks = chunk_count(count, chunk), whole = count / chunks, last = count % chunks; /* full blocks, then one of `last` */
    for (size_t c = 0; c < chunks; c += LANES) {
        lanes_of n = at_most(chunks - c);
        struct products s = products_zero();
        for (size_t j = 0; j < whole; j++) products_add(&s, splat(weights[j]), load_n(v + j * chunks + c, n));
        if (c < last) products_add(&s, splat(weights[whole]), load_n(v + whole * chunks + c, at_most(last - c)));
        vector total = products_reduce(s);
        if (alpha != NULL) total = multiply(total, load_n(alpha + c, n));
        store_n(out + c, total, n);
    }
}

#define FIELD_K_CLMUL                                                                                                          \
    {                                                                                                                          \
        .add = bits_xor_portable, .sub = bits_xor_portable, .mul = k_mul_clmul, .neg = k_neg_portable, .scale = k_scale_clmul, \
        .sum = k_sum_portable, .dot = k_dot_clmul, .matmul = k_matmul_clmul, .sample = k_sample_portable,                      \
        .is_canonical = k_is_canonical_portable, .mul_masked = k_mul_masked_clmul, .dot_masked = k_dot_masked_clmul,           \
        .matmul_masked = k_matmul_masked_clmul, .gram = k_gram_clmul, .fold = k_fold_clmul,                                    \
    }

#endif
