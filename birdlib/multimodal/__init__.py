"""Photo and sound of a species; film and soundtrack: shared embedding spaces."""
