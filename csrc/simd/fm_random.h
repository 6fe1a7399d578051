/* Random words that are a pure function of counters. The finalizer of SplitMix64 (Steele, Lea and
 * Flood 2014) makes a 64-bit key for each row of a batch. An invertible 32-bit mix (C. Wellons'
 * hash-prospector), with the other half of the key between its two products, makes a 32-bit word
 * for each column. The counterpart in Python is fastmlp/_random.py.
 */
#ifndef FM_RANDOM_H
#define FM_RANDOM_H

#include <stdint.h>

#define FM_GOLDEN 0x9e3779b97f4a7c15u

static inline uint64_t fm_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The key of a step from the key of a stream, or the key of a row from the key of a step. */
static inline uint64_t fm_counter_key(uint64_t key, uint64_t counter)
{
    return fm_mix(key + (counter + 1) * FM_GOLDEN);
}

/* The word of a column, from the halves of the key of its row. */
static inline uint32_t fm_word(uint32_t low, uint32_t high, uint32_t column)
{
    uint32_t h = low + column * 0x9e3779b9u;
    h = (h ^ (h >> 16)) * 0x21f0aaadu ^ high;
    h = (h ^ (h >> 15)) * 0x735a2d97u;
    return h ^ (h >> 15);
}

#endif
