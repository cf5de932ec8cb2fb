"""From affinities to fragments: one file per method, and the steps that methods share."""
