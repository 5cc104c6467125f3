// Calls of Linux that glibc declares for _GNU_SOURCE alone, which Swift's importer does not define.
#ifndef ATTNBENCH_LINUX_CALLS_H
#define ATTNBENCH_LINUX_CALLS_H

// Allows the calling thread, and those it will start, the given CPUs alone; 0, or the errno.
int attn_keep_to_cpus(const int *cpus, int count);

// pipe2 with O_CLOEXEC: a program that another thread starts meanwhile must not inherit an end, or
// nobody would ever see the pipe closed. 0, or the errno.
int attn_private_pipe(int ends[2]);

#endif
