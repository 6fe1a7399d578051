/* The register tiles, packing and copying of one instruction set, against plain loops.
 *
 *     gcc -I csrc/simd -DLEVEL_FILE='"fm_avx2.c"' -mavx2 -mfma <flags of setup.py> \
 *         tests/c/test_tile.c -lm -o test_tile && ./test_tile
 *
 * The tests cover every (rows, vectors) of the table (plain, packing, in sweeps and in columns),
 * every way to store, softmax with a row in each lane, sparse rows and max-pools, products, sums
 * and softmaxes with samples in the lanes, and products that leave out zeros. Operands and results
 * end at pages that must not be touched. Exit status 1 if any check fails.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include LEVEL_FILE

#define STRING_(x) #x
#define STRING(x) STRING_(x)

static int failures, checks;

static void check(int right, const char *what, int rows, int vectors, ptrdiff_t k, int store)
{
    checks++;
    if (!right && failures++ < 40)
        printf("FAILED %s: rows %d, vectors %d, k %d, store %d\n", what, rows, vectors, (int)k,
               store);
}

enum { A, B, C, INIT, PACK, FROM, ACROSS, SLOTS };

/* n zeroed bytes that end at an untouchable page; valid until the next use of the slot */
static void *guarded(int slot, size_t n)
{
    static char *ends[SLOTS];
    const size_t body = (size_t)1 << 20;
    if (n > body) exit(3);
    if (!ends[slot]) {
        char *memory = mmap(NULL, 2 * body, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                            -1, 0);
        if (memory == MAP_FAILED || mprotect(memory + body, body, PROT_NONE)) exit(3);
        ends[slot] = memory + body;
    }
    return ends[slot] - n;
}

#define TABLE(suffix) FM_PASTE(FM_PASTE(fm_table_, suffix), FM_PASTE(_, FM_LEVEL))

#define REAL float
#define SUFFIX f32
#define EPSILON 1.2e-7
#include "test_tile.body.h"
#include "test_images.body.h"
#include "test_lanes.body.h"
#include "test_nonzeros.body.h"
#undef REAL
#undef SUFFIX
#undef EPSILON

#define REAL double
#define SUFFIX f64
#define EPSILON 2.3e-16
#include "test_tile.body.h"
#include "test_images.body.h"
#include "test_lanes.body.h"
#include "test_nonzeros.body.h"

int main(void)
{
    test_strips_f32();
    test_strips_f64();
    test_sweeps_f32();
    test_sweeps_f64();
    test_columns_f32();
    test_row_products_f32();
    test_columns_f64();
    test_row_products_f64();
    test_softmaxes_f32();
    test_softmaxes_f64();
    test_packing_f32();
    test_packing_f64();
    test_images_f32();
    test_images_f64();
    test_lane_products_f32();
    test_lane_products_f64();
    test_lane_sums_f32();
    test_lane_sums_f64();
    test_lane_softmax_f32();
    test_lane_softmax_f64();
    test_lane_losses_f32();
    test_lane_losses_f64();
    test_nonzeros_f32();
    test_nonzeros_f64();
    test_listed_f32();
    test_listed_f64();
    test_listed_strip_f32();
    test_listed_strip_f64();
    printf("%s: %d checks, %d failed\n", STRING(FM_LEVEL), checks, failures);
    if (!failures) printf("all checks passed\n");
    return failures != 0;
}
