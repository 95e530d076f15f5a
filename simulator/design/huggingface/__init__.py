"""A Hugging Face config.json translated into an Architecture, or refused by name."""
