# Which Terraform, which providers, where the state is kept. What is deployed is in the other files.

terraform {
  # 1.11 is the first with write-only arguments, which keep the secrets out of the state and of every plan.
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.45"
    }
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.7"
    }
    time = {
      source  = "hashicorp/time"
      version = "~> 0.13"
    }
  }

  # The bucket and the prefix are given at init, so that each deployment has a state of its own: see README.md.
  backend "gcs" {}
}

provider "google" {
  project        = var.project
  region         = var.region
  default_labels = local.labels

  # Requests count against this project and not against the one that the operator's own credentials belong to: the
  # budget's API refuses a person's credentials otherwise.
  billing_project       = var.project
  user_project_override = true
}
