/* A team of threads that lives as long as one call, and the barrier inside it.
 *
 * fm_team_run starts threads - 1 of them, runs `body` on all (the caller is thread 0) and returns
 * when all have returned. Nothing is left behind: no pool to break after a fork, nothing that
 * spins between calls. Where threads cannot be had, the team is smaller: `body` must ask
 * fm_team_size. Memory order: all that happened before a barrier is seen after it.
 *
 * Some threads may rest for a while: the first fm_team_size go on. Where that may change, each thread
 * but 0 calls fm_team_rest after a barrier, and first of all.
 */
#ifndef FM_TEAM_H
#define FM_TEAM_H

typedef struct fm_team fm_team;
typedef void (*fm_team_body)(fm_team *team, int thread, void *context);

/* `active` of the threads begin, at least one. */
void fm_team_run(int threads, int active, fm_team_body body, void *context);
/* All threads of the team, and those that are active between this barrier and the next. */
int fm_team_most(const fm_team *team);
int fm_team_size(const fm_team *team);
/* Called by thread 0: so many are active from the next barrier on. */
void fm_team_choose(fm_team *team, int active);
/* Sleeps while the thread is not among the active ones. */
enum fm_team_state { FM_TEAM_ACTIVE, FM_TEAM_RESTED, FM_TEAM_ENDED /* thread 0 has left */ };
int fm_team_rest(fm_team *team, int thread);
/* Seconds that threads waited at barriers, all together, where one waited so long that it slept. */
double fm_team_slept(const fm_team *team);
/* Returns when every active thread has called it. Spins for a few tens of microseconds, then
 * sleeps: with a processor less than threads, the others need it. */
void fm_team_barrier(fm_team *team);

/* Subnormal numbers count as zero in this thread from now on: they slow some processors down a
 * hundredfold and carry no information in a gradient. Returns what fm_flush_restore needs. */
unsigned long fm_flush_subnormals(void);
void fm_flush_restore(unsigned long before);

/* A number that threads set and read without a lock. */
typedef struct {
    long long value; /* only through the functions below */
} fm_flag;
void fm_flag_set(fm_flag *flag, long long value);
long long fm_flag_get(const fm_flag *flag);

/* Seconds on a clock that never goes back. */
double fm_seconds(void);

#endif
