"""How available services were, by the periods of a time zone."""
