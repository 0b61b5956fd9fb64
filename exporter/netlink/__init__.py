"""TCP sockets from the Linux kernel, through netlink (`sock_diag`)."""
