/* What the host has for this start alone: variables, user data, secrets. They come over the channel before anything is
 * started, so that they stand on no command line, in no image and in no kernel's memory that a program can read. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT_MS = 30000, MOST_BYTES = 65536 };
static const char ENVIRONMENT[] = "/run/instance/environment", SECRETS[] = "/run/credentials";
static char WHERE[] = "CREDENTIALS_DIRECTORY=/run/credentials";

static struct conf *conf;
static bool enough, have_secrets;

/* A file system of their own, in memory, that the application's user alone enters. */
static void secrets_mount(const struct conf *of)
{
    struct text options = {0};

    text_join(&options, "mode=0500,size=2m,uid=", DIGITS(of->uid), ",gid=", DIGITS(of->gid), NULL);
    mkdir("/run", 0755);
    if (mkdir(SECRETS, 0755) && errno != EEXIST)
        FAIL("cannot make the folder ", SECRETS, ": ", REASON);
    if (mount("tmpfs", SECRETS, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options.s))
        FAIL("cannot mount ", SECRETS, ": ", REASON);
    have_secrets = true;
}

void secret_take(const struct conf *of, char *words)
{
    if (!have_secrets)
        secrets_mount(of);
    file_take(SECRETS, words, &(struct owner){of->uid, of->gid, 0400});
}

static void secret(char *words)
{
    secret_take(conf, words);
}

static void go(char *rest)
{
    (void)rest;
    enough = true;
}

static const struct { const char *name; void (*act)(char *rest); } COMMANDS[] = {
    {"file", clone_file}, {"secret", secret}, {"go", go},
};

static void command(char *line)
{
    char *rest = strchr(line, ' ');
    size_t size = strlen(line);

    if (rest)
        *rest++ = '\0';
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (!strcmp(line, COMMANDS[i].name))
            COMMANDS[i].act(rest ? rest : line + strlen(line));
    explicit_bzero(line, size);
}

/* In the place of one of the same name, else as a further one. */
static void variable_set(char *variable)
{
    size_t name = strcspn(variable, "=") + 1;

    for (int i = 0; i < conf->envs; i++)
        if (!strncmp(conf->env[i], variable, name)) {
            conf->env[i] = variable;
            return;
        }
    if (conf->envs == MOST_WORDS)
        FAIL("the application has room for ", DIGITS(MOST_WORDS), " variables");
    conf->env[conf->envs++] = variable;
}

static void environment_read(void)
{
    static char data[MOST_BYTES + 1];
    int fd = open(ENVIRONMENT, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, data, MOST_BYTES);

    if (fd >= 0)
        close(fd);
    data[size < 0 ? 0 : size] = '\0';
    for (char *line = data, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        if (strchr(line, '='))
            variable_set(line);
    }
}

void given_take(struct conf *of)
{
    conf = of;
    instance_folder();
    if (!channel_take(command, &enough, LIMIT_MS))
        FAIL("the host did not say within ", DIGITS(LIMIT_MS / MS_PER_S), " s what it gives to this machine");
    environment_read();
    if (have_secrets)
        variable_set(WHERE);
}
