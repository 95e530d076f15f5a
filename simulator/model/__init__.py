"""Model architecture: operators with repeat counts, sharding, bytes."""
