"""The only code that asks the operating system."""
