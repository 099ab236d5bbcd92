/* A very small HTTP server: answers every request with one page. Usage: server PORT PAGE */

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char page[64 * 1024];
static char answer[sizeof page + 256];

static int fail(const char *what)
{
	perror(what);
	return 1;
}

/* Read until the empty line that ends a request's head, or until the other side is silent. */
static void read_head(int client)
{
	char head[4096];
	size_t used = 0;
	ssize_t got;

	while (used < sizeof head - 1 && (got = read(client, head + used, sizeof head - 1 - used)) > 0) {
		used += (size_t)got;
		head[used] = 0;
		if (strstr(head, "\r\n\r\n"))
			return;
	}
}

static void write_all(int client, const char *bytes, size_t count)
{
	ssize_t done;

	while (count && (done = write(client, bytes, count)) > 0) {
		bytes += done;
		count -= (size_t)done;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct timeval patience = { .tv_sec = 5 };
	int one = 1, server, client, length;
	size_t page_bytes;
	FILE *file;

	if (argc != 3) {
		fprintf(stderr, "usage: server PORT PAGE\n");
		return 2;
	}
	if (!(file = fopen(argv[2], "r")))
		return fail(argv[2]);
	page_bytes = fread(page, 1, sizeof page, file);
	fclose(file);
	length = snprintf(answer, sizeof answer,
			  "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
			  "Content-Length: %zu\r\nConnection: close\r\n\r\n",
			  page_bytes);
	memcpy(answer + length, page, page_bytes);

	signal(SIGPIPE, SIG_IGN);
	address.sin_port = htons((unsigned short)atoi(argv[1]));
	server = socket(AF_INET, SOCK_STREAM, 0);
	if (server < 0 || setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
	    bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 64))
		return fail("listen");
	printf("listening on port %s\n", argv[1]);
	fflush(stdout);
	while ((client = accept(server, NULL, NULL)) >= 0) {
		setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
		read_head(client);
		write_all(client, answer, (size_t)length + page_bytes);
		close(client);
	}
	return fail("accept");
}
