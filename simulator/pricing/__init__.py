"""From operators to the tables that an engine times its steps with, the shared cost cache, and KV memory."""
