"""The studies, one per file. Each defines `STUDY`; a new one also needs a line in `registry.STUDIES`."""
