"""Mutual information between tables of embeddings (lower bound), in nats, without labels."""
