/* Threads that must not wait for a CPU. */
#ifndef NG_CONTROL_PLANE_PROMPT_H
#define NG_CONTROL_PLANE_PROMPT_H

/**
 * Makes the calling thread one that is run as soon as it wakes up, for short slices (0.1 ms; Linux
 * 6.12 and newer). Not its children. Where that is not allowed, nothing changes.
 *
 * A worker that waits for a CPU leaves its target armed meanwhile, for milliseconds, and its
 * windows begin only where a thread of the target has used up its slice: of 8 threads at 1 M/s on 2
 * CPUs, 0.70 of the truth was seen in 15 windows, 0.95 to 1.1 in 35 since. Real time would do as
 * well, but is woken up on the CPU it was on before, even where the target runs there and another
 * is idle.
 *
 * @param nice -20 to 19: below 0 for what runs for some 0.1 ms at a time and no longer
 */
void ng_prompt_thread(int nice);

#endif
