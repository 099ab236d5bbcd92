/* PID 1 of an image made by imagebuilder: everything in order, then the application, then power-off. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { DRAIN_S = 2, REAP_MS = 1000 };

static struct boot boot;
static struct conf conf;

static void text_say(struct text *line)
{
    text_add(line, "\n");
    if (write(2, line->s, line->used) < 0)
        return;  /* no console: the host has the channel */
}

void console_say(const char *first, ...)
{
    struct text line = {0};
    va_list words;

    text_add(&line, "init: ");
    va_start(words, first);
    for (const char *word = first; word; word = va_arg(words, const char *))
        text_add(&line, word);
    va_end(words);
    text_say(&line);
}

_Noreturn void power_off(void)
{
    channel_end();
    /* The last lines may stand in the serial port's buffer; a terminal that takes nothing must not hold us. */
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(DRAIN_S);
    tcdrain(2);
    file_write("/proc/sys/kernel/printk", "0", 0);  /* or the kernel's "Restarting system" ends every console log */
    reboot(can_power_off() ? RB_POWER_OFF : RB_AUTOBOOT);
    for (;;)
        pause();
}

_Noreturn void fail(const char *first, ...)
{
    struct text why = {0};
    va_list words;

    va_start(words, first);
    for (const char *word = first; word; word = va_arg(words, const char *))
        text_add(&why, word);
    va_end(words);
    SAY(why.s);
    LINE("error ", why.s);
    kill(-1, SIGKILL);
    sync();
    power_off();
}

/* Read a file whole; gives its size. The last byte of the buffer is kept for a NUL. */
static size_t file_read(const char *path, char *data, size_t most)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t size = 0;

    if (fd < 0)
        FAIL("cannot open ", path, ": ", REASON);
    while (used < most && (size = read(fd, data + used, most - used)) > 0)
        used += (size_t)size;
    if (size < 0)
        FAIL("cannot read ", path, ": ", REASON);
    if (used == most)
        FAIL(path, " is longer than ", DIGITS((long long)most - 1), " bytes");
    close(fd);
    data[used] = '\0';
    return used;
}

/* A disk's command line is the same on every machine; words of one machine alone stand where its host has put them. */
static void words_of_host(void)
{
    static char words[2048];
    ssize_t size = 0;
    int sys = sysfs_open();
    int fd = openat(sys, "firmware/qemu_fw_cfg/by_name/opt/imagebuilder/words/raw", O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && (size = read(fd, words, sizeof words - 1)) > 0)
        boot_add(&boot, words);
    close(fd);
    close(sys);
}

static void conf_load(void)
{
    static char data[65536];
    struct text why = {0};

    if (!conf_read(&conf, data, file_read("/init.conf", data, sizeof data), &why))
        FAIL("/init.conf: ", why.s);
}

static void names_and_network(void)
{
    const char *name = boot.hostname && *boot.hostname ? boot.hostname : conf.hostname;

    if (sethostname(name, strlen(name)))
        FAIL("cannot set the host name ", name, ": ", REASON);
    if (strcmp(name, conf.hostname)) {
        hosts_open();
        hosts_add(name);
    }
    if (!conf.no_network)
        network_loopback();
    if (boot.ip && *boot.ip)
        network_up(boot.ip);
    channel_phase("network", now_ns());
}

/* What is left of the image's processes ends, so that nothing writes to a disk any more; gives how many ran still. */
static int others_end(void)
{
    sigset_t child;
    struct timespec wait = {.tv_nsec = 50 * NS_PER_MS};
    int ended = 0;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;  /* these had ended by themselves */
    kill(-1, SIGKILL);
    for (int left_ms = REAP_MS; left_ms > 0; left_ms -= 50) {
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            ended++;
        if (pid < 0)
            break;
        sigtimedwait(&child, NULL, &wait);
    }
    return ended;
}

/* An application that goes into the background ends its machine: that is seldom meant. With helpers nobody knows whose
 * processes these were. */
static void left_say(int left)
{
    if (!left || asked_to_end() || conf.helpers)
        return;
    SAY("the application ended and left ", DIGITS(left), left == 1 ? " process" : " processes", " running");
    LINE("left ", DIGITS(left));
}

static _Noreturn void report(int status)
{
    bool killed = WIFSIGNALED(status);
    int number = killed ? WTERMSIG(status) : WEXITSTATUS(status);

    if (conf.helpers)
        helpers_stop(&conf);
    left_say(others_end());
    unmount_disks(&conf);
    sync();
    if (killed)
        SAY("the application was ended by signal ", DIGITS(number), " (", strsignal(number), ")");
    else if (number)
        SAY("the application exited with status ", DIGITS(number));
    LINE(killed ? "signal " : "exit ", DIGITS(number));
    power_off();
}

int main(void)
{
    static char cmdline[4096];
    long long begin_ns = now_ns();

    if (getpid() != 1) {
        SAY("this is the first process of an image: it does nothing elsewhere");
        return 1;
    }
    prctl(PR_SET_DUMPABLE, 0);  /* the application may be root too: nobody takes our port or looks at our memory */
    signals_block();
    mount_base();
    file_read("/proc/cmdline", cmdline, sizeof cmdline);
    boot_read(&boot, cmdline);
    if (boot.more && !strcmp(boot.more, "fw_cfg"))
        words_of_host();
    channel_begin(boot.channel);
    channel_phase("init", begin_ns);
    LINE("clock ", DIGITS(clock_step_ns()));
    if (boot.learn)
        learn_begin(boot.learn);
    conf_load();
    modules_load(&conf);
    if (conf.overlay)
        mount_overlay(conf.overlay);
    mount_all(&conf);
    if (!boot.learn)
        files_ahead(&conf);
    channel_phase("mounts", now_ns());
    names_and_network();
    setsid();
    ioctl(0, TIOCSCTTY, 1);  /* the console may be none, or none that can be a terminal */
    if (!conf.uid || conf.capabilities || conf.helpers)
        channel_claim();
    if (boot.given)
        given_take(&conf);
    if (conf.helpers)
        helpers_start(&conf);
    pid_t pid = application_start(&conf);
    long long started_ns = now_ns();
    watch_begin(boot.channel && boot.listen && !conf.helpers, conf.listen_signal);
    channel_phase("application", started_ns);
    report(application_wait(&conf, pid));
}
