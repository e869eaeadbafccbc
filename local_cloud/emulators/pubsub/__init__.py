"""Pub/Sub v1: topics, pull, streaming pull and push, durable in SQLite.

service     gRPC: the methods of google.pubsub.v1.Publisher and Subscriber
├── acceptance  what the service accepts: names, limits, defaults
├── streaming   streaming pull, with flow control
└── registry    the topics and subscriptions, found again after a restart
    ├── backlog     one subscription: what is ready, what is leased and until when, what is dead
    │   └── store       SQLite
    └── pusher      delivers a push subscription over HTTP, signed
admin       HTTP: health, certificates, what the subscriptions hold

A publish is durable before it is answered, and so is an acknowledgement. Leases are not kept: after a restart
all that is not acknowledged is delivered again. An acknowledgement always counts, also a late one.

Where it differs from the real service: ordering, filters, exactly-once, schemas, snapshots, replay,
topic retention, transforms and subscriptions that write to BigQuery, Bigtable or Cloud Storage are refused as
UNIMPLEMENTED; a seek can only purge; messages without a subscription are gone; subscriptions never expire.
"""
