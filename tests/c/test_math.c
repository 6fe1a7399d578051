/* Accuracy, tails and memory bounds of the elementwise and row functions of one instruction set.
 *
 *     gcc -I csrc/simd -DLEVEL_FILE='"fm_avx2.c"' -mavx2 -mfma <flags of setup.py> \
 *         tests/c/test_math.c -lm -o test_math && ./test_math
 *
 * This includes the file of the level, so it tests the code of the build. float is compared with
 * the double functions of libm, double with the long double functions. -DSAMPLES_LOG2=n sets the
 * number of inputs per function: 2^n double, 4 * 2^n float; default 2^21. Exit status 1 if any
 * check fails.
 */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include LEVEL_FILE

#ifndef SAMPLES_LOG2
#define SAMPLES_LOG2 21
#endif
#define SAMPLES ((ptrdiff_t)1 << (SAMPLES_LOG2 + (FM_F64 ? 0 : 2)))
#define LONGEST 70 /* row lengths 0 .. LONGEST are tried one by one */
#define STRING_(x) #x
#define STRING(x) STRING_(x)

static int failures;
static const char *volatile current = "start";

static void fail(const char *what, const char *dtype, double x, double y, double expected)
{
    failures++;
    if (failures < 40)
        printf("FAILED %s %s: x = %.17g (%a) gave %.17g, expected %.17g\n", what, dtype, x, x, y,
               expected);
}

static void on_fault(int number)
{
    static const char text[] = "FAILED: memory fault in ";
    (void)number;
    if (write(1, text, sizeof text - 1) < 0 || write(1, current, strlen(current)) < 0 ||
        write(1, "\n", 1) < 0)
        _exit(3);
    _exit(2);
}

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static double random_between(double low, double high)
{
    return low + (high - low) * ((double)(random_bits() >> 11) * 0x1p-53);
}

/* One page between two that fault. */
static char *guarded_page(long size)
{
    char *all = mmap(NULL, (size_t)(3 * size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                     -1, 0);
    if (all == MAP_FAILED || mprotect(all, (size_t)size, PROT_NONE) ||
        mprotect(all + 2 * size, (size_t)size, PROT_NONE)) {
        printf("FAILED: no guard pages\n");
        exit(1);
    }
    return all + size;
}

static void name_length(char *text, size_t size, const char *name, ptrdiff_t n, int at_end)
{
    snprintf(text, size, "%s, n = %ld, array at the %s of a page", name, (long)n,
             at_end ? "end" : "start");
    current = text;
}

#undef FM
#undef REAL
#undef UINT
#undef FM_F64

#define FM_F64 0
#define DTYPE "f32"
#define REAL float
#define UINT uint32_t
#define REF double
#define R(name) name
#define FM(name) FM_PASTE(name, _f32)
#define MANTISSA 23
#define BIAS 127
#include "test_math.body.h"
#undef FM_F64
#undef DTYPE
#undef REAL
#undef UINT
#undef REF
#undef R
#undef FM
#undef MANTISSA
#undef BIAS

#define FM_F64 1
#define DTYPE "f64"
#define REAL double
#define UINT uint64_t
#define REF long double
#define R(name) name##l
#define FM(name) FM_PASTE(name, _f64)
#define MANTISSA 52
#define BIAS 1023
#include "test_math.body.h"

int main(void)
{
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("level %s, vectors of %d bytes\n", STRING(FM_LEVEL), FM_VECTOR_BYTES);
    test_dtype_f32();
    test_dtype_f64();
    printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
    return failures != 0;
}
