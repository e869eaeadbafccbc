"""Is it complete, who must act, what does it wait for: one snapshot of all streams, for pages and terminals."""
