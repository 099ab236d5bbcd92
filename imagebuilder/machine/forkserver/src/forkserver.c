/* Loaded into QEMU (LD_PRELOAD), this makes it a fork server: a process that stands still, and of which copies are made
 * with all their threads. A copy has what the fork server has, the code that was translated above all, and shares the
 * memory with it until one of them writes.
 *
 * fork(2) copies the memory and one thread. So every thread is first brought to stand still in the handler of a signal,
 * where its stack holds all that it is: the kernel has put its registers there. In the copy, new threads are started
 * that jump into those handlers and return from them. What the copy shares with the fork server besides, and must not,
 * is replaced: the files that we are told, connections to the outside, and the counters by which threads wake each
 * other (eventfd(2)). Its epoll(7) descriptors stay: QEMU uses them from 64 files of one kind on only.
 *
 * We are asked through a socket (SOCK_SEQPACKET), its number in IMAGEBUILDER_FORK_SERVER, for a copy at a time: the
 * message has the numbers of files in QEMU as integers, and comes with those that take their place in the copy
 * (SCM_RIGHTS). The first is a connection: a copy ends when its other end is closed. We answer with an integer, its
 * process or a negative errno; one 0 at the start says that we are there.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if !defined(__x86_64__) || !defined(__GLIBC__)
#error "how a thread is described is known for glibc on x86-64 only"
#endif

enum {
    MOST_THREADS = 256,
    MOST_FILES = 1024,
    MOST_REPLACED = 32,
    PATIENCE_TICKS = 1000,      /* of 10 ms: for all threads to stand still */
    ATTEMPTS = 5,               /* a thread that stands still starts no other; one that does not yet may */
    ROOM_BYTES = 4096,          /* below the handler's frame: for what starts a thread */
    TID_OFFSET = 0x2d0,         /* of a thread's number in glibc's description; checked for each */
    STACK_POINTER = 2,          /* its place in what __builtin_setjmp writes */
    RSEQ_BYTES = 32,
};
#define STOP SIGRTMAX           /* QEMU does not use it */
#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | \
                CLONE_SETTLS | CLONE_CHILD_CLEARTID)

struct thread {
    pid_t tid;
    char *self;                 /* its description, which is where FS points; NULL: it does not stand still */
    bool gone;
    void *registers[5];
};

struct request {
    bool whole;
    int count, replaced[MOST_REPLACED], by[MOST_REPLACED];
};

static struct thread threads[MOST_THREADS];
static int thread_count, control = -1;
static int open_files[MOST_FILES], file_count;
static long long counters[MOST_FILES];
static pid_t parent;
static const ptrdiff_t *rseq_offset;
static const unsigned int *rseq_size;
static _Atomic int standing, generation;

static char *description(void)
{
    char *self;
    __asm__("mov %%fs:0, %0" : "=r"(self));
    return self;
}

static void wait_while(_Atomic int *word, int value, const struct timespec *limit)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, limit);
}

static void wake(_Atomic int *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX);
}

/* Standing still */

static struct thread *known(pid_t tid)
{
    for (int i = 0; i < thread_count; i++)
        if (threads[i].tid == tid)
            return &threads[i];
    return NULL;
}

static void stand_still(int signal)
{
    int error = errno, before = atomic_load(&generation);
    struct thread *thread = known((pid_t)syscall(SYS_gettid));
    (void)signal;
    if (thread != NULL && __builtin_setjmp(thread->registers) == 0) {
        thread->self = description();
        atomic_fetch_add(&standing, 1);
        wake(&standing);
        while (atomic_load(&generation) == before)
            wait_while(&generation, before, NULL);
    }
    errno = error;
}

static void let_go(void)
{
    atomic_fetch_add(&generation, 1);
    wake(&generation);
}

/* The numbers that are names in a folder of /proc, without memory from malloc: a thread that stands still may be in
 * it. Returns how many. */
static int numbers_in(const char *folder, int *found, int most)
{
    char entries[4096];
    long bytes;
    int count = 0, fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    while ((bytes = syscall(SYS_getdents64, fd, entries, sizeof entries)) > 0)
        for (long at = 0; at < bytes;) {
            struct dirent64 *entry = (struct dirent64 *)(entries + at);
            at += entry->d_reclen;
            if (entry->d_name[0] != '.' && count < most)
                found[count++] = atoi(entry->d_name);
        }
    close(fd);
    return bytes < 0 ? -errno : count == most ? -EMFILE : count;
}

/* Returns whether there was somebody to be told. */
static bool stop(struct thread *thread)
{
    thread->gone = syscall(SYS_tgkill, getpid(), thread->tid, STOP) != 0;
    return !thread->gone;
}

/* Threads that ended before the signal reached them are not waited for. Returns how many there are. */
static int left(void)
{
    int count = 0;
    for (int i = 0; i < thread_count; i++) {
        struct thread *each = &threads[i];
        if (each->self == NULL && !each->gone)
            each->gone = syscall(SYS_tgkill, getpid(), each->tid, 0) != 0;
        count += !each->gone;
    }
    return count;
}

