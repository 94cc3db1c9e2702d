"""The store of teacher embeddings on disk, and the functions that compute and write embeddings."""
