/* What init does while the application runs: pass signals on, reap, listen to the host. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct conf *conf;
static pid_t application;
static long long kill_at_ns;  /* 0: nobody asked it to end */
static sigset_t blocked;      /* signals that wait for init to take them */

void signals_block(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};

    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&blocked, faults[i]);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static void terminate(char *rest)
{
    (void)rest;
    if (kill_at_ns)
        return;
    kill(application, conf->stop_signal);
    kill_at_ns = now_ns() + (long long)conf->grace_ms * NS_PER_MS;
}

bool asked_to_end(void)
{
    return kill_at_ns;
}

static void pass_signal(char *rest)
{
    unsigned long long number;
    if (number_read(rest, 64, &number) && number)
        kill(application, (int)number);
}

static void power_off_now(char *rest)
{
    (void)rest;
    power_off();
}

static void memory(char *rest)
{
    static const struct { const char *line, *key; } KEYS[] = {
        {"MemTotal:", " total="}, {"MemFree:", " free="}, {"MemAvailable:", " available="}, {"Cached:", " cached="},
        {"Slab:", " slab="}, {"Buffers:", " buffers="}, {"Shmem:", " shmem="}, {"AnonPages:", " anonymous="},
        {"Mapped:", " mapped="}, {"KernelStack:", " stacks="}, {"PageTables:", " tables="}, {"Percpu:", " percpu="},
    };
    static char info[4096];
    struct text answer = {0};
    int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, info, sizeof info - 1);

    (void)rest;
    if (fd >= 0)
        close(fd);
    info[size < 0 ? 0 : size] = '\0';
    for (char *line = info, *end; (end = strchr(line, '\n')); line = end + 1)
        for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
            size_t length = strlen(KEYS[i].line);
            unsigned long long kib;
            if (strncmp(line, KEYS[i].line, length))
                continue;
            char *number = line + length + strspn(line + length, " ");
            number[strcspn(number, " \n")] = '\0';
            if (number_read(number, INT64_MAX / 1024, &kib))
                text_join(&answer, KEYS[i].key, DIGITS((long long)kib * 1024), NULL);
            break;
        }
    LINE("memory", answer.s);
}

static void pages(char *rest)
{
    (void)rest;
    learn_tell(conf);
    LINE("done pages");
}

static void sockets(char *rest)
{
    (void)rest;
    listens_tell();
    LINE("done sockets");
}

static void freeze(char *rest)
{
    (void)rest;
    clone_freeze();
    LINE("done freeze");
}

static void detach(char *rest)
{
    (void)rest;
    clone_detach();
    LINE("done detach");
}

static void hook(char *path)
{
    clone_hook(conf, path);
}

static void secret(char *words)
{
    secret_take(conf, words);
}

static void thaw(char *rest)
{
    clone_thaw(application, rest);
    LINE("done thaw");
}

static const struct { const char *name; void (*act)(char *rest); } COMMANDS[] = {
    {"terminate", terminate}, {"signal", pass_signal}, {"memory", memory}, {"pages", pages}, {"poweroff", power_off_now},
    {"sockets", sockets},
    {"freeze", freeze}, {"detach", detach}, {"seed", clone_seed}, {"clock", clone_clock}, {"hostname", clone_hostname},
    {"network", clone_network}, {"file", clone_file}, {"hook", hook}, {"thaw", thaw},
    {"secret", secret},
};

static void command(char *line)
{
    char *rest = strchr(line, ' ');

    if (rest)
        *rest++ = '\0';
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (!strcmp(line, COMMANDS[i].name))
            COMMANDS[i].act(rest ? rest : line + strlen(line));
}

/* Pass on what came, but for what is meant for init: SIGCHLD, and the kernel's word that a socket listens. */
static void signals_pass(int signals)
{
    struct signalfd_siginfo info;

    while (read(signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo == SIGIO && info.ssi_code == SI_KERNEL)
            watch_told();
        else if (info.ssi_signo != SIGCHLD)
            kill(application, (int)info.ssi_signo);
}

/* Reap all that ended; true when the application was among them. A helper that ends for good ends the machine. */
static bool reap(int *status)
{
    int other;
    bool ended = false;

    for (pid_t pid; (pid = waitpid(-1, &other, WNOHANG)) > 0;)
        if (pid == application) {
            *status = other;
            ended = true;
        } else if (conf->helpers) {
            helper_reaped(pid, other);
        }
    return ended;
}

static int kill_timeout_ms(void)
{
    if (!kill_at_ns)
        return -1;
    long long left_ns = kill_at_ns - now_ns();
    return left_ns <= 0 ? 0 : (int)(left_ns / NS_PER_MS) + 1;
}

/* What comes first of all that is waited for; -1: nothing that has a time. */
static int timeout_ms(void)
{
    unsigned channel = (unsigned)channel_timeout_ms(), ending = (unsigned)kill_timeout_ms(),
             watch = (unsigned)watch_timeout_ms(), first = channel < ending ? channel : ending;

    if (conf->helpers && (unsigned)helpers_timeout_ms() < first)
        first = (unsigned)helpers_timeout_ms();
    return (int)(watch < first ? watch : first);
}

int application_wait(const struct conf *of, pid_t pid)
{
    int status = 0, signals = signalfd(-1, &blocked, SFD_CLOEXEC | SFD_NONBLOCK);
    struct pollfd entries[2 + MOST_HELPERS];
    nfds_t count = 2;

    conf = of;
    application = pid;
    entries[0] = (struct pollfd){.fd = signals, .events = POLLIN};
    channel_ready(0, command);
    while (!reap(&status)) {
        channel_poll(&entries[1]);
        if (conf->helpers)
            count = 2 + (nfds_t)helpers_poll(&entries[2]);
        if (poll(entries, count, timeout_ms()) < 0)
            entries[0].revents = entries[1].revents = 0;
        if (conf->helpers)
            helpers_look();
        signals_pass(signals);
        watch_look();
        if (entries[1].revents || !channel_timeout_ms())
            channel_ready(entries[1].revents, command);
        if (kill_at_ns && now_ns() >= kill_at_ns) {
            kill(application, SIGKILL);
            kill_at_ns = INT64_MAX;
        }
    }
    return status;
}
