"""The Titanic's passengers: everything that only this API has. ``STREAMS`` names the class of each dataset."""

STREAMS = {"titanic_passengers": "windrow.sources.titanic.streams:Passengers"}
