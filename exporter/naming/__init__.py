"""The name of each process: the `process_names` rules of the configuration."""