static int stop_those_there_are(void)
{
    static int tids[MOST_THREADS];
    int signalled = 0, found = numbers_in("/proc/self/task", tids, MOST_THREADS);
    if (found < 0)
        return found;
    thread_count = 0;
    atomic_store(&standing, 0);
    for (int i = 0; i < found; i++)
        if (tids[i] != (pid_t)syscall(SYS_gettid))
            threads[thread_count++] = (struct thread){.tid = tids[i]};
    for (int i = 0; i < thread_count; i++)
        signalled += stop(&threads[i]);
    const struct timespec tick = {.tv_nsec = 10 * 1000 * 1000};
    for (int now, ticks = 0; (now = atomic_load(&standing)) < signalled;) {
        wait_while(&standing, now, &tick);
        if (atomic_load(&standing) == now) {
            signalled = left();
            if (ticks++ == PATIENCE_TICKS)
                return -ETIMEDOUT;
        }
    }
    for (int i = 0; i < thread_count; i++)
        if (!threads[i].gone && *(pid_t *)(threads[i].self + TID_OFFSET) != threads[i].tid)
            return -ENOSYS;
    found = numbers_in("/proc/self/task", tids, MOST_THREADS);
    for (int i = 0; i < found; i++)
        if (tids[i] != (pid_t)syscall(SYS_gettid) && known(tids[i]) == NULL)
            return -EAGAIN;
    return found < 0 ? found : 0;
}

static int stop_all(void)
{
    int result = -EAGAIN;
    for (int attempt = 0; attempt < ATTEMPTS && result == -EAGAIN; attempt++) {
        result = stop_those_there_are();
        if (result != 0)
            let_go();
    }
    return result;
}

/* The copy */

/* glibc since 2.35; of a thread that it did not start itself the kernel knows nothing yet. */
static void register_rseq(void)
{
    if (rseq_offset != NULL && rseq_size != NULL && *rseq_size != 0)
        syscall(SYS_rseq, description() + *rseq_offset, RSEQ_BYTES, 0, 0x53053053 /* RSEQ_SIG */);
}

static int go_on(void *thread)
{
    register_rseq();
    __builtin_longjmp(((struct thread *)thread)->registers, 1);
}

/* The kernel gives it another number than it had, and glibc keeps the old one: it is the owner of those mutexes that
 * it has locked. The kernel clears it when the thread ends, for whoever joins it. */
static void start_again(struct thread *thread)
{
    char *stack = (char *)thread->registers[STACK_POINTER] - ROOM_BYTES;
    if (clone(go_on, (void *)((uintptr_t)stack & ~15ul), THREAD, thread, NULL, thread->self,
              thread->self + TID_OFFSET) < 0)
        _exit(EXIT_FAILURE);
}

/* The counter of an eventfd, as its fdinfo has it; -1: the file is none; -2: it has none, and somebody would wait for
 * ever. */
static long long counter(int fd)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(path, text, sizeof text - 1);
    if (bytes < 0 || strncmp(text, "anon_inode:[eventfd]", (size_t)bytes) != 0)
        return -1;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info = open(path, O_RDONLY | O_CLOEXEC);
    bytes = read(info, text, sizeof text - 1);
    close(info);
    text[bytes < 0 ? 0 : bytes] = 0;
    const char *count = strstr(text, "eventfd-count:");
    return count == NULL ? -2 : (long long)strtoull(count + strlen("eventfd-count:"), NULL, 16);
}

/* What is open, and the counters of what are eventfds: read while every thread stands still. The copy has the same
 * files until it replaces them, and the fork server's threads, let go again, would take from its counters. */
static int look_at_files(void)
{
    file_count = numbers_in("/proc/self/fd", open_files, MOST_FILES);
    if (file_count < 0)
        return file_count;
    for (int i = 0; i < file_count; i++)
        if ((counters[i] = counter(open_files[i])) == -2)
            return -ENOSYS;
    return 0;
}

static void replace(int fd, int by)
{
    if (by < 0 || dup3(by, fd, fcntl(fd, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)
        _exit(EXIT_FAILURE);
    close(by);
}

/* A connection to the outside is the fork server's: for a copy, whoever was at its other end has gone. */
static void hang_up(int fd)
{
    int family, type, pair[2];
    socklen_t size = sizeof family;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0 || (family != AF_INET && family != AF_INET6))
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
        socketpair(AF_UNIX, type | (fcntl(fd, F_GETFL) & O_NONBLOCK ? SOCK_NONBLOCK : 0), 0, pair) != 0)
        _exit(EXIT_FAILURE);
    close(pair[1]);
    replace(fd, pair[0]);
}

static void replace_what_is_shared(void)
{
    for (int i = 0; i < file_count; i++) {
        int fd = open_files[i];
        if (counters[i] >= 0)
            replace(fd, eventfd((unsigned int)counters[i], fcntl(fd, F_GETFL) & O_NONBLOCK ? EFD_NONBLOCK : 0));
        else
            hang_up(fd);
    }
}

