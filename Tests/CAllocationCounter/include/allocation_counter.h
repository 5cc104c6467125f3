// Counts heap allocations of the whole process, all threads, between start and stop.
//
// The functions of malloc(3) are defined here in front of the C library's, which shared libraries
// (the Swift runtime, OpenBLAS) then call too.
#pragma once

/// Sets the count to zero and starts counting.
void allocation_counter_start(void);

/// Stops counting and returns how often memory was asked for.
long allocation_counter_stop(void);

/// Leaves out what the code of one library asks for itself: the one that holds `function`.
///
/// Returns 1, or 0 where no library holds it.
int allocation_counter_exempt(const void *function);
