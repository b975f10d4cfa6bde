"""Tables of recordings: manifests, splits, duplicates, competition layouts."""
