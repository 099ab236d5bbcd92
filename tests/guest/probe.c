/* The application of the tests of init: each word of its command line is one thing to do, in order. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static volatile sig_atomic_t got;

static void note(int number) { got = number; }

static void show_file(const char *path)
{
    char line[1024];
    FILE *file = fopen(path, "r");
    if (!file)
        printf("no %s: %s\n", path, strerror(errno));
    while (file && fgets(line, sizeof line, file))
        printf("%s| %s", path, line);
    if (file)
        fclose(file);
}

static void show_identity(void)
{
    gid_t groups[32];
    int count = getgroups(32, groups);
    char cwd[256], host[65] = "";
    struct rlimit limit;

    printf("ids uid=%d euid=%d gid=%d groups=", getuid(), geteuid(), getgid());
    for (int i = 0; i < count; i++)
        printf("%s%d", i ? "," : "", groups[i]);
    getrlimit(RLIMIT_NOFILE, &limit);
    gethostname(host, sizeof host);
    printf("\ncwd %s\nnofile %lld %lld\nhost %s\n", getcwd(cwd, sizeof cwd), (long long)limit.rlim_cur, (long long)limit.rlim_max, host);
    for (char **e = environ; *e; e++)
        printf("env [%s]\n", *e);
    int again = open("/proc/self/fd/1", O_WRONLY);
    printf("console %s\n", again >= 0 ? "opens again" : strerror(errno));
    printf("foreground %s\n", tcgetpgrp(0) == getpgrp() ? "yes" : "no");
}

static void show_fds(void)
{
    for (int fd = 0; fd < 64; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("fd %d\n", fd);
}

static void show_signals(void)
{
    sigset_t mask;
    int blocked = 0, ignored = 0;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int i = 1; i < 32; i++) {
        struct sigaction act;
        blocked += sigismember(&mask, i) == 1;
        ignored += !sigaction(i, NULL, &act) && act.sa_handler == SIG_IGN;
    }
    printf("signals blocked=%d ignored=%d\n", blocked, ignored);
}

static void show_addresses(void)
{
    struct ifaddrs *list = NULL;
    getifaddrs(&list);
    for (struct ifaddrs *a = list; a; a = a->ifa_next)
        if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET) {
            char address[32], mask[32];
            inet_ntop(AF_INET, &((struct sockaddr_in *)a->ifa_addr)->sin_addr, address, sizeof address);
            inet_ntop(AF_INET, &((struct sockaddr_in *)a->ifa_netmask)->sin_addr, mask, sizeof mask);
            printf("address %s %s/%s\n", a->ifa_name, address, mask);
        }
    freeifaddrs(list);
}

/* Children of children that end while nobody but init can reap them. */
static void make_orphans(int count)
{
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (!pid) {
            if (!fork())
                _exit(0);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
    usleep(200000);
}

static void count_zombies(void)
{
    int zombies = 0;
    char path[64], line[256];
    for (int pid = 2; pid < 2000; pid++) {
        char state;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        if (fgets(line, sizeof line, file) && strrchr(line, ')') && sscanf(strrchr(line, ')'), ") %c", &state) == 1)
            zombies += state == 'Z';
        fclose(file);
    }
    printf("zombies %d\n", zombies);
}

static void wait_for(int number)
{
    struct sigaction act = {.sa_handler = note};
    sigaction(number, &act, NULL);
    printf("waiting for %d\n", number);
    fflush(stdout);
    while (got != number)
        usleep(10000);
    printf("got %d\n", number);
}

/* Ahead of everybody else, so that nothing comes between: whether the signal is there when it goes on after a stop. */
static void go_on_with(int number)
{
    const struct sched_param first = {.sched_priority = 1};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGCONT, note);
    syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &first);
    printf("to be stopped\n");
    while (got != SIGCONT)
        usleep(10000);
    sigpending(&set);
    printf("went on %s %d\n", sigismember(&set, number) == 1 ? "with" : "without", number);
}

static void flood(int lines)
{
    for (int i = 0; i < lines; i++)
        printf("flood %d of %d ......................................................\n", i + 1, lines);
}

