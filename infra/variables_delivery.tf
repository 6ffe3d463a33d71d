# What the pipeline needs to know, and what it says itself. All of it may stay empty: then there is no pipeline.

variable "repository" {
  description = "The connected repository (Cloud Build, 2nd generation) whose main branch is delivered: projects/PROJECT/locations/REGION/connections/NAME/repositories/NAME. Empty: no pipeline."
  type        = string
  nullable    = false
  default     = ""

  validation {
    condition     = var.repository == "" || can(regex("^projects/[^/]+/locations/[^/]+/connections/[^/]+/repositories/[^/]+$", var.repository))
    error_message = "repository is the full name of a connected repository, as `gcloud builds repositories list --connection=NAME --region=REGION --format='value(name)'` prints it."
  }
}

variable "state_bucket" {
  description = "The bucket of Terraform's state, in this project, for the pipeline. Needed with repository."
  type        = string
  nullable    = false
  default     = ""

  validation {
    condition     = (var.repository == "") == (var.state_bucket == "")
    error_message = "repository and state_bucket are given together: the pipeline applies this configuration and needs its state. state_bucket is what `terraform init` was given as bucket."
  }
}

variable "state_prefix" {
  description = "The prefix of Terraform's state in its bucket, as `terraform init` was given it. Empty: name_prefix."
  type        = string
  nullable    = false
  default     = ""
}

variable "image" {
  description = "The stream service's image by digest; the pipeline gives it. Empty: an image is built from this checkout by Cloud Build, within the apply."
  type        = string
  nullable    = false
  default     = ""

  validation {
    condition     = var.image == "" || can(regex("^[^@ ]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image names an image by its digest: REPOSITORY/NAME@sha256:… . A tag can be moved to another image later."
  }
}

variable "held_revision" {
  description = "For the pipeline: the revision of the stream service that keeps all traffic while the new one is tried. Empty: the newest serves."
  type        = string
  nullable    = false
  default     = ""

  validation {
    condition     = var.held_revision == "" || startswith(var.held_revision, "${var.name_prefix}-stream-")
    error_message = "held_revision is a revision of this deployment's stream service, such as callbot-stream-00012-abc."
  }
}
