"""One folder an API, with everything that only this API has. `windrow.model.registry` finds them."""
