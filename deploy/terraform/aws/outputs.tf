output "connection" {
  description = "The line of .env for Airflow on a machine that may take the role `windrow`."
  value = "AIRFLOW_CONN_AWS_DEFAULT='${jsonencode({
    conn_type = "aws"
    extra     = { region_name = var.region, role_arn = aws_iam_role.windrow.arn, workgroup = aws_athena_workgroup.windrow.name }
  })}'"
}

output "variables" {
  description = "The variables of Airflow, as lines of .env."
  value       = <<-LINES
    AIRFLOW_VAR_WINDROW_S3_BUCKET=${aws_s3_bucket.lake.id}
    AIRFLOW_VAR_WINDROW_PREFIX=${var.prefix}
    AIRFLOW_VAR_WINDROW_GLUE_ROLE=${aws_iam_role.crawler.name}
  LINES
}
