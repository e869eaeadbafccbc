output "connection" {
  description = "The line of .env for Airflow on a machine that runs as the account `windrow`."
  value = "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT='${jsonencode({
    conn_type = "google_cloud_platform"
    extra     = { project = var.project, location = var.location, use_legacy_sql = false }
  })}'"
}

output "variables" {
  description = "The variables of Airflow, as lines of .env."
  value       = <<-LINES
    AIRFLOW_VAR_WINDROW_BUCKET=${google_storage_bucket.landing.name}
    AIRFLOW_VAR_WINDROW_PREFIX=${var.prefix}
    AIRFLOW_VAR_WINDROW_TASKS_LOCATION=${var.region}
  LINES
}
