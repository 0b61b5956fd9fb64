/* peak_memory DESCRIPTOR COMMAND...: runs a command, then writes its peak resident memory in KiB to the descriptor.
   The peak of a process includes that of its parent at fork(), because execve() keeps the larger value: started by
   Python, `ss` would seem to need as much memory as Python. So this small program starts it. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words) {
  struct rusage usage;
  int status = 0;
  if (count < 3) return 2;
  int descriptor = atoi(words[1]);
  pid_t child = fork();
  if (child == 0) {
    close(descriptor);
    execvp(words[2], words + 2);
    perror(words[2]);
    _exit(127);
  }
  if (child < 0 || wait4(child, &status, 0, &usage) < 0) return 1;
  dprintf(descriptor, "%ld\n", usage.ru_maxrss);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
