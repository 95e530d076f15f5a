"""What an engine record means for a design: pure functions from record, device, model and the user's settings."""
