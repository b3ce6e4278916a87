"""How knowledge moves: one strategy per file, found by its kind."""
