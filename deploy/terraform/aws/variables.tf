variable "region" {
  description = "The region of everything: `region_name` of aws_default has to agree."
  type        = string
  default     = "eu-central-1"
}

variable "bucket" {
  description = "The bucket for landed files, tables and results: the Airflow variable windrow_s3_bucket."
  type        = string
}

variable "landed_days" {
  description = "Days after which landed files and the raw archive of Spotify are deleted. 0 keeps them."
  type        = number
  default     = 0
}

variable "prefix" {
  description = "The beginning of the names of all databases: the Airflow variable windrow_prefix."
  type        = string
  default     = ""
}

variable "databases" {
  description = "The databases of your own declared streams, beside those of Spotify, like shop and shop_landed."
  type        = set(string)
  default     = []
}

variable "bytes_per_query" {
  description = "Athena ends a query that scans more bytes than this."
  type        = number
  default     = 107374182400
}

variable "airflow_principals" {
  description = "ARNs of the roles or users that Airflow has, which may take the role `windrow`."
  type        = list(string)

  validation {
    condition     = length(var.airflow_principals) > 0
    error_message = "Name at least one role or user."
  }
}

variable "function" {
  description = "Whether Lambda answers the requests for artists. Then switch spotify_new_artist off. Run `make lambda` first."
  type        = bool
  default     = false
}
