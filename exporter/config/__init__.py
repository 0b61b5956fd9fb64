"""The two configuration files: parsing of YAML into frozen values, with errors that name the place."""
