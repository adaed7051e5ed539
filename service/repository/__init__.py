"""Keep verified models in memory and follow their store."""
