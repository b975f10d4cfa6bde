"""The sections of the report of a run, a module each. A section returns HTML, and raises MissingStageError where its stage has not run."""
