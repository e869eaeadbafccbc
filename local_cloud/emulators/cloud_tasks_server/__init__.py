"""Cloud Tasks v2 for HTTP targets: queues that pace, retry and sign requests, durable in SQLite.

service     gRPC: the methods of google.cloud.tasks.v2.CloudTasks
├── acceptance  what the service accepts: names, limits, defaults
└── registry    the queues, found again after a restart
    └── dispatcher  one queue: what is due, how fast, what became of it
        ├── token_bucket, retries   the arithmetic of rates, and of trying again
        ├── delivery    one attempt: an HTTP request, signed by identity
        └── store       SQLite
admin       HTTP: health, certificates, what the queues do

Where it differs from the real service: App Engine targets, OAuth tokens, HTTP targets of a queue, retry
settings of a task, batches, filters and IAM are refused as UNIMPLEMENTED; redirects are not followed;
a queue does not slow down by itself after 429 and 503; pausing and purging take effect at once;
the name of a finished task is free again after an hour, and that of a deleted queue at once.
"""
