"""What users take away: the student's bundle, post-processed exports, and predicted teacher embeddings."""
