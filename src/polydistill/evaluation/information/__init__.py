"""How much one table of embeddings tells of another, in nats, without a label."""
