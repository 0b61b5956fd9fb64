"""What reading sockets costs, here and elsewhere: `make bench`."""
