/* Starts the application. By vfork, which returns when the child has become the application or has given up: no page
 * tables are copied, and what went wrong is left in our memory. */
#include "init.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CONSOLE_MODE = 0622 };  /* everybody writes to it, one reads it: as terminals have been */
/* <linux/capability.h> is not among the C library's headers. */
enum { CAPABILITIES = 64, CAPABILITY_WORDS = 2, CAPABILITY_VERSION_3 = 0x20080522 };
struct capability_head { uint32_t version; int pid; };
struct capability_sets { uint32_t effective, permitted, inheritable; };

/* What is to be started. A helper is `of` no application: it has none of its limits, groups and capabilities. */
struct process {
    char *const *arg, *const *env;
    uid_t uid;
    gid_t gid;
    const struct conf *of;
    bool front;
    int out;  /* what takes its output; -1: the console */
};
enum step { STEP_LIMIT, STEP_CWD, STEP_GROUPS, STEP_GID, STEP_UID, STEP_CAPABILITIES, STEP_EXEC };
struct trouble { enum step step; int error, index; };

/* No exec gives a capability any more but those, be it by root's number, a set-user-ID bit or a file's capabilities. */
static void bounding_set_shrink(uint64_t kept)
{
    for (int i = 0; i < CAPABILITIES; i++)
        if (!(kept >> i & 1) && syscall(SYS_prctl, PR_CAPBSET_DROP, i, 0, 0, 0))
            break;  /* the kernel has no more */
    syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* As ambient capabilities, since an ordinary user's exec passes no others on. */
static bool capabilities_keep(uint64_t kept)
{
    struct capability_head head = {.version = CAPABILITY_VERSION_3};
    struct capability_sets sets[CAPABILITY_WORDS];

    for (int i = 0; i < CAPABILITY_WORDS; i++)
        sets[i].effective = sets[i].permitted = sets[i].inheritable = (uint32_t)(kept >> 32 * i);
    if (syscall(SYS_capset, &head, sets))
        return false;
    for (int i = 0; i < CAPABILITIES; i++)
        if (kept >> i & 1 && syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0))
            return false;
    return true;
}

__attribute__((noinline)) static struct trouble process_become(const struct process *p)
{
    const struct conf *c = p->of;
    uint64_t capabilities = c ? c->capabilities : 0;
    sigset_t none;

    /* A process group of its own, in front: Ctrl-C on the console goes to it. Its session is init's, since the end of
     * a session's leader hangs the terminal up, and the last lines of the output are lost with it. */
    setpgid(0, 0);
    if (p->front)
        tcsetpgrp(0, getpid());
    if (p->out >= 0) {
        dup2(p->out, 1);
        dup2(p->out, 2);
    }
    for (int i = 0; c && i < c->limits; i++)
        if (prlimit(0, c->limit[i].resource, &c->limit[i].value, NULL))
            return (struct trouble){STEP_LIMIT, errno, i};
    if (chdir(c ? c->cwd : "/"))
        return (struct trouble){STEP_CWD, errno, 0};
    /* The bare calls: those of the library look for other threads first. */
    bounding_set_shrink(capabilities);
    if (capabilities)
        syscall(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (c && c->groups && syscall(SYS_setgroups, c->groups, c->group))
        return (struct trouble){STEP_GROUPS, errno, 0};
    if (p->gid && syscall(SYS_setresgid, p->gid, p->gid, p->gid))
        return (struct trouble){STEP_GID, errno, 0};
    if (p->uid && syscall(SYS_setresuid, p->uid, p->uid, p->uid))
        return (struct trouble){STEP_UID, errno, 0};
    if (capabilities && !capabilities_keep(capabilities))
        return (struct trouble){STEP_CAPABILITIES, errno, 0};
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(p->arg[0], p->arg, p->env);
    return (struct trouble){STEP_EXEC, errno, 0};
}

/* The name of the interpreter of a script or of an ELF program; "" when there is none or the file makes no sense. */
static const char *interpreter_of(const char *path, char *head, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, head, size - 1);
    const Elf64_Ehdr *elf = (const Elf64_Ehdr *)head;

    if (fd >= 0)
        close(fd);
    if (got < 2)
        return "";
    head[got] = '\0';
    if (head[0] == '#' && head[1] == '!') {
        char *name = head + 2 + strspn(head + 2, " \t");
        name[strcspn(name, " \t\n")] = '\0';
        return name;
    }
    if (got < (ssize_t)sizeof *elf || memcmp(head, ELFMAG, SELFMAG) || elf->e_phentsize != sizeof(Elf64_Phdr))
        return "";
    for (size_t i = 0; i < elf->e_phnum; i++) {
        Elf64_Phdr part;
        if (elf->e_phoff > (size_t)got || (i + 1) * sizeof part > (size_t)got - elf->e_phoff)
            return "";
        memcpy(&part, head + elf->e_phoff + i * sizeof part, sizeof part);
        if (part.p_type == PT_INTERP)
            return part.p_offset < (size_t)got ? head + part.p_offset : "";
    }
    return "";
}

