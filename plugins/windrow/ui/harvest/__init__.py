"""The Harvest pages: is it complete, who must act, what does it wait for. Server-rendered documents, read only."""
