"""Rules about the memory of the machine (`HM`)."""
