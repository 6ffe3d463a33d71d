# The APIs of the project. Whatever uses one waits for it.

locals {
  apis = toset(concat(
    [
      "artifactregistry.googleapis.com",
      "billingbudgets.googleapis.com",
      "cloudbilling.googleapis.com",
      "cloudbuild.googleapis.com",
      "cloudfunctions.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "firestore.googleapis.com",
      "iam.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "run.googleapis.com",
      "secretmanager.googleapis.com",
      "storage.googleapis.com",
    ],
    local.has_pipeline ? ["ondemandscanning.googleapis.com"] : [],
  ))
}

resource "google_project_service" "apis" {
  for_each = local.apis
  service  = each.value

  # Another deployment, or something else in the project, may use the same API; an API by itself costs nothing.
  disable_on_destroy = false
}
