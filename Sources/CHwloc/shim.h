#pragma once

#include <errno.h>
#include <hwloc.h>
#include <hwloc/linux.h>
#include <linux/futex.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// What Swift cannot say: variadic system calls, the spin-wait hint, the floating-point control
// register.

/// Sleeps while `*word == expected`. Returns 0 when woken, else errno; EAGAIN (the word had
/// already changed) and EINTR are ordinary, so callers look at the word again in any case.
static inline int attn_futex_wait(void *word, uint32_t expected) {
  return syscall(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, expected, NULL) == 0 ? 0 : errno;
}

/// Wakes every thread of this process that sleeps on `word`.
static inline void attn_futex_wake_all(void *word) {
  (void)syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX);
}

/// Tells the core that this is a spin loop, so that it saves power and leaves the load/store
/// units to an SMT sibling.
static inline void attn_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ volatile("yield");
#else
  __asm__ volatile("" ::: "memory");
#endif
}

/// Has the calling thread's floating-point unit take denormal numbers for zeros, as operands and as
/// results; they cost a hundred times as much as others on many processors. Returns what
/// `attn_restore_denormals` takes.
static inline uint64_t attn_flush_denormals(void) {
#if defined(__x86_64__)
  const uint32_t control = __builtin_ia32_stmxcsr();
  // FZ and DAZ.
  __builtin_ia32_ldmxcsr(control | 0x8040);
  return control;
#elif defined(__aarch64__)
  uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  // FZ.
  __asm__ volatile("msr fpcr, %0" : : "r"(control | UINT64_C(1) << 24));
  return control;
#else
  return 0;
#endif
}

static inline void attn_restore_denormals(uint64_t control) {
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr((uint32_t)control);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(control));
#else
  (void)control;
#endif
}

/// The kernel's number of the calling thread. (`gettid()` needs _GNU_SOURCE.)
static inline pid_t attn_gettid(void) { return (pid_t)syscall(SYS_gettid); }

/// Names the calling thread, cut to 15 bytes. (`pthread_setname_np` needs _GNU_SOURCE, and fails
/// instead of cutting.)
static inline void attn_set_thread_name(const char *name) {
  (void)prctl(PR_SET_NAME, name, 0, 0, 0);
}

/// 1 if `tid` is a living thread of this process.
static inline int attn_thread_is_alive(pid_t tid) {
  return syscall(SYS_tgkill, getpid(), tid, 0) == 0;
}

/// Gives the allocator's free memory back to the system, where the C library can. (Swift's module of
/// the C library has no malloc.h.)
static inline void attn_trim_heap(void) {
#if defined(__GLIBC__)
  (void)malloc_trim(0);
#endif
}
