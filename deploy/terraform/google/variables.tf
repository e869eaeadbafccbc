variable "project" {
  description = "The project, which needs billing: the BigQuery sandbox refuses MERGE."
  type        = string
}

variable "region" {
  description = "Where functions, queue and images are. The Airflow variable windrow_tasks_location has to agree."
  type        = string
  default     = "us-central1"
}

variable "location" {
  description = "Where the bucket and the datasets are: the extra `location` of google_cloud_default has to agree."
  type        = string
  default     = "US"
}

variable "bucket" {
  description = "The bucket that harvests land in: the Airflow variable windrow_bucket."
  type        = string
}

variable "landed_days" {
  description = "Days after which landed files and the raw archive are deleted. 0 keeps them."
  type        = number
  default     = 0
}

variable "prefix" {
  description = "The beginning of the names of all datasets: the Airflow variable windrow_prefix."
  type        = string
  default     = ""
}

variable "datasets" {
  description = "The datasets of your own declared streams, beside those of this repository."
  type        = set(string)
  default     = []
}

variable "functions" {
  description = "Whether to deploy the functions. Run `make function` first, and give both secrets a version."
  type        = bool
  default     = false
}

variable "api" {
  description = "The API that fetch_passenger calls: URL, client id and path of the token."
  type        = object({ url = string, client_id = string, token_path = string })
  default     = { url = "https://api.example.com", client_id = "my-client", token_path = "/oauth/token" }
}

variable "gke_namespace" {
  description = "The namespace of Airflow and the publisher on GKE. Empty: they do not run on GKE."
  type        = string
  default     = ""
}
