# The stream service's image where no pipeline has built one: within the apply, by Cloud Build, from this checkout. With
# `image` given, by the pipeline, nothing is built here.
#
# Terraform cannot start a build, but Cloud Run can run a job as it makes it and be ready when the job has succeeded. The
# job hands the build to Cloud Build and waits. It is named by the sources: other sources, another job, another image.

locals {
  builds_image   = var.image == ""
  image_hash     = substr(data.archive_file.image.output_sha256, 0, 12)
  image_location = "${local.registry}/stream"
  image          = local.builds_image ? "${local.image_location}:source-${local.image_hash}" : var.image

  gcloud_image = "gcr.io/google.com/cloudsdktool/google-cloud-cli:562.0.0-slim@sha256:0da2de42ae51cd6092b5caf7c96d25003659fd15548760eb4c50c2623e7bf9c2"
  docker_image = "gcr.io/cloud-builders/docker@sha256:f8b08c609fdc392ee6827ff3e1725e4980f7d96bde9f76f4695086405c96c147"
}

resource "google_storage_bucket_object" "image" {
  count  = local.builds_image ? 1 : 0
  name   = "image-${local.image_hash}.zip"
  bucket = google_storage_bucket.sources.name
  source = data.archive_file.image.output_path
}

# The account and its grants stay when a pipeline gives the image: the pipeline may not take grants away, and an operator's
# next apply may build again.
resource "google_service_account" "starter" {
  account_id   = "${local.prefix}-starter"
  display_name = "${local.prefix}: starts the build of the stream service's image"
  depends_on   = [google_project_service.apis]
}

resource "google_project_iam_member" "starter" {
  for_each = toset(["roles/cloudbuild.builds.editor", "roles/serviceusage.serviceUsageConsumer"])
  project  = var.project
  role     = each.value
  member   = google_service_account.starter.member
}

# A build runs as the builder, and who starts one has to be allowed to act as it.
resource "google_service_account_iam_member" "starter" {
  service_account_id = google_service_account.builder.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.starter.member
}

resource "google_cloud_run_v2_job" "image" {
  count               = local.builds_image ? 1 : 0
  name                = "${local.prefix}-image-${local.image_hash}"
  location            = var.region
  run_execution_token = "build"
  deletion_protection = false # it holds nothing

  template {
    template {
      service_account = google_service_account.starter.email
      timeout         = "1500s"
      max_retries     = 1

      containers {
        image   = local.gcloud_image
        command = ["bash", "-ceu"]
        args    = [file("${path.module}/first_image.sh")]

        env {
          name  = "PROJECT"
          value = var.project
        }
        env {
          name = "BUILD"
          value = jsonencode({
            serviceAccount = google_service_account.builder.name
            timeout        = "1200s"
            options        = { logging = "CLOUD_LOGGING_ONLY" }
            images         = [local.image]
            steps = [
              {
                id         = "fetch"
                name       = local.gcloud_image
                entrypoint = "bash"
                args = ["-ceu", join(" && ", [
                  "gcloud storage cp gs://${google_storage_bucket.sources.name}/${google_storage_bucket_object.image[0].name} source.zip",
                  "python3 -m zipfile -e source.zip .",
                ])]
              },
              {
                id   = "build"
                name = local.docker_image
                args = ["build", "--file=stream_service/Dockerfile", "--tag=${local.image}", "."]
              },
            ]
          })
        }
      }
    }
  }

  lifecycle {
    # The API forgets the token when the job is run again by hand, which must not run it a third time.
    ignore_changes = [run_execution_token]
  }

  depends_on = [time_sleep.grants]
}
