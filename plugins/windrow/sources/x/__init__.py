"""X: everything that only this API has. ``STREAMS`` names the class of each dataset."""

STREAMS = {"x_posts": "windrow.sources.x.streams:Posts"}
