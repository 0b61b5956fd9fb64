"""State kept from collection to collection: groups, owners, ages, ports. Pure: does no I/O."""
