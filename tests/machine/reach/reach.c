/* Who connects to port 7000 says "tcp ADDRESS PORT" or "udp ADDRESS PORT", and is told what came back from there. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const struct timeval PATIENCE = {.tv_sec = 3};

static void reach(FILE *out, int type, const char *address, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(address)};
    char said[65] = "";
    int fd = socket(AF_INET, type, 0);

    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &PATIENCE, sizeof PATIENCE);  /* of connect, too */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &PATIENCE, sizeof PATIENCE);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) || write(fd, "?", 1) != 1 || read(fd, said, sizeof said - 1) < 0)
        fprintf(out, "nothing: %s\n", strerror(errno));
    else
        fprintf(out, "heard %s\n", said);
    close(fd);
}

int main(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(7000)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 16))
        return 1;
    for (;;) {
        char line[128] = "", kind[8] = "", address[32] = "";
        int peer = accept(listener, NULL, NULL), port = 0;
        FILE *out = fdopen(peer, "r+");

        setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &PATIENCE, sizeof PATIENCE);
        if (fgets(line, sizeof line, out) && sscanf(line, "%7s %31s %d", kind, address, &port) == 3)
            reach(out, strcmp(kind, "udp") ? SOCK_STREAM : SOCK_DGRAM, address, port);
        fputs("end\n", out);
        fclose(out);
    }
}
