"""The store of teacher embeddings on disk, and the extraction that fills it."""
