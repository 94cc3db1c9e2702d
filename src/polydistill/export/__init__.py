"""Results for users: the student, post-processed exports and predicted teacher embeddings."""
