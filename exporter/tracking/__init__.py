"""What is remembered of sockets from one collection to the next. Pure: nothing here asks the system."""
