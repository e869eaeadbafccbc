"""The plain protobuf classes behind google-cloud-tasks, whose own classes wrap them and are much slower."""

from google.cloud import tasks_v2

Queue = tasks_v2.Queue.pb()
RetryConfig = tasks_v2.RetryConfig.pb()
Task = tasks_v2.Task.pb()
HttpMethod = tasks_v2.HttpMethod
View = tasks_v2.Task.View

RUNNING = int(tasks_v2.Queue.State.RUNNING)
PAUSED = int(tasks_v2.Queue.State.PAUSED)
