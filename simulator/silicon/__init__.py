"""Area, power, energy and money of a device; nothing here knows how long an operator takes."""
