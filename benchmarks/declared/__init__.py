"""The weather archive and the help desk of docs/examples, as sources of dlt, Airbyte's CDK and Meltano's SDK."""
