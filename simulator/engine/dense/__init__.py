"""The dense kernel: every running request has a slot that each pass visits, for whatever cannot advance in lockstep."""
