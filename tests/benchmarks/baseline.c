/* baseline: reads the kernel's TCP sockets of both families once and counts them by state. No reader of the same dump
   can do less work, so the others are compared with it.
   Prints one JSON object: wall and CPU seconds of the read, and the counts by the kernel's number of the state. */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STATES 16
#define ALL_STATES 0xFFF

/* The older request: its dump walks the kernel's table once for both families, as in the exporter. */
struct request {
  struct nlmsghdr header;
  struct inet_diag_req body;
};

static double now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static int ask(void) {
  struct request request = {
      .header = {.nlmsg_len = sizeof request, .nlmsg_type = TCPDIAG_GETSOCK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
      .body = {.idiag_states = ALL_STATES},
  };
  int channel = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
  if (channel < 0 || send(channel, &request, sizeof request, 0) < 0) return -1;
  return channel;
}

/* Returns 1 if there is more, 0 at the end of the dump, -1 after an error. */
static int count(char *batch, int size, long *counts) {
  for (struct nlmsghdr *header = (void *)batch; NLMSG_OK(header, size); header = NLMSG_NEXT(header, size)) {
    if (header->nlmsg_type == NLMSG_DONE) return 0;
    if (header->nlmsg_type == NLMSG_ERROR) {
      errno = -((struct nlmsgerr *)NLMSG_DATA(header))->error;
      return -1;
    }
    counts[((struct inet_diag_msg *)NLMSG_DATA(header))->idiag_state % STATES]++;
  }
  return 1;
}

static int walk(long *counts) {
  static char batch[65536] __attribute__((aligned(NLMSG_ALIGNTO)));
  int channel = ask(), more = channel < 0 ? -1 : 1;
  while (more > 0) {
    int size = recv(channel, batch, sizeof batch, 0);
    more = size <= 0 ? -1 : count(batch, size, counts);
  }
  if (channel >= 0) close(channel);
  return more;
}

int main(void) {
  long counts[STATES] = {0};
  double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
  if (walk(counts) < 0) {
    perror("baseline");
    return 1;
  }
  cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  printf("{\"seconds\": %.9f, \"cpu_seconds\": %.9f, \"counts\": [", now(CLOCK_MONOTONIC) - start, cpu);
  for (int state = 0; state < STATES; state++) printf("%s%ld", state ? ", " : "", counts[state]);
  puts("]}");
  return 0;
}
