// dl_iterate_phdr is an extension of glibc's.
#define _GNU_SOURCE
#include "allocation_counter.h"

#include <errno.h>
#if defined(__GLIBC__)
#include <link.h>
#endif
#include <stdatomic.h>
#include <stddef.h>

static atomic_int counting;
static atomic_long allocations;

void allocation_counter_start(void) {
  atomic_store(&allocations, 0);
  atomic_store(&counting, 1);
}

long allocation_counter_stop(void) {
  atomic_store(&counting, 0);
  return atomic_load(&allocations);
}

#if defined(__GLIBC__)
// The addresses that the exempt library's code takes up.
static struct {
  size_t function, start, end;
} exempt;

static int find_library(struct dl_phdr_info *info, size_t size, void *unused) {
  (void)size;
  (void)unused;
  for (int index = 0; index < info->dlpi_phnum; index++) {
    const ElfW(Phdr) *segment = &info->dlpi_phdr[index];
    const size_t start = info->dlpi_addr + segment->p_vaddr;
    if (segment->p_type != PT_LOAD || exempt.function < start ||
        exempt.function >= start + segment->p_memsz)
      continue;
    exempt.start = start;
    exempt.end = start + segment->p_memsz;
    return 1;
  }
  return 0;
}

int allocation_counter_exempt(const void *function) {
  exempt.function = (size_t)function;
  return dl_iterate_phdr(find_library, NULL);
}

// glibc's own, under the names it keeps for interposers.
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

static void note(const void *caller) {
  if (!atomic_load_explicit(&counting, memory_order_relaxed)) return;
  if ((size_t)caller - exempt.start >= exempt.end - exempt.start)
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
}

void *malloc(size_t size) {
  note(__builtin_return_address(0));
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  note(__builtin_return_address(0));
  return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
  note(__builtin_return_address(0));
  return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size) {
  note(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  note(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
  if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
  note(__builtin_return_address(0));
  void *result = __libc_memalign(alignment, size);
  if (!result) return ENOMEM;
  *memory = result;
  return 0;
}

void free(void *memory) { __libc_free(memory); }
#endif
