# How many threads of a team share the steps of a run, chosen from what the steps take.
#
# Where processors are all ours, as many as there are. Where another program wants one, a thread
# that waits for it holds all others up at the next barrier, and fewer threads may be faster. Time
# that threads slept at barriers is the sign of it; then half as many are tried, and kept if steps
# take less time. From time to time twice as many are tried again. Each trial without a gain doubles
# the time to the next. Results do not depend on it: their bits are those of any number of threads.

cdef extern from "fm_team.h" nogil:
    double fm_seconds()

cdef enum:
    # A stretch is what is timed: so many steps and milliseconds at least, some slices of the
    # scheduler.
    STRETCH_STEPS = 4
    STRETCH = 20
    # So many stretches, one after the other, in which the other threads slept so many percent of
    # the time, are worth a trial. Less cannot make half as many threads faster.
    DISTURBED = 2
    SLEPT = 25
    SHORTEST_PAUSE = 100        # milliseconds without a trial
    LONGEST_PAUSE = 2000


# Only thread 0 reads and writes it; it lasts from run to run.
cdef struct Pace:
    int active                  # threads that work now
    int trial_of                # threads that worked before a trial of others; 0: no trial
    double kept                 # seconds a step, with those
    int disturbed               # stretches, the last ones
    double taken                # seconds a step in them
    double began                # of this stretch
    double slept                # until then, on the clock of this run
    double seen                 # the same after the last step
    Py_ssize_t steps            # in it
    double pause                # milliseconds
    double next_trial
    double ended                # of the run before
    int shaken                  # for tests: steps after which the number changes; 0: by time


cdef inline void begin_pace(Pace *pace, int most) noexcept nogil:
    """At the start of a run with so many threads: a stretch goes on from the run before."""
    cdef double now = fm_seconds()
    if not 1 <= pace.active <= most or pace.trial_of > most:
        pace.active = most
        pace.trial_of = 0
        pace.disturbed = 0
        pace.steps = 0
    pace.began = now - (pace.ended - pace.began) if pace.steps > 0 else now
    pace.slept = pace.slept - pace.seen if pace.steps > 0 else 0
    pace.seen = 0


cdef inline void _try(Pace *pace, int active, double seconds) noexcept nogil:
    pace.trial_of = pace.active
    pace.kept = seconds
    pace.active = active
    pace.disturbed = 0


cdef inline int next_pace(Pace *pace, int most, double slept) noexcept nogil:
    """After a step: how many threads take the next one."""
    cdef double now, seconds, lost
    pace.steps += 1
    pace.seen = slept
    if pace.shaken > 0:
        if pace.steps % pace.shaken == 0:
            pace.active = pace.active % most + 1
        return pace.active
    if pace.steps < STRETCH_STEPS:
        return pace.active
    now = fm_seconds()
    if now - pace.began < 1e-3 * STRETCH:
        return pace.active
    seconds = (now - pace.began) / <double>pace.steps
    lost = 0
    if pace.active > 1:
        lost = (slept - pace.slept) / ((now - pace.began) * (pace.active - 1))
    if lost < 1e-2 * SLEPT:
        pace.disturbed = 0
    else:
        pace.disturbed += 1
        if pace.disturbed > 1:
            seconds = 0.5 * (seconds + pace.taken)
        pace.taken = seconds
    if pace.trial_of:
        if seconds < pace.kept:
            pace.pause = SHORTEST_PAUSE
        else:
            pace.active = pace.trial_of
            pace.pause = min(<double>LONGEST_PAUSE, max(<double>SHORTEST_PAUSE, 2 * pace.pause))
        pace.trial_of = 0
        pace.disturbed = 0
        pace.next_trial = now + 1e-3 * pace.pause
    elif now >= pace.next_trial:
        if pace.disturbed >= DISTURBED:
            _try(pace, (pace.active + 1) // 2, seconds)
        elif pace.active < most and pace.disturbed == 0:
            _try(pace, min(most, 2 * pace.active), seconds)
    pace.steps = 0
    pace.began = now
    pace.slept = slept
    return pace.active
