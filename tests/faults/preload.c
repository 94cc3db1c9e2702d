/* Counts the operations of a process that change files below a folder, and injects a fault at one of them.

   arm() is called in a fork of the server. The counter is a shared memory map of a file, so that a stage, DVC and the
   command that starts both count together. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { KILL, TERM, ENOSPC_, EIO_, EMFILE_, EROFS_, BACK, AHEAD };

static char root[PATH_MAX];
static size_t root_size;
static long *counter;
static long target;
static int kind, armed;

void arm(const char *folder, const char *file, long at, int what) {
  int fd = open(file, O_RDWR);
  counter = mmap(0, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (counter == MAP_FAILED) abort();
  strncpy(root, folder, sizeof root - 1);
  root_size = strlen(root);
  target = at, kind = what, armed = 1;
}

static int below(const char *path) {
  return !strncmp(path, root, root_size) && (path[root_size] == '/' || !path[root_size]);
}

static int is_ours(int dir, const char *path) {
  char place[PATH_MAX], link[64];
  if (!armed) return 0;
  if (path && path[0] == '/') return below(path);
  if (dir == AT_FDCWD) {
    if (!getcwd(place, sizeof place)) return 0;
    return below(place);
  }
  snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
  ssize_t size = readlink(link, place, sizeof place - 1);
  if (size < 0) return 0;
  place[size] = 0;
  return below(place);
}

/* Returns whether the operation fails. `opens`: whether it needs a new file descriptor. */
static int hit(int dir, const char *path, int opens) {
  int before = errno;
  if (!is_ours(dir, path)) return errno = before, 0;
  long n = __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
  errno = before;
  if (!target || n < target) return 0;
  if (n == target && kind == KILL) kill(getpid(), SIGKILL);
  if (n == target && kind == TERM) kill(getpid(), SIGTERM);
  if (kind == ENOSPC_) return errno = ENOSPC, 1;
  if (kind == EROFS_) return errno = EROFS, 1;
  if (kind == EIO_ && n == target) return errno = EIO, 1;
  if (kind == EMFILE_ && opens) return errno = EMFILE, 1;
  return 0;
}

#define REAL(type, name, ...)                                                                      \
  static type (*real)(__VA_ARGS__);                                                                \
  if (!real) real = dlsym(RTLD_NEXT, #name)

#define ON_FILE(type, name, params, args, ...)                                                     \
  type name params {                                                                               \
    REAL(type, name, __VA_ARGS__);                                                                 \
    return hit(fd, 0, 0) ? -1 : real args;                                                         \
  }
ON_FILE(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), int, const void *, size_t)
ON_FILE(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), int, const struct iovec *, int)
ON_FILE(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), int, const void *, size_t, off_t)
ON_FILE(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o), int, const void *, size_t, off64_t)
ON_FILE(int, ftruncate, (int fd, off_t n), (fd, n), int, off_t)
ON_FILE(int, ftruncate64, (int fd, off64_t n), (fd, n), int, off64_t)
ON_FILE(int, fsync, (int fd), (fd), int)
ON_FILE(int, fdatasync, (int fd), (fd), int)
ssize_t sendfile(int fd, int from, off_t *o, size_t n) {
  REAL(ssize_t, sendfile, int, int, off_t *, size_t);
  return hit(fd, 0, 0) ? -1 : real(fd, from, o, n);
}
ssize_t sendfile64(int fd, int from, off64_t *o, size_t n) {
  REAL(ssize_t, sendfile64, int, int, off64_t *, size_t);
  return hit(fd, 0, 0) ? -1 : real(fd, from, o, n);
}
ssize_t copy_file_range(int from, off64_t *o, int fd, off64_t *p, size_t n, unsigned f) {
  REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
  return hit(fd, 0, 0) ? -1 : real(from, o, fd, p, n, f);
}

#define ON_PATH(name, params, args, dir, path, ...)                                                \
  int name params {                                                                                \
    REAL(int, name, __VA_ARGS__);                                                                  \
    return hit(dir, path, 0) ? -1 : real args;                                                     \
  }
ON_PATH(rename, (const char *a, const char *b), (a, b), AT_FDCWD, b, const char *, const char *)
ON_PATH(renameat, (int d, const char *a, int e, const char *b), (d, a, e, b), e, b, int, const char *, int, const char *)
ON_PATH(link, (const char *a, const char *b), (a, b), AT_FDCWD, b, const char *, const char *)
ON_PATH(linkat, (int d, const char *a, int e, const char *b, int f), (d, a, e, b, f), e, b, int, const char *, int, const char *, int)
ON_PATH(symlink, (const char *a, const char *b), (a, b), AT_FDCWD, b, const char *, const char *)
ON_PATH(unlink, (const char *a), (a), AT_FDCWD, a, const char *)
ON_PATH(unlinkat, (int d, const char *a, int f), (d, a, f), d, a, int, const char *, int)
ON_PATH(rmdir, (const char *a), (a), AT_FDCWD, a, const char *)
ON_PATH(mkdir, (const char *a, mode_t m), (a, m), AT_FDCWD, a, const char *, mode_t)
ON_PATH(mkdirat, (int d, const char *a, mode_t m), (d, a, m), d, a, int, const char *, mode_t)
ON_PATH(truncate, (const char *a, off_t n), (a, n), AT_FDCWD, a, const char *, off_t)

/* Opening counts if it creates or truncates. With EMFILE, opening for reading fails too, but is not counted. */
static int hit_open(int dir, const char *path, int flags) {
  if (flags & (O_CREAT | O_TRUNC)) return hit(dir, path, 1);
  if (armed && kind == EMFILE_ && target && *counter >= target && is_ours(dir, path)) return errno = EMFILE, 1;
  return 0;
}

#define ON_OPEN(name)                                                                              \
  int name(const char *path, int flags, ...) {                                                     \
    REAL(int, name, const char *, int, ...);                                                       \
    va_list more;                                                                                  \
    va_start(more, flags);                                                                         \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                        \
    va_end(more);                                                                                  \
    return hit_open(AT_FDCWD, path, flags) ? -1 : real(path, flags, mode);                         \
  }
ON_OPEN(open)
ON_OPEN(open64)

#define ON_OPENAT(name)                                                                            \
  int name(int dir, const char *path, int flags, ...) {                                            \
    REAL(int, name, int, const char *, int, ...);                                                  \
    va_list more;                                                                                  \
    va_start(more, flags);                                                                         \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                        \
    va_end(more);                                                                                  \
    return hit_open(dir, path, flags) ? -1 : real(dir, path, flags, mode);                         \
  }
ON_OPENAT(openat)
ON_OPENAT(openat64)

#define ON_FOPEN(name)                                                                             \
  FILE *name(const char *path, const char *mode) {                                                 \
    REAL(FILE *, name, const char *, const char *);                                                \
    return hit_open(AT_FDCWD, path, strchr(mode, 'w') ? O_CREAT : 0) ? 0 : real(path, mode);       \
  }
ON_FOPEN(fopen)
ON_FOPEN(fopen64)

/* From the operation on, the clock is a day behind, or 400 days ahead. */
int clock_gettime(clockid_t id, struct timespec *now) {
  REAL(int, clock_gettime, clockid_t, struct timespec *);
  int answer = real(id, now);
  if (armed && id == CLOCK_REALTIME && kind >= BACK && target && *counter >= target)
    now->tv_sec += kind == BACK ? -86400 : 400 * 86400;
  return answer;
}