static void echo(void)
{
    char line[256];

    printf("say something\n");
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        printf("read [%s]\n", line);
    }
    printf("end of input\n");
}

static void leave_child(void)
{
    if (!fork()) {
        setsid();
        for (;;)
            pause();
    }
}

static void touch(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    printf("write %s %s\n", path, fd >= 0 && write(fd, "x\n", 2) == 2 ? "works" : strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* What stands at a path: its mode as a number, owner, time of the last change, and where a link leads. */
static void look(const char *path)
{
    char target[256] = "";
    struct stat s;

    if (lstat(path, &s)) {
        printf("look %s %s\n", path, strerror(errno));
        return;
    }
    if (S_ISLNK(s.st_mode) && readlink(path, target, sizeof target - 1) < 0)
        strcpy(target, strerror(errno));
    printf("look %s %o %u:%u %lld%s%s\n", path, s.st_mode, s.st_uid, s.st_gid, (long long)s.st_mtime,
           *target ? " -> " : "", target);
}

/* As the programs of another user that the application starts. */
static void write_as(const char *words)
{
    unsigned id = (unsigned)atoi(words);
    const char *path = strchr(words, ':') + 1;

    fflush(stdout);
    if (!fork()) {
        if (syscall(SYS_setresgid, id, id, id) || syscall(SYS_setresuid, id, id, id))
            _exit(1);
        int fd = open(path, O_WRONLY | O_APPEND);
        if (fd < 0 || write(fd, "written as another\n", 19) != 19)
            printf("%s as %u: %s\n", path, id, strerror(errno));
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

static void resolve_own_name(void)
{
    char name[65] = "";
    gethostname(name, sizeof name);
    struct hostent *found = gethostbyname(name);
    printf("%s is %s\n", name, found ? inet_ntoa(*(struct in_addr *)found->h_addr_list[0]) : hstrerror(h_errno));
}

static void share_memory(void)
{
    int fd = shm_open("/shared", O_RDWR | O_CREAT, 0600);
    printf("shared memory %s\n", fd < 0 || posix_fallocate(fd, 0, 1 << 20) ? strerror(errno) : "works");
}

/* The processor time of init so far, in ticks of 10 ms. */
static long init_ticks(void)
{
    char line[512];
    unsigned long user = 0, system = 0;
    FILE *file = fopen("/proc/1/stat", "r");
    if (file && fgets(line, sizeof line, file))
        sscanf(strrchr(line, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    if (file)
        fclose(file);
    return (long)(user + system);
}

static void watch_init(int ms)
{
    long before = init_ticks();
    usleep((useconds_t)ms * 1000);
    printf("init used %ld ms of %d ms\n", (init_ticks() - before) * 10, ms);
}

/* One of init's files, as it would be for whoever may look into it. */
static void take_port(void)
{
    int init = (int)syscall(SYS_pidfd_open, 1, 0), taken = -1, shown = 0;
    for (int fd = 3; fd < 32 && init >= 0; fd++)
        if ((taken = (int)syscall(SYS_pidfd_getfd, init, fd, 0)) >= 0)
            shown += write(taken, "1 error taken\n", 14) == 14;
    printf("pidfd_getfd %s, %d written to\n", strerror(errno), shown);
    printf("ptrace %s\n", ptrace(PTRACE_SEIZE, 1, NULL, NULL) ? strerror(errno) : "works");
    printf("memory %s\n", open("/proc/1/mem", O_RDWR) < 0 ? strerror(errno) : "opens");
    int opened = 0;
    for (int fd = 0; fd < 32; fd++) {
        char path[32];
        snprintf(path, sizeof path, "/proc/1/fd/%d", fd);
        opened += open(path, O_RDWR) >= 0;
    }
    printf("files %d open\n", opened);
}

/* Faster than whoever opens it too: as soon as it is there. */
static void grab(const char *path)
{
    int fd = -1;
    for (int tries = 0; tries < 1000 && fd < 0; tries++) {
        fd = open(path, O_WRONLY);
        if (fd < 0 && errno != ENOENT)
            break;
        if (fd < 0)
            usleep(100);
    }
    printf("grab %s %s\n", path, fd < 0 ? strerror(errno) : "works");
}

static void become(unsigned id)
{
    int failed = syscall(SYS_setresgid, id, id, id) || syscall(SYS_setresuid, id, id, id);
    printf("become %u %s\n", id, failed ? strerror(errno) : "works");
}

/* What comes of the capabilities over an exec. */
static void show_rights(void)
{
    fflush(stdout);
    if (!fork()) {
        execl("/probe", "/probe", "rights-here", NULL);
        _exit(1);
    }
    wait(NULL);
}

static void show_rights_here(void)
{
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "Cap", 3) || !strncmp(line, "NoNewPrivs", 10))
            fputs(line, stdout);
    if (file)
        fclose(file);
}

static void tell(const char *address)
{
    char host[64], reply[64] = "";
    struct sockaddr_in to = {.sin_family = AF_INET};
    int port, fd = socket(AF_INET, SOCK_STREAM, 0);
    sscanf(address, "%63[^:]:%d", host, &port);
    to.sin_port = htons((unsigned short)port);
    inet_pton(AF_INET, host, &to.sin_addr);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) || write(fd, "hello\n", 6) != 6 || read(fd, reply, 63) <= 0)
        printf("tell: %s\n", strerror(errno));
    else
        printf("told, heard %s\n", reply);
    close(fd);
}

static void listen_at(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    printf("listen %s\n", bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 1) ? strerror(errno) : "works");
}

/* Fails until it was run three times: each time leaves a byte in the file. */
static int count_up(const char *path)
{
    struct stat known;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0 || write(fd, ".", 1) != 1 || fstat(fd, &known))
        printf("count: %s\n", strerror(errno));
    else if (known.st_size >= 3)
        pause();
    return 1;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        char *word = argv[i], *value = strchr(word, '=');
        if (value)
            *value++ = '\0';
        if (!strcmp(word, "exit")) return atoi(value);
        else if (!strcmp(word, "raise")) raise(atoi(value));
        else if (!strcmp(word, "say")) printf("say [%s]\n", value);
        else if (!strcmp(word, "identity")) show_identity();
        else if (!strcmp(word, "fds")) show_fds();
        else if (!strcmp(word, "signals")) show_signals();
        else if (!strcmp(word, "file")) show_file(value);
        else if (!strcmp(word, "addresses")) show_addresses();
        else if (!strcmp(word, "tell")) tell(value);
        else if (!strcmp(word, "listen")) listen_at(atoi(value));
        else if (!strcmp(word, "orphans")) make_orphans(atoi(value));
        else if (!strcmp(word, "zombies")) count_zombies();
        else if (!strcmp(word, "wait")) wait_for(atoi(value));
        else if (!strcmp(word, "go-on-with")) go_on_with(atoi(value));
        else if (!strcmp(word, "ignore")) signal(atoi(value), SIG_IGN);
        else if (!strcmp(word, "flood")) flood(atoi(value));
        else if (!strcmp(word, "echo")) echo();
        else if (!strcmp(word, "child")) leave_child();
        else if (!strcmp(word, "touch")) touch(value);
        else if (!strcmp(word, "look")) look(value);
        else if (!strcmp(word, "as")) write_as(value);
        else if (!strcmp(word, "own-name")) resolve_own_name();
        else if (!strcmp(word, "shared")) share_memory();
        else if (!strcmp(word, "sleep")) usleep((useconds_t)atoi(value) * 1000);
        else if (!strcmp(word, "take-port")) take_port();
        else if (!strcmp(word, "grab")) grab(value);
        else if (!strcmp(word, "become")) become((unsigned)atoi(value));
        else if (!strcmp(word, "rights")) show_rights();
        else if (!strcmp(word, "rights-here")) show_rights_here();
        else if (!strcmp(word, "watch")) watch_init(atoi(value));
        else if (!strcmp(word, "alive")) printf("alive %s\n", stat(value, &(struct stat){0}) ? "no" : "yes");
        else if (!strcmp(word, "counted")) return count_up(value);
        else if (!strcmp(word, "init")) kill(1, atoi(value));
        else printf("what is %s?\n", word);
    }
    return 0;
}
