/* Teams of threads: no thread passes a barrier early, for teams of every size, also with fewer
 * processors than threads.
 *
 *     gcc -std=c11 -O2 -pthread -I csrc/team tests/c/test_team.c csrc/team/fm_team.c -o test_team
 *     ./test_team
 *
 * -DBARRIERS=n sets the number of barriers that a team of one passes; larger teams pass fewer. Exit
 * status 1 if any check fails.
 */
#include "fm_team.h"

#include <stdio.h>
#include <string.h>

#ifndef BARRIERS
#define BARRIERS 20000
#endif
#define MOST 16
#define TEAMS 300

typedef struct {
    int rounds;
    int size;                /* of the team, as thread 0 saw it */
    int seen[MOST];          /* threads that ran the body */
    long values[MOST];       /* plain memory: only barriers order it */
    long failures[MOST];
    double subnormal[MOST];
    fm_flag stop;
    int stopped[MOST];
} job;

static volatile double tiny = 1e-308;

static void body(fm_team *team, int thread, void *context)
{
    job *all = context;
    const int size = fm_team_size(team);
    all->seen[thread]++;
    all->subnormal[thread] = tiny / 1024;
    if (thread == 0) all->size = size;
    for (int round = 1; round <= all->rounds; round++) {
        /* A value of each thread's own; then all read all; then all may write again. */
        all->values[thread] = (long)round * 1000 + thread;
        fm_team_barrier(team);
        for (int i = 0; i < size; i++)
            all->failures[thread] += all->values[i] != (long)round * 1000 + i;
        if (thread == round % size && round == all->rounds) fm_flag_set(&all->stop, 1);
        fm_team_barrier(team);
        all->stopped[thread] = fm_flag_get(&all->stop);
    }
}

/* The same while the number of active threads changes after some rounds. A thread that rested
 * continues at the round that thread 0 has published, even if it was called before it noticed. */
typedef struct {
    int rounds, from, active;
    unsigned draw;
    long values[MOST];
    long worked[MOST];
    long failures;
} changing;

static void change(fm_team *team, int thread, void *context)
{
    changing *all = context;
    int round = 1;
    while (round <= all->rounds) {
        const int state = fm_team_rest(team, thread);
        if (state == FM_TEAM_RESTED) round = all->from;
        if (state == FM_TEAM_ENDED || round > all->rounds) return;
        const int size = fm_team_size(team);
        if (thread == 0) all->failures += size != all->active;
        all->values[thread] = (long)round * 1000 + thread;
        all->worked[thread]++;
        fm_team_barrier(team);
        if (thread == 0) {
            for (int i = 0; i < size; i++)
                all->failures += all->values[i] != (long)round * 1000 + i;
            all->draw = all->draw * 1664525u + 1013904223u;
            if (all->draw >> 30) {
                const int next = 1 + (int)(all->draw >> 8) % fm_team_most(team);
                if (next > size) all->from = round + 1;
                all->active = next;
                fm_team_choose(team, next);
            }
        }
        fm_team_barrier(team);
        round++;
    }
}

static int run_changing(int threads, int active, int rounds)
{
    changing all;
    memset(&all, 0, sizeof all);
    all.rounds = rounds;
    all.active = active;
    all.draw = (unsigned)(threads * 31 + rounds);
    fm_team_run(threads, active, change, &all);
    long failures = all.failures + (all.worked[0] != rounds);
    for (int i = 1; i < threads; i++)
        failures += all.worked[i] > rounds || (rounds > 200 && !all.worked[i]);
    if (failures) printf("FAILED %d changing threads, %d rounds\n", threads, rounds);
    return failures != 0;
}

static int run(int threads, int rounds)
{
    job all;
    memset(&all, 0, sizeof all);
    all.rounds = rounds;
    fm_team_run(threads, threads, body, &all);
    int failures = all.size != (threads < 1 ? 1 : threads);
    for (int i = 0; i < MOST; i++) {
        const int member = i < all.size;
        failures += all.seen[i] != member || all.failures[i] != 0;
        failures += member && rounds && (!all.stopped[i] || all.subnormal[i] != 0);
    }
    if (failures) printf("FAILED %d threads, %d rounds: %d\n", threads, rounds, failures);
    return failures;
}

int main(void)
{
    int failures = 0;
    const double before = fm_seconds();
    for (int threads = 0; threads <= MOST; threads++)
        failures += run(threads, BARRIERS / 2 / (threads < 2 ? 1 : threads));
    for (int team = 0; team < TEAMS; team++) failures += run(1 + team % MOST, team % 4);
    for (int threads = 1; threads <= 8; threads++)
        failures += run_changing(threads, 1 + threads / 2, BARRIERS / 4 / threads);
    for (int team = 0; team < TEAMS; team++)
        failures += run_changing(1 + team % 8, 1 + team % (1 + team % 8), team % 6);
    failures += tiny / 1024 == 0; /* the caller's mode is what it was */
    failures += fm_seconds() < before;
    printf("%.1f s, %d failed\n", fm_seconds() - before, failures);
    if (!failures) printf("all checks passed\n");
    return failures != 0;
}