static _Noreturn void exec_failed(const char *path, int error)
{
    static _Alignas(8) char head[4096];
    const char *interpreter = "", *reason = strerror(error);

    if (!access(path, F_OK) && (error == ENOENT || error == EACCES))
        interpreter = interpreter_of(path, head, sizeof head);
    if (error == ENOENT && *interpreter)
        FAIL("cannot start ", path, ": it exists, but its interpreter ", interpreter, " is missing");
    if (error == EACCES && access(path, X_OK))
        reason = "it is not executable";
    if (error == ENOENT)
        reason = "there is no such file in the image";
    if (error == ENOEXEC)
        reason = "it is no program for this kernel and processor";
    FAIL("cannot start ", path, ": ", reason);
}

static _Noreturn void start_failed(const struct process *p, struct trouble trouble)
{
    const struct conf *c = p->of;  /* only its application has limits, a folder, groups and capabilities */
    const char *reason = strerror(trouble.error);

    switch (trouble.step) {
    case STEP_LIMIT:
        FAIL("cannot set the limit ", c->limit[trouble.index].name, ": ", reason);
    case STEP_CWD:
        FAIL("cannot enter the working directory ", c->cwd, ": ", reason);
    case STEP_GROUPS:
        FAIL("cannot set the supplementary groups: ", reason);
    case STEP_GID:
        FAIL("cannot become the group ", DIGITS(p->gid), ": ", reason);
    case STEP_UID:
        FAIL("cannot become the user ", DIGITS(p->uid), ": ", reason);
    case STEP_CAPABILITIES:
        FAIL("cannot keep the capabilities of the application: ",
             trouble.error == EINVAL ? "the kernel does not know one of them" : reason);
    default:
        exec_failed(p->arg[0], trouble.error);
    }
}

static pid_t process_start(const struct process *process)
{
    static volatile struct trouble trouble;  /* the child shares our memory until its exec */

    pid_t pid = vfork();
    if (pid < 0)
        FAIL("cannot make a process: ", REASON);
    if (!pid) {
        trouble = process_become(process);
        _exit(127);
    }
    if (trouble.error)
        start_failed(process, trouble);
    return pid;
}

static pid_t of_application_start(const struct conf *c, char *const *arg, bool front)
{
    struct process process = {arg, c->env, c->uid, c->gid, c, front, -1};

    return process_start(&process);
}

pid_t application_start(const struct conf *conf)
{
    /* So that it may open /dev/stderr; and one that begins as root, so may those whom it becomes. */
    if (isatty(0) && (conf->uid ? fchown(0, conf->uid, (gid_t)-1) : fchmod(0, CONSOLE_MODE)))
        FAIL("cannot give the console to the user ", DIGITS(conf->uid), ": ", REASON);
    return of_application_start(conf, conf->arg, true);
}

pid_t hook_start(const struct conf *conf, char *path)
{
    return of_application_start(conf, (char *const[]){path, NULL}, false);
}

pid_t helper_start(const struct helper *helper, int out)
{
    struct process process = {helper->arg, helper->env, helper->uid, helper->gid, NULL, false, out};

    return process_start(&process);
}
