// Preloaded into the command: lets one of the calls fail that change what is on disk, or ends the
// process there.
//
//   FAIL_BELOW   only calls on files below this directory count, and on what was opened there
//   FAIL_AT      the call that fails, from 1
//   FAIL_ERRNO   what it fails with; without it the process is killed
//   FAIL_AFTER   kills when the call has been made, not before
//   FAIL_LOG     gets the name of that call

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define DESCRIPTORS 1024

static atomic_int calls;
static atomic_bool watched[DESCRIPTORS];

static bool is_below(const char *path) {
  const char *root = getenv("FAIL_BELOW");
  if (!root) return false;
  char directory[4096];
  if (path[0] != '/') {
    if (!getcwd(directory, sizeof directory)) return false;
    path = directory;
  }
  return strncmp(path, root, strlen(root)) == 0;
}

static bool is_watched(int file) {
  return file >= 0 && file < DESCRIPTORS && atomic_load(&watched[file]);
}

static void die(void) { raise(SIGKILL); }

// Whether it is this call's turn.
static bool is_struck(const char *name) {
  const char *at = getenv("FAIL_AT");
  if (!at || atomic_fetch_add(&calls, 1) + 1 != atoi(at)) return false;
  const char *log = getenv("FAIL_LOG");
  int file = log ? REAL(open)(log, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
  if (file >= 0) {
    if (REAL(write)(file, name, strlen(name)) < 0) abort();
    REAL(close)(file);
  }
  return true;
}

// Makes the call `real`, unless it is its turn and fails; a kill comes before or after it.
#define CALL(counts, name, real)                            \
  do {                                                      \
    if (!(counts) || !is_struck(name)) return real;         \
    const char *code = getenv("FAIL_ERRNO");                \
    if (code) {                                             \
      errno = atoi(code);                                   \
      return -1;                                            \
    }                                                       \
    if (getenv("FAIL_AFTER") && (real) >= 0) die();         \
    die();                                                  \
    return -1;                                              \
  } while (0)

static int watch(int file) {
  if (file >= 0 && file < DESCRIPTORS) atomic_store(&watched[file], true);
  return file;
}

static int open_or_fail(const char *path, int flags, mode_t mode) {
  bool counts = (flags & (O_ACCMODE | O_DIRECTORY)) != 0 && is_below(path);
  if (!counts) return REAL(open)(path, flags, mode);
  CALL(true, "open", watch(REAL(open)(path, flags, mode)));
}

#define MODE(flags, mode)             \
  mode_t mode = 0;                    \
  if ((flags) & (O_CREAT | O_TMPFILE)) { \
    va_list list;                     \
    va_start(list, flags);            \
    mode = va_arg(list, mode_t);      \
    va_end(list);                     \
  }

int open(const char *path, int flags, ...) {
  MODE(flags, mode)
  return open_or_fail(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  MODE(flags, mode)
  return open_or_fail(path, flags, mode);
}

ssize_t write(int file, const void *bytes, size_t count) {
  CALL(is_watched(file), "write", REAL(write)(file, bytes, count));
}

int fsync(int file) { CALL(is_watched(file), "fsync", REAL(fsync)(file)); }

int fchmod(int file, mode_t mode) { CALL(is_watched(file), "fchmod", REAL(fchmod)(file, mode)); }

int ftruncate(int file, off_t length) {
  CALL(is_watched(file), "ftruncate", REAL(ftruncate)(file, length));
}

// A descriptor is gone even where closing it fails.
int close(int file) {
  bool counts = is_watched(file);
  if (counts) atomic_store(&watched[file], false);
  if (counts && getenv("FAIL_ERRNO") && is_struck("close")) {
    REAL(close)(file);
    errno = atoi(getenv("FAIL_ERRNO"));
    return -1;
  }
  if (counts && getenv("FAIL_ERRNO")) return REAL(close)(file);
  CALL(counts, "close", REAL(close)(file));
}

int link(const char *from, const char *to) { CALL(is_below(to), "link", REAL(link)(from, to)); }

int rename(const char *from, const char *to) {
  CALL(is_below(to), "rename", REAL(rename)(from, to));
}

int unlink(const char *path) { CALL(is_below(path), "unlink", REAL(unlink)(path)); }

int mkdir(const char *path, mode_t mode) { CALL(is_below(path), "mkdir", REAL(mkdir)(path, mode)); }

int rmdir(const char *path) { CALL(is_below(path), "rmdir", REAL(rmdir)(path)); }
