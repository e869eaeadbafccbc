"""How fast the engine is, measured beside its peers. Start at README.md."""
