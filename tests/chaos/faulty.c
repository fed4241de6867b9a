/* Stands between a node and its disk and clock, by LD_PRELOAD: what it does to them is said in a file that is mapped, see faulty.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* As faulty.py writes it. */
struct orders {
    volatile uint32_t sync_ms;
    volatile uint32_t syncs_fail;
    /* They say that they are done, and nothing is. */
    volatile uint32_t syncs_lie;
    volatile uint32_t writes_fail;
    volatile uint32_t writes_are_short;
    volatile int32_t clock_s;
    /* How often any of it was done. */
    volatile uint32_t done;
};

static struct orders *orders;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CHAOS_ORDERS");
    int fd = path ? open(path, O_RDWR) : -1;
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) orders = mapped;
    if (fd >= 0) close(fd);
}

static void count(void) { __atomic_fetch_add(&orders->done, 1, __ATOMIC_RELAXED); }

static int sync_by(const char *name, int fd) {
    if (orders && orders->sync_ms) {
        struct timespec wait = {orders->sync_ms / 1000, orders->sync_ms % 1000 * 1000000L};
        count();
        nanosleep(&wait, NULL);
    }
    if (orders && orders->syncs_fail) {
        count();
        errno = EIO;
        return -1;
    }
    if (orders && orders->syncs_lie) {
        count();
        return 0;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}

int fsync(int fd) { return sync_by("fsync", fd); }
int fdatasync(int fd) { return sync_by("fdatasync", fd); }

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    if (orders && orders->writes_fail) {
        count();
        errno = EIO;
        return -1;
    }
    if (orders && orders->writes_are_short && length > 1) {
        count();
        length = (length + 1) / 2;
    }
    return real(fd, bytes, length, at);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int said = real(clock, now);
    if (said == 0 && orders && clock == CLOCK_REALTIME) now->tv_sec += orders->clock_s;
    return said;
}
