"""TCP sockets from the Linux kernel: `sock_diag` over netlink."""
