"""Step times: operators priced into the tables that an engine looks up, the shared cost cache, and KV memory."""
