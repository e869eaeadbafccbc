"""Two years of 200 videos, one report a video and day: the engine beside its peers, with faults and a kill."""
