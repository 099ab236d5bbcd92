/* Helpers: processes that run beside the application. Each is started and waited for before the next one, and all of
 * them before the application. One that ends for good ends the machine. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    FIRST_LOOK_MS = 1, MOST_LOOK_MS = 32,  /* between looks whether one is ready */
    AGAIN_MS = 100,                        /* until a failed one is started again */
    SHORT_LIFE_MS = 10000, MOST_SHORT_LIVES = 5,
    STOP_MS = 2000, TICK_MS = 5,
};

static struct state {
    pid_t pid;             /* 0: it does not run */
    pid_t group;           /* of its processes, also when it has ended */
    int out;               /* where what it prints comes from; -1: it prints to the console itself */
    int short_lives;       /* one after the other */
    bool said;             /* the line came */
    long long started_ns, again_ns;  /* when to start it again; 0: not */
    char line[256];
    size_t used;
} states[MOST_HELPERS];
static const struct conf *conf;
static bool stopping;

static void start(int i)
{
    const struct helper *h = &conf->helper[i];
    struct state *s = &states[i];
    int ends[2] = {-1, -1};

    s->out = -1;
    if (h->awaited == AWAITED_LINE && pipe2(ends, O_CLOEXEC))
        FAIL("cannot make a pipe for the helper ", h->name, ": ", REASON);
    s->pid = s->group = helper_start(h, ends[1]);
    s->started_ns = now_ns();
    s->again_ns = 0;
    if (ends[1] >= 0) {
        close(ends[1]);
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        s->out = ends[0];
    }
}

/* Look for the text in whole lines; of a long one in its first bytes. */
static void line_look(const struct helper *h, struct state *s, const char *bytes, ssize_t size)
{
    for (ssize_t i = 0; i < size && !s->said; i++) {
        if (bytes[i] != '\n') {
            s->line[s->used] = bytes[i];
            s->used += s->used < sizeof s->line - 1;
            continue;
        }
        s->line[s->used] = '\0';
        s->used = 0;
        s->said = strstr(s->line, h->text);
    }
}

/* Pass on to the console what came. */
static void print(int i)
{
    struct state *s = &states[i];
    char bytes[1024];
    ssize_t size;

    while (s->out >= 0 && (size = read(s->out, bytes, sizeof bytes)) != -1) {
        if (!size) {
            close(s->out);
            s->out = -1;
            return;
        }
        line_look(&conf->helper[i], s, bytes, size);
        if (write(2, bytes, (size_t)size) < 0)
            return;  /* no console */
    }
}

static bool is_ready(const struct helper *h, const struct state *s)
{
    if (h->awaited == AWAITED_PORT)
        return listens_at(h->port);
    if (h->awaited == AWAITED_FILE)
        return !access(h->text, F_OK);
    return h->awaited == AWAITED_NOTHING || s->said;
}

static _Noreturn void late(const struct helper *h)
{
    static const char *const LACKING[] = {
        [AWAITED_PORT] = " s: nothing listens on its port ", [AWAITED_FILE] = " s: there is no file ",
        [AWAITED_LINE] = " s: it printed no line that holds ",
    };

    FAIL("the helper ", h->name, " was not ready within ", DIGITS(h->limit_ms / MS_PER_S), LACKING[h->awaited], h->text);
}

static void reap(void)
{
    int status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        helper_reaped(pid, status);
}

static void await(int i)
{
    const struct helper *h = &conf->helper[i];
    struct pollfd entries[MOST_HELPERS];
    long long until_ns = now_ns() + (long long)h->limit_ms * NS_PER_MS;
    int wait_ms = FIRST_LOOK_MS;

    while (!is_ready(h, &states[i])) {
        if (now_ns() > until_ns)
            late(h);
        poll(entries, (nfds_t)helpers_poll(entries), wait_ms);
        helpers_look();
        reap();
        wait_ms = wait_ms < MOST_LOOK_MS ? wait_ms * 2 : MOST_LOOK_MS;
    }
}

void helpers_start(const struct conf *of)
{
    conf = of;
    for (int i = 0; i < conf->helpers; i++) {
        start(i);
        await(i);
    }
}

int helpers_poll(struct pollfd *entries)
{
    int count = 0;

    for (int i = 0; i < conf->helpers; i++)
        if (states[i].group && states[i].out >= 0)
            entries[count++] = (struct pollfd){.fd = states[i].out, .events = POLLIN};
    return count;
}

int helpers_timeout_ms(void)
{
    long long first_ns = 0, left_ns;

    for (int i = 0; i < conf->helpers; i++)
        if (states[i].again_ns && (!first_ns || states[i].again_ns < first_ns))
            first_ns = states[i].again_ns;
    if (!first_ns)
        return -1;
    left_ns = first_ns - now_ns();
    return left_ns <= 0 ? 0 : (int)(left_ns / NS_PER_MS) + 1;
}

void helpers_look(void)
{
    for (int i = 0; i < conf->helpers; i++) {
        if (!states[i].group)
            continue;  /* it was never started */
        print(i);
        if (states[i].again_ns && now_ns() >= states[i].again_ns && !stopping)
            start(i);
    }
}

static _Noreturn void lost(const struct helper *h, int status, int times)
{
    bool killed = WIFSIGNALED(status);
    int number = killed ? WTERMSIG(status) : WEXITSTATUS(status);
    struct text how = {0};

    text_join(&how, killed ? " was ended by signal " : " exited with status ", DIGITS(number), NULL);
    if (killed)
        text_join(&how, " (", strsignal(number), ")", NULL);
    if (times > 1)
        text_join(&how, ", ", DIGITS(times), " times soon after its start", NULL);
    FAIL("the helper ", h->name, how.s);
}

static void ended(int i, int status)
{
    struct state *s = &states[i];
    bool short_life = now_ns() - s->started_ns < (long long)SHORT_LIFE_MS * NS_PER_MS;

    print(i);  /* its last words stand before ours */
    s->pid = 0;
    kill(-s->group, SIGKILL);  /* what it left holds its ports */
    if (s->out >= 0)
        close(s->out);
    s->out = -1;
    if (stopping || asked_to_end())
        return;
    s->short_lives = short_life ? s->short_lives + 1 : 1;
    if (!conf->helper[i].restart || !status || s->short_lives == MOST_SHORT_LIVES)
        lost(&conf->helper[i], status, s->short_lives);
    s->again_ns = now_ns() + (long long)AGAIN_MS * NS_PER_MS;
}

void helper_reaped(pid_t pid, int status)
{
    for (int i = 0; i < conf->helpers; i++)
        if (states[i].pid == pid)
            return ended(i, status);
}

static bool any_runs(void)
{
    for (int i = 0; i < conf->helpers; i++)
        if (states[i].pid || (states[i].group && !kill(-states[i].group, 0)))
            return true;
    return false;
}

/* The application has ended, and none of them is needed any more. */
void helpers_stop(const struct conf *of)
{
    const struct timespec tick = {.tv_nsec = TICK_MS * NS_PER_MS};

    stopping = true;
    for (int i = 0; i < of->helpers; i++)
        if (states[i].pid)
            kill(states[i].pid, SIGTERM);
    for (int left_ms = STOP_MS; any_runs() && left_ms > -STOP_MS; left_ms -= TICK_MS) {
        nanosleep(&tick, NULL);
        helpers_look();
        reap();
        for (int i = 0; i < of->helpers && left_ms <= 0; i++)
            if (states[i].group)
                kill(-states[i].group, SIGKILL);
    }
}
