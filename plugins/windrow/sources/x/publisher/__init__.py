"""A process that reads the filtered stream of X and publishes each post to Pub/Sub, for as long as it runs.

Nothing that X sent is lost when it is killed: its watermark in MongoDB is behind everything that Pub/Sub has not
acknowledged, and on the next start, and after each break, the recent search fills what is missing.

publisher   the loops: read the stream, fill its gaps, write the state down
├── settings    what the environment says
├── rules       the rules of the stream, kept in step with the settings
├── reconnect   how long to wait before the stream is opened again
├── clock       the time as X tells it
├── watermark   up to where everything is published, and the gaps behind breaks
├── gap         the recent search, over the time of a gap
├── background  calls that block, without holding up the end
└── intake      each record once to Pub/Sub, the rest to the quarantine
    └── outlet      Pub/Sub, with a bounded buffer before it
"""
