"""A process that reads the filtered stream of X and publishes each post to Pub/Sub, for as long as it runs.

Nothing that X sent is lost when it is killed: its watermark in MongoDB is behind everything that Pub/Sub has not
acknowledged, and on the next start, and after each break, the recent search fills what is missing.

publisher   the loop: open, read, publish, open again
├── settings    what the environment says
├── rules       the rules of the stream, kept in step with the settings
├── reconnect   how long to wait before the stream is opened again
├── outlet      Pub/Sub, with a bounded buffer before it
├── watermark   up to where everything is published, and the gap behind a break
└── gap         the recent search, from the watermark to where the stream began again
"""
