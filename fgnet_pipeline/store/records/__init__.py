"""Done records: which blocks of a task are finished."""
