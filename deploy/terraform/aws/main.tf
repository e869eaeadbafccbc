# What Windrow needs of AWS, with the names that the DAGs and docs/clouds.md use.
# The DAGs create their databases and tables in Glue themselves if they are not there.

terraform {
  required_version = ">= 1.7"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

data "aws_caller_identity" "me" {}

locals {
  account   = data.aws_caller_identity.me.account_id
  catalog   = "arn:aws:glue:${var.region}:${local.account}"
  databases = setunion(["spotify", "spotify_crawled", "spotify_landed"], var.databases)
  tables    = { top_tracks = "artist_id", artist_requests = "request" }
  lambda    = "${path.module}/../../../build/top_tracks.zip"

  # Policies are files, which docs/clouds.md uses too.
  files    = "${path.module}/../../aws"
  names    = { account = local.account, bucket = var.bucket, prefix = var.prefix, region = var.region }
  policies = { for name in ["crawler", "lambda", "windrow"] : name => templatefile("${local.files}/${name}.json", local.names) }
  trust = { for service in ["glue", "lambda"] : service => templatefile(
    "${local.files}/trust.json", { kind = "Service", principal = "${service}.amazonaws.com" }
  ) }
  catalogue = one([for one in jsondecode(local.policies.windrow).Statement : one if one.Sid == "Catalogue"])
}

# --- the bucket and Athena -------------------------------------------------------------------

resource "aws_s3_bucket" "lake" {
  bucket = var.bucket
}

resource "aws_s3_bucket_public_access_block" "lake" {
  bucket                  = aws_s3_bucket.lake.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# marts/ and tables/ are never deleted by age: artist_days is a history.
resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    id     = "results of queries"
    status = "Enabled"
    filter {
      prefix = "athena-results/"
    }
    expiration {
      days = 7
    }
  }

  rule {
    id     = "uploads that never ended"
    status = "Enabled"
    filter {
      prefix = ""
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  dynamic "rule" {
    for_each = var.landed_days > 0 ? [var.landed_days] : []
    content {
      id     = "landed files and the raw archive"
      status = "Enabled"
      filter {
        prefix = "spotify/"
      }
      expiration {
        days = rule.value
      }
    }
  }
}

resource "aws_athena_workgroup" "windrow" {
  name = "windrow"

  configuration {
    enforce_workgroup_configuration = false # the DAGs name where results go
    bytes_scanned_cutoff_per_query  = var.bytes_per_query
  }
}

resource "aws_glue_catalog_database" "used" {
  for_each = local.databases
  name     = "${var.prefix}${each.value}"
}

# --- the chatbot's tables and requests -------------------------------------------------------

resource "aws_dynamodb_table" "chatbot" {
  for_each     = local.tables
  name         = each.key
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = each.value

  attribute {
    name = each.value
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }
}

resource "aws_sqs_queue" "dead" {
  name                      = "windrow-artists-dead"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "requests" {
  name                       = "windrow-artists"
  visibility_timeout_seconds = var.function ? 360 : 60
  sqs_managed_sse_enabled    = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = 5
  })
}

# --- the role of Airflow ---------------------------------------------------------------------

resource "aws_iam_role" "windrow" {
  name = "windrow"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = flatten([for principal in var.airflow_principals : jsondecode(
      templatefile("${local.files}/trust.json", { kind = "AWS", principal = principal })
    ).Statement])
  })
}

resource "aws_iam_role_policy" "windrow" {
  name   = "windrow"
  role   = aws_iam_role.windrow.id
  policy = local.policies.windrow
}

resource "aws_iam_role_policy" "databases" {
  count = length(var.databases) > 0 ? 1 : 0
  name  = "databases"
  role  = aws_iam_role.windrow.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [merge(local.catalogue, { Resource = flatten([for name in var.databases : [
      "${local.catalog}:database/${var.prefix}${name}", "${local.catalog}:table/${var.prefix}${name}/*"
    ]]) })]
  })
}

# --- the role of the crawler, for the param `crawl` of spotify_artists -----------------------

resource "aws_iam_role" "crawler" {
  name               = "AWSGlueServiceRole-windrow"
  assume_role_policy = local.trust.glue
}

resource "aws_iam_role_policy_attachment" "crawler" {
  role       = aws_iam_role.crawler.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSGlueServiceRole"
}

resource "aws_iam_role_policy" "crawler" {
  name   = "landed-files"
  role   = aws_iam_role.crawler.id
  policy = local.policies.crawler
}

# --- one artist by Lambda, in place of the DAG spotify_new_artist ----------------------------

resource "aws_iam_role" "lambda" {
  count              = var.function ? 1 : 0
  name               = "windrow-top-tracks"
  assume_role_policy = local.trust.lambda
}

resource "aws_iam_role_policy" "lambda" {
  count  = var.function ? 1 : 0
  name   = "windrow-top-tracks"
  role   = aws_iam_role.lambda[0].id
  policy = local.policies.lambda
}

resource "aws_iam_role_policy_attachment" "lambda_logs" {
  count      = var.function ? 1 : 0
  role       = aws_iam_role.lambda[0].name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

# Client id and secret are not here, as Terraform would keep them in its state. Set them once with
# `aws lambda update-function-configuration`, see include/functions/top_tracks/README.md.
resource "aws_lambda_function" "top_tracks" {
  count            = var.function ? 1 : 0
  function_name    = "top_tracks"
  role             = aws_iam_role.lambda[0].arn
  runtime          = "python3.11"
  handler          = "main.handle"
  filename         = local.lambda
  source_code_hash = try(filebase64sha256(local.lambda), null) # `validate` looks without the file, too
  timeout          = 60
  memory_size      = 256

  lifecycle {
    ignore_changes = [environment]

    precondition {
      condition     = fileexists(local.lambda)
      error_message = "build/top_tracks.zip is missing: run `make lambda` first."
    }
  }
}

resource "aws_lambda_event_source_mapping" "requests" {
  count                   = var.function ? 1 : 0
  function_name           = aws_lambda_function.top_tracks[0].function_name
  event_source_arn        = aws_sqs_queue.requests.arn
  function_response_types = ["ReportBatchItemFailures"]
}