static __attribute__((noreturn)) void become_copy(const struct request *request)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before it could be told of that */
        _exit(EXIT_FAILURE);
    prctl(PR_SET_TIMERSLACK, 1); /* as QEMU has set it for its own thread, which inherits it from this one */
    for (int i = 0; i < request->count; i++)
        replace(request->replaced[i], request->by[i]);
    close(control);
    replace_what_is_shared();
    for (int i = 0; i < thread_count; i++)
        if (!threads[i].gone)
            start_again(&threads[i]);
    /* Whoever asked for it may never learn of it: the fork server may end before it has answered. But it closes its
     * files. */
    struct pollfd wire = {.fd = request->replaced[0], .events = POLLRDHUP};
    while (poll(&wire, 1, -1) <= 0)
        continue;
    _exit(EXIT_FAILURE);
}

/* Makes a copy; returns its process, or a negative errno. It is a child of our own parent, not of us. */
static int copy(const struct request *request)
{
    int result = request->whole ? stop_all() : -EMFILE;
    cpu_set_t allowed;
    if (result != 0)
        return result;
    result = look_at_files();
    if (result != 0) {
        let_go();
        return result;
    }
    if (sched_getaffinity(getpid(), sizeof allowed, &allowed) == 0) /* of QEMU's own thread, which we may have missed */
        sched_setaffinity(0, sizeof allowed, &allowed);
    long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, NULL, NULL, 0);
    if (pid == 0)
        become_copy(request);
    result = pid < 0 ? -errno : (int)pid;
    let_go();
    return result;
}

/* Being asked */

/* The next request; false: nobody is there any more who could ask. */
static bool asked(struct request *request)
{
    union {
        char bytes[CMSG_SPACE(sizeof request->by)];
        struct cmsghdr head;
    } rights;
    struct iovec numbers = {request->replaced, sizeof request->replaced};
    struct msghdr message = {
        .msg_iov = &numbers, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights,
    };
    ssize_t bytes;
    do
        bytes = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
    while (bytes < 0 && errno == EINTR);
    request->count = 0;
    struct cmsghdr *files = CMSG_FIRSTHDR(&message);
    if (bytes > 0 && files != NULL && files->cmsg_level == SOL_SOCKET && files->cmsg_type == SCM_RIGHTS) {
        request->count = (int)((files->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(request->by, CMSG_DATA(files), (size_t)request->count * sizeof(int));
    }
    request->whole = (size_t)bytes == (size_t)request->count * sizeof(int) &&
                     (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
    return bytes > 0;
}

static void *answer(void *nothing)
{
    sigset_t all;
    int result = 0;
    struct request request;
    sigfillset(&all);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof(long));
    send(control, &result, sizeof result, MSG_NOSIGNAL);
    while (asked(&request)) {
        result = copy(&request);
        for (int i = 0; i < request.count; i++)
            close(request.by[i]);
        send(control, &result, sizeof result, MSG_NOSIGNAL);
    }
    return nothing;
}

static __attribute__((constructor)) void begin(void)
{
    const char *number = getenv("IMAGEBUILDER_FORK_SERVER");
    struct sigaction standing_still = {.sa_handler = stand_still, .sa_flags = SA_RESTART};
    pthread_t thread;
    if (number == NULL || strncmp(program_invocation_short_name, "qemu-system", strlen("qemu-system")) != 0)
        return; /* what starts QEMU has the same environment */
    control = atoi(number);
    parent = getppid();
    rseq_offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
    rseq_size = dlsym(RTLD_DEFAULT, "__rseq_size");
    sigfillset(&standing_still.sa_mask);
    if (sigaction(STOP, &standing_still, NULL) == 0)
        pthread_create(&thread, NULL, answer, NULL);
}

/* What QEMU gets instead of the libraries' own */

/* Its threads block all signals but those that they know. */
int pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
    sigset_t without;
    if (set != NULL) {
        without = *set;
        if (how != SIG_UNBLOCK)
            sigdelset(&without, STOP);
    }
    return syscall(SYS_rt_sigprocmask, how, set == NULL ? NULL : &without, before, sizeof(long)) < 0 ? errno : 0;
}

/* It keeps the guest's memory from being copied. */
int madvise(void *begin, size_t bytes, int advice)
{
    return advice == MADV_DONTFORK ? 0 : (int)syscall(SYS_madvise, begin, bytes, advice);
}

/* The rings of io_uring are the kernel's, and cannot be copied; QEMU does without. */
int io_uring_queue_init(unsigned int entries, void *ring, unsigned int flags)
{
    (void)entries, (void)ring, (void)flags;
    return -ENOSYS;
}

/* A generator with a state of its own would give every copy the same numbers, to its guest as RDRAND among others. */
int gnutls_rnd(int level, void *data, size_t bytes)
{
    (void)level;
    for (size_t done = 0; done < bytes;) {
        ssize_t more = getrandom((char *)data + done, bytes - done, 0);
        if (more < 0 && errno != EINTR)
            return -1;
        done += more < 0 ? 0 : (size_t)more;
    }
    return 0;
}
