"""Pages that people read: the report of a run, the page of an analysis."""
