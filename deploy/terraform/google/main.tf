# What Windrow needs of Google Cloud, with the names that the DAGs and docs/clouds.md use.
# The DAGs create their datasets, topic and queue themselves if they are not there.

terraform {
  required_version = ">= 1.7"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.0, < 8.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

locals {
  services = [
    "artifactregistry.googleapis.com",
    "bigquery.googleapis.com",
    "bigquerystorage.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudtasks.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
  ]
  function = "${path.module}/../../../build/fetch_passenger.zip"
  datasets = setunion(["github", "harvest", "spotify", "titanic", "x", "youtube"], var.datasets)
}

resource "google_project_service" "used" {
  for_each           = toset(local.services)
  service            = each.value
  disable_on_destroy = false
}

# --- who acts --------------------------------------------------------------------------------

resource "google_service_account" "windrow" {
  account_id   = "windrow"
  display_name = "Airflow: the connection google_cloud_default"
  depends_on   = [google_project_service.used]
}

resource "google_service_account" "publisher" {
  account_id   = "x-publisher"
  display_name = "The publisher of x_posts"
  depends_on   = [google_project_service.used]
}

resource "google_service_account" "tasks" {
  account_id   = "tasks"
  display_name = "Whom the queue calls fetch_passenger as. It may do nothing else"
  depends_on   = [google_project_service.used]
}

resource "google_service_account" "function" {
  account_id   = "fetch-passenger"
  display_name = "The function fetch_passenger"
  depends_on   = [google_project_service.used]
}

resource "google_project_iam_member" "windrow" {
  for_each = toset(["roles/bigquery.user", "roles/cloudtasks.queueAdmin", "roles/cloudtasks.enqueuer", "roles/cloudtasks.viewer"])
  project  = var.project
  role     = each.value
  member   = google_service_account.windrow.member
}

# --- the bucket and the tables ---------------------------------------------------------------

resource "google_storage_bucket" "landing" {
  name                        = var.bucket
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  dynamic "lifecycle_rule" {
    for_each = var.landed_days > 0 ? [var.landed_days] : []
    content {
      action {
        type = "Delete"
      }
      condition {
        age = lifecycle_rule.value
      }
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }
}

resource "google_storage_bucket_iam_member" "landing" {
  for_each = toset(["roles/storage.objectUser", "roles/storage.legacyBucketReader"])
  bucket   = google_storage_bucket.landing.name
  role     = each.value
  member   = google_service_account.windrow.member
}

resource "google_bigquery_dataset" "landing" {
  dataset_id                  = "${var.prefix}windrow_landing"
  location                    = var.location
  default_table_expiration_ms = 7 * 24 * 3600 * 1000
}

resource "google_bigquery_dataset" "final" {
  for_each   = local.datasets
  dataset_id = "${var.prefix}${each.value}"
  location   = var.location
}

resource "google_bigquery_dataset_iam_member" "landing" {
  dataset_id = google_bigquery_dataset.landing.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.windrow.member
}

resource "google_bigquery_dataset_iam_member" "final" {
  for_each   = google_bigquery_dataset.final
  dataset_id = each.value.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.windrow.member
}

# --- x_posts: a topic, and the subscription that the DAG pulls -------------------------------

resource "google_pubsub_topic" "posts" {
  name       = "x-posts"
  depends_on = [google_project_service.used]
}

resource "google_pubsub_subscription" "posts" {
  name                       = "x-posts"
  topic                      = google_pubsub_topic.posts.id
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_topic_iam_member" "publisher" {
  topic  = google_pubsub_topic.posts.id
  role   = "roles/pubsub.publisher"
  member = google_service_account.publisher.member
}

resource "google_pubsub_subscription_iam_member" "windrow" {
  subscription = google_pubsub_subscription.posts.id
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.windrow.member
}

# --- titanic_passengers by Cloud Tasks -------------------------------------------------------

resource "google_cloud_tasks_queue" "passengers" {
  name       = "titanic-passengers"
  location   = var.region
  depends_on = [google_project_service.used]

  rate_limits {
    max_dispatches_per_second = 500
    max_concurrent_dispatches = 50
  }

  retry_config {
    max_attempts = 8
    min_backoff  = "0.500s"
    max_backoff  = "60s"
  }

  lifecycle {
    ignore_changes = [rate_limits, retry_config] # each run of the DAG sets them
  }
}

resource "google_service_account_iam_member" "acts_as_tasks" {
  service_account_id = google_service_account.tasks.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.windrow.member
}

# Terraform never sees the values: `gcloud secrets versions add windrow-mongo-url --data-file=-` reads one.
resource "google_secret_manager_secret" "function" {
  for_each   = toset(["windrow-mongo-url", "windrow-api-client-secret"])
  secret_id  = each.value
  depends_on = [google_project_service.used]

  replication {
    auto {}
  }
}

resource "google_secret_manager_secret_iam_member" "function" {
  for_each  = google_secret_manager_secret.function
  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.function.member
}

resource "google_storage_bucket_object" "function" {
  count  = var.functions ? 1 : 0
  name   = "functions/fetch_passenger-${try(filemd5(local.function), "")}.zip" # `validate` looks without the file, too
  bucket = google_storage_bucket.landing.name
  source = local.function

  lifecycle {
    precondition {
      condition     = fileexists(local.function)
      error_message = "build/fetch_passenger.zip is missing: run `make function` first."
    }
  }
}

resource "google_cloudfunctions2_function" "fetch_passenger" {
  count      = var.functions ? 1 : 0
  name       = "fetch-passenger"
  location   = var.region
  depends_on = [google_secret_manager_secret_iam_member.function] # a deployment reads the secrets

  build_config {
    runtime     = "python311"
    entry_point = "fetch_passenger"
    source {
      storage_source {
        bucket = google_storage_bucket_object.function[0].bucket
        object = google_storage_bucket_object.function[0].name
      }
    }
  }

  service_config {
    available_cpu                    = "1"
    available_memory                 = "512Mi"
    max_instance_count               = 10
    max_instance_request_concurrency = 80
    timeout_seconds                  = 120
    service_account_email            = google_service_account.function.email
    environment_variables = {
      API_URL              = var.api.url
      API_CLIENT_ID        = var.api.client_id
      API_TOKEN_PATH       = var.api.token_path
      OIDC_AUDIENCE        = "https://${var.region}-${var.project}.cloudfunctions.net/fetch-passenger"
      OIDC_SERVICE_ACCOUNT = google_service_account.tasks.email
    }
    secret_environment_variables {
      key        = "MONGO_URL"
      project_id = var.project
      secret     = "windrow-mongo-url"
      version    = "1"
    }
    secret_environment_variables {
      key        = "API_CLIENT_SECRET"
      project_id = var.project
      secret     = "windrow-api-client-secret"
      version    = "1"
    }
  }
}

# The function checks its caller itself, see its README: Cloud Run would take the signature out of the token.
resource "google_cloud_run_service_iam_member" "anybody_may_knock" {
  count    = var.functions ? 1 : 0
  location = var.region
  service  = google_cloudfunctions2_function.fetch_passenger[0].name
  role     = "roles/run.invoker"
  member   = "allUsers"
}

# --- the image, and who acts on GKE ----------------------------------------------------------

resource "google_artifact_registry_repository" "windrow" {
  repository_id = "windrow"
  location      = var.region
  format        = "DOCKER"
  depends_on    = [google_project_service.used]
}

resource "google_service_account_iam_member" "airflow_on_gke" {
  for_each = var.gke_namespace == "" ? toset([]) : toset(["airflow-api-server", "airflow-triggerer", "airflow-worker"])

  service_account_id = google_service_account.windrow.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${var.gke_namespace}/${each.value}]"
}

resource "google_service_account_iam_member" "publisher_on_gke" {
  count = var.gke_namespace == "" ? 0 : 1

  service_account_id = google_service_account.publisher.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${var.gke_namespace}/x-publisher]"
}
